"""What the doctor says of who signs and who verifies."""

import pytest

from salvo_cli.guarding import signing_findings
from salvo_core.fleet.registry import WorkerCard
from salvo_core.run.signature import Signer

OURS, THEIRS = Signer(("o" * 32,)), Signer(("t" * 32,))


def card(*signing: str) -> WorkerCard:
    return WorkerCard(
        name=f"w-{len(signing)}", host="h", pid=1, concurrency=1, running=0, started_ms=0,
        salvo_version="1", signing=signing,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("signer", "cards", "level", "part"),
    [
        (Signer(), [], "ok", "off: whoever can write to Redis can order work"),
        (Signer(), [card()], "ok", "off"),
        (Signer(), [card(*THEIRS.fingerprints)], "fail", "they are not signed"),
        (OURS, [card(*THEIRS.fingerprints)], "fail", "a key they do not know"),
        (OURS, [card(*OURS.fingerprints), card()], "warn", "1 of 2 workers take unsigned work"),
        (OURS, [card(*OURS.fingerprints)], "ok", "every worker that is there verifies"),
        (Signer(("n" * 32, *OURS.keys)), [card(*OURS.fingerprints)], "fail", "a key they do not know"),
        (OURS, [card(*Signer(("n" * 32, *OURS.keys)).fingerprints)], "ok", "verifies"),
    ],
)
def test_it_is_told_whether_what_is_ordered_here_is_accepted_there(signer, cards, level, part):
    (finding,) = signing_findings(signer, cards)
    assert finding.level == level
    assert part in finding.seen
    assert finding.advice or level == "ok"
