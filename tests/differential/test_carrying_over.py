"""What the predecessor really leaves on disk, made by running it, comes in whole and means the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import zstandard

from salvo_core.carry_over import Porter
from salvo_core.manifest.traces import TraceManifest
from salvo_core.predecessor.collection import Collection
from salvo_core.predecessor.folder import Folder
from salvo_core.replay import replay_run
from salvo_core.store.memory import MemoryStore
from salvo_core.trace.recording import EXCLUDED
from salvo_core.trace.redaction import Redactor
from tests.differential.arena import KEY, Provider
from tests.differential.predecessor import clean_environ, install_predecessor
from tests.integration.site import Site
from tests.servers.cache import CannotInstall
from tests.servers.process import start_on_free_port

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SCENARIO: dict[str, Any] = {
    "description": "refund desk",
    "model": "gpt-4o",
    "system_prompt": "Be nice.",
    "prompt": "Refund order A-1001.",
    "tools": [{"name": "look_up", "description": "Looks.", "mock_response": {"found": True}}],
    "assertions": [
        {"type": "tool_called", "tool": "look_up"},
        {"contains": "refund", "weight": 2},
        {"path": "metadata.turn_count", "lte": 4},
        {"type": "tool_sequence", "mode": "in_order", "sequence": ["look_up"]},
        {"type": "cost_limit", "max_usd": 1, "required": True},
    ],
}
SECRET = "token=abcdefgh12345678"
BOOK = {
    "scripts": {
        "gpt-4o": {
            "turns": [
                {"tool_calls": [{"name": "look_up", "arguments": {"id": 1, "note": SECRET}}]},
                {"text": f"Your refund is on its way. {SECRET}"},
            ]
        },
        "refusing": {"turns": [{"error": {"kind": "permanent"}}]},
    }
}


@pytest.fixture
def left_behind(tmp_path: Path) -> Path:
    """What the predecessor left of runs it recorded in both modes, of a plain one and of a refused one."""
    try:
        python = install_predecessor()
    except CannotInstall as failure:
        pytest.skip(f"the predecessor cannot be installed, so nothing of it was imported: {failure}")
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "book.json").write_text(json.dumps(BOOK))
    (project / "refund.yaml").write_text(json.dumps(SCENARIO))
    (project / "broken.yaml").write_text(json.dumps({**SCENARIO, "model": "refusing"}))
    with start_on_free_port(lambda port: Provider(port, tmp_path / "book.json")) as provider:
        environ = clean_environ(
            {"HOME": str(project), "OPENAI_BASE_URL": f"{provider.url}/v1", "OPENAI_API_KEY": KEY}
        )
        for settings, *arguments in (
            ("{}", "run", "refund.yaml", "-n", "2", "--record"),
            ("{}", "run", "refund.yaml", "-n", "1"),
            ("{}", "run", "broken.yaml", "-n", "1", "--record"),
            ('{"recording": {"mode": "metadata_only"}}', "run", "refund.yaml", "-n", "1", "--record"),
        ):
            (project / "salvo.yaml").write_text(settings)
            subprocess.run(
                [str(python.parent / "salvo"), *arguments],
                cwd=project,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,  # the exit code is the verdict's
                timeout=90,
            )
    return project / ".salvo"


async def test_t58_a_real_folder_is_carried_over_whole(left_behind: Path, redis_url: str) -> None:
    site = Site(redis_url, MemoryStore())
    try:
        await _check(site, left_behind)
    finally:
        await site.aclose()


async def _check(site: Site, folder: Path) -> None:
    suites = {one["run_id"]: one for one in map(_document, sorted((folder / "runs").glob("*-*.json")))}
    collection = Collection(Folder(folder))
    porter = Porter(site.store, TraceManifest(site.manifest, site.observer().trace), Redactor())
    runs = [one async for one in porter.carry(collection, collection.open())]
    assert (collection.leftovers(), collection.skipped) == ((0, 0), [])
    assert [one.run_id for one in runs] == list(suites)
    assert [one.state for one in runs] == ["carried"] * 4
    assert [one.marked for one in runs] == [True, False, True, True]
    assert [one.recording for one in runs] == ["full", "full", "full", "metadata_only"]
    # The unrecorded run has its scenario from the recorded one; so nothing is to be said of any.
    assert [one.notes for one in runs] == [()] * 4
    observer = site.observer()
    for run_id, suite in suites.items():
        summary = await observer.summary(run_id)
        (cell,) = summary.cells
        assert summary.verdict == suite["verdict"]
        assert cell.score.mean == pytest.approx(suite["score_avg"])
        assert cell.cost.total_usd == suite["cost_total"]
        rows = [row async for row in observer.rows(run_id)]
        assert [(row.trace_id, row.status) for row in rows] == [
            (one["trace_id"], one["status"]) for one in suite["trials"]
        ]
        assert (await replay_run(run_id, observer)).summary == summary
    full, plain, broken, bare = [
        await observer.trace(suite["trials"][0]["trace_id"]) for suite in suites.values()
    ]
    assert full.tool_calls[0].arguments == {"id": 1, "note": "[REDACTED]"}
    assert full.scenario == plain.scenario
    assert len((await observer.snapshot(full.run_id, 0)).assertions) == len(SCENARIO["assertions"])
    assert broken.error is not None
    assert (broken.error.kind, broken.retries_total) == ("permanent", 0)
    assert (bare.recording, bare.final_content) == ("metadata_only", EXCLUDED)
    for key in await site.everything_stored():
        body = await site.store.get(key)
        body = zstandard.decompress(body) if key.endswith(".zst") else body
        assert SECRET.encode() not in body, key


def _document(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document
