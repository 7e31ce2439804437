"""Both implementations, each with its own copy of the pretend provider, as processes of their own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from salvo_core.fleet.registry import WORKERS
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from salvo_core.observe import Observer
from salvo_core.run.summary import Summary
from salvo_core.store.opening import open_store
from salvo_core.trace.model import Trace
from tests.differential.cases import Case
from tests.differential.observed import Observed, Trial
from tests.differential.predecessor import clean_environ
from tests.servers.process import ServerProcess, own_folder, start_on_free_port
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[2]
KEY = "pretend-key-of-the-differential-test"
AT_ONCE = 3
"""Runs of each implementation at a time; they wait for the provider and the disk a good part of it."""

RUN_TIME_S = 90
OLD, NEW = "old", "new"


class Arena:
    """Runs cases through both; a context manager.

    Args:
        python: Of the predecessor's environment.
        scripts: The pretend models that more than one case uses.
        cases: What will be run; each name once.
    """

    def __init__(self, python: Path, scripts: Mapping[str, Any], cases: Iterable[Case]) -> None:
        self._python = python
        self._cases = list(cases)
        self.folder = own_folder("differential")
        own = {case.name: case.script for case in self._cases if case.script is not None}
        judges = {name: script for case in self._cases for name, script in case.judges.items()}
        book = {"scripts": {**scripts, **own, **judges}}
        (self.folder / "book.json").write_text(json.dumps(book), "utf-8")
        self._leaving = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undone:
            undone.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._redis = undone.enter_context(start_on_free_port(lambda port: RedisServer(port=port)))
            # One provider each: it tells trials apart by counting them, and so both start at the first.
            self._provider_of_old, self._provider_of_new = (
                undone.enter_context(
                    start_on_free_port(lambda port: Provider(port, self.folder / "book.json"))
                )
                for _ in range(2)
            )
            self._environ = clean_environ(
                {
                    "PYTHONPATH": str(ROOT),
                    "SALVO_REDIS_URL": self._redis.url,
                    "SALVO_STORE_URL": f"file://{self.folder}/store",
                    "SALVO_TRACEBACK": "1",
                    "SALVO_ALLOW_ROOT": "1",  # tests may run as root, outside a container too
                }
            )
            undone.enter_context(self._worker().start())
            self._leaving = undone.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    def run(self) -> dict[str, tuple[Observed, Observed]]:
        """Return what every case came to with the predecessor and with us, by the case's name."""
        self._run_all()
        new = asyncio.run(self._read_ours())
        return {
            case.name: (self._read_predecessors(case), now)
            for case, now in zip(self._cases, new, strict=True)
        }

    def _run_all(self) -> None:
        old = {"OPENAI_BASE_URL": f"{self._provider_of_old.url}/v1", "OPENAI_API_KEY": KEY}
        told = [
            self._begin(
                OLD,
                self._python,
                {
                    "imports": ["salvo.execution.trial_runner", "openai.resources.chat.completions"],
                    "entry": "salvo.cli.main:app",
                    "jobs": [self._job(OLD, case, old, *case.options_of_predecessor) for case in self._cases],
                },
            ),
            self._begin(
                NEW,
                Path(sys.executable),
                {
                    "imports": ["salvo_cli.session", "salvo_cli.ordering", "salvo_cli.render.report"],
                    "entry": "salvo_cli.main:run",
                    # -j 1: the provider tells trials by their order, so they come one after the other.
                    "jobs": [
                        self._job(NEW, case, self._environ, "-j", "1", "--json", "-q") for case in self._cases
                    ],
                },
            ),
        ]
        for process in told:
            said, _ = process.communicate()
            assert process.returncode == 0, said

    def _begin(self, side: str, python: Path, asked: dict[str, Any]) -> subprocess.Popen[str]:
        jobs = self.folder / f"{side}.json"
        jobs.write_text(json.dumps({**asked, "at_once": AT_ONCE, "time_s": RUN_TIME_S}), "utf-8")
        # The folder of the script is on its path; ours must not be on the predecessor's.
        return subprocess.Popen(
            [str(python), str(Path(__file__).with_name("forking.py")), str(jobs)],
            env=self._environ if side == NEW else clean_environ({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _job(self, side: str, case: Case, environ: Mapping[str, str], *more: str) -> dict[str, Any]:
        folder = self.folder / side / case.name
        folder.mkdir(parents=True)
        # JSON is YAML.
        (folder / "scenario.yaml").write_text(json.dumps(case.scenario, ensure_ascii=False), "utf-8")
        (folder / "salvo.yaml").write_text(json.dumps(case.project) if case.project else "", "utf-8")
        return {
            "folder": str(folder),
            "arguments": ["run", case.file, "-n", str(case.trials), *case.options, *more],
            "environ": clean_environ({"HOME": str(folder), **environ}),
        }

    # -- what they left ----------------------------------------------------------------------------

    def _ended(self, side: str, case: Case) -> tuple[Path, int, str]:
        folder = self.folder / side / case.name
        told = "".join((folder / name).read_text("utf-8", "replace") for name in ("out.txt", "err.txt"))
        return folder, int((folder / "code.txt").read_text()), told

    def _read_predecessors(self, case: Case) -> Observed:
        folder, code, told = self._ended(OLD, case)
        kept = folder / ".salvo"
        runs = sorted((kept / "runs").glob("*-*.json"))
        if not runs:
            return Observed(code, told=told)
        suite = _document(runs[-1])
        return Observed(
            exit_code=code,
            verdict=suite["verdict"],
            trials=tuple(
                _old_trial(trial, _document(kept / "traces" / f"{trial['trace_id']}.json"))
                for trial in suite["trials"]
            ),
            pass_rate=suite["pass_rate"],
            score_mean=suite["score_avg"],
            score_min=suite["score_min"],
            score_p50=suite["score_p50"],
            score_p95=suite["score_p95"],
            told=told,
        )

    async def _read_ours(self) -> list[Observed]:
        manifest = Manifest(connect(self._redis.url), self._redis.url)
        store = open_store(self._environ["SALVO_STORE_URL"])
        observer = Observer(store, manifest)
        try:
            return [await _observe(observer, *self._ended(NEW, case)) for case in self._cases]
        finally:
            await store.aclose()
            await manifest.aclose()

    # -- what both need ----------------------------------------------------------------------------

    def _worker(self) -> ServerProcess:
        folder = self.folder / "worker"
        folder.mkdir()
        profile = {
            "adapter": "openai",
            "base_url": f"{self._provider_of_new.url}/v1",
            "key_env": "OPENAI_API_KEY",
            "trace_header": False,  # the predecessor sends none, and it would decide what a trial sees
        }
        (folder / "salvo.yaml").write_text(json.dumps({"providers": {"openai": profile}}))
        return ServerProcess(
            "worker",
            [sys.executable, "-m", "salvo_worker", "-c", "20"],
            folder=folder,
            is_ready=self._has_worker,
            env={**self._environ, "OPENAI_API_KEY": KEY},
            ready_s=40,
        )

    def _has_worker(self) -> bool:
        with self._redis.client() as client:
            return next(client.scan_iter(f"{WORKERS}:*"), None) is not None


class Provider(ServerProcess):
    """``salvo simulate`` on a port."""

    def __init__(self, port: int, book: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            "simulated provider",
            [sys.executable, "-P", "-m", "salvo_cli", "simulate", "--port", str(port), "--script", str(book)],
            folder=own_folder("simulate"),
            is_ready=self._answers,
            env={"PYTHONPATH": str(ROOT)},
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _document(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document


def _old_trial(trial: dict[str, Any], trace: dict[str, Any]) -> Trial:
    if trial["status"] == "infra_error":
        return Trial("infra_error")
    return Trial(
        status=trial["status"],
        score=trial["score"],
        passed=tuple(result["passed"] for result in trial["eval_results"]),
        cost_usd=trial["cost_usd"],
        turns=trace["turn_count"],
        input_tokens=trace["input_tokens"],
        output_tokens=trace["output_tokens"],
        finish_reason=trace["finish_reason"],
        said=tuple(
            _line(
                said, [(call["id"], call["name"], call["arguments"]) for call in said.get("tool_calls") or ()]
            )
            for said in trace["messages"]
        ),
    )


def _new_trial(trace: Trace) -> Trial:
    if trace.status == "infra_error":
        return Trial("infra_error")
    return Trial(
        status=trace.status,
        score=trace.score,
        passed=tuple(finding.passed for finding in trace.findings),
        cost_usd=trace.cost_usd,
        turns=len(trace.turns),
        input_tokens=trace.usage.input_tokens,
        output_tokens=trace.usage.output_tokens,
        finish_reason=trace.finish_reason,
        said=tuple(
            _line(said.model_dump(), [(call.id, call.name, call.arguments) for call in said.tool_calls or ()])
            for said in trace.messages
        ),
    )


def _line(said: Mapping[str, Any], calls: Iterable[tuple[str, str, dict[str, Any]]]) -> tuple[Any, ...]:
    named = (said.get("tool_call_id"), said.get("tool_name"))
    return (said["role"], said.get("content"), tuple(calls), *named)


async def _observe(observer: Observer, folder: Path, code: int, told: str) -> Observed:
    assert "Traceback" not in told, f"{folder.name}: {told[-2000:]}"
    said = (folder / "out.txt").read_text("utf-8")
    document = json.loads(said) if said.startswith("{") else {}
    if "summary" not in document:
        return Observed(code, told=told)
    summary = Summary.model_validate(document["summary"])
    (cell,) = summary.cells
    traces = [await observer.trace(row.trace_id) async for row in observer.rows(summary.run_id)]
    return Observed(
        exit_code=code,
        verdict=summary.verdict,
        trials=tuple(map(_new_trial, traces)),
        pass_rate=cell.pass_rate,
        score_mean=cell.score.mean,
        score_min=cell.score.min,
        score_p50=cell.score.p50,
        score_p95=cell.score.p95,
        told=told,
    )
