"""What an audit looks like, and which options it takes together."""

import pytest

from salvo_cli import exits, main
from salvo_cli.render.audit import audit, audit_document, repaired
from salvo_cli.render.console import Marks
from salvo_core.repair import Repaired
from salvo_core.run.discrepancies import Audit, Discrepancy
from tests.unit.cli.drawing import drawn
from tests.unit.run.builders import plan, rows

MISSING = Discrepancy("object_missing", "the object that its row names is gone", "rerun", 1, "t-1", "runs/x")
WRONG = Discrepancy("counters", "passed is 5 and should be 1", "recount")
HOSTILE = Discrepancy("object_foreign", "look at it", "none", key="runs/\x1b[31m[bold]x" + "y" * 999)


def found(*discrepancies, **fields):
    return Audit(plan(), rows=rows(1, 1, 0.5), checked=3, discrepancies=list(discrepancies), **fields)


def text(one, width=80, **more):
    return drawn(audit(one, signs=Marks(), limit=None, **more), width=width)


def test_a_clean_run_is_one_line():
    told = text(found())
    assert told.splitlines() == [
        "✓ run 0199c2f4-7b1e-7c3a is sealed and fits together: 3 trials, 3 traces read"
    ]


@pytest.mark.parametrize("width", [80, 160])
def test_each_thing_is_told_with_its_trial_and_its_remedy(width):
    told = text(found(MISSING, WRONG), width)
    assert "2 things do not fit" in told
    for part in ("object missing", "t-1", "with --rerun: run it again", "count again", "should be 1"):
        assert part in told
    assert "--repair` puts 1 of 2 right" in told
    assert max(map(len, told.splitlines())) <= width


def test_one_thing_is_told_in_the_singular_and_a_dry_repair_says_that_it_changed_nothing():
    assert "1 thing does not fit" in text(found(WRONG))
    assert "a repair would put 2 of 2 right; nothing was changed" in text(
        found(MISSING, WRONG), rerun=True, would=True
    )


def test_lines_beyond_the_limit_are_counted():
    told = drawn(audit(found(MISSING, WRONG), signs=Marks(), limit=1), width=100)
    assert "1 more: --limit 0 shows all" in told


def test_what_lies_in_the_store_is_shown_and_never_acts():
    told = text(found(HOSTILE))
    assert "\x1b" not in told
    assert "[bold]" in told


def test_what_is_no_fault_is_a_remark():
    told = text(found(losing=["runs/k"], unrecorded=2, moving=True))
    assert "fits together" in told
    for part in ("1 trace of attempts that lost", "2 rows of trials", "counters were not compared"):
        assert part in told


def test_the_document_says_all_of_it():
    document = audit_document(found(MISSING), Repaired(1, 2, 3, sealed=True), exit_code=1)
    assert document["discrepancies"][0] == {
        "kind": "object_missing", "index": 1, "trace_id": "t-1", "key": "runs/x",
        "what": "the object that its row names is gone", "remedy": "rerun",
    }  # fmt: skip
    assert document["repaired"] == {"restated": 1, "sent": 2, "pruned": 3, "sealed": True}
    assert (document["clean"], document["exit_code"], document["ended"]) == (False, 1, 3)


def test_a_repair_is_told_in_one_line():
    told = drawn(repaired(Repaired(1, 2, 1, sealed=True)), width=200).strip()
    assert told == (
        "repaired: 1 row restored, 2 trials sent to be run, 1 trace of losing attempts deleted, "
        "archive and summary written"
    )


@pytest.mark.parametrize("option", ["--dry-run", "--rerun", "--prune", "--yes"])
def test_options_of_a_repair_want_a_repair(option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main(["audit", "latest", option]) == exits.USAGE
    assert "add --repair" in capsys.readouterr().err
