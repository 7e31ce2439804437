"""What is kept of an evaluated trial, and which of its findings redaction would change."""

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.grading import evaluate
from salvo_core.evaluation.keeping import kept
from salvo_core.evaluation.shorthand import canonical
from salvo_core.trace.model import Trace
from salvo_core.trace.recording import EXCLUDED
from salvo_core.trace.redaction import Redactor
from tests.unit.evaluation.builders import trace


def stored(raws, subject, **more):
    """The trace as it is stored, evaluated with these assertions."""
    assertions = [parse(canonical(raw)) for raw in raws]
    redactor = Redactor()

    def again(said):
        return evaluate(said, assertions, redact=redactor.document)

    subject = subject.model_copy(update={"findings": again(subject)})
    return Trace.model_validate(kept(subject, assertions, redactor, again, **more))


CONTAINS = {"type": "output_contains", "value": "token=999"}
LACKS = {"type": "not", "assertion": {"type": "output_contains", "value": "REDACTED"}}
OK = {"type": "output_contains", "value": "ok"}
CALLED = {"type": "tool_called", "tool": "look_up"}
JUDGE = {"type": "judge", "criteria": [{"name": "polite", "description": "Is it?"}]}


def test_t61_a_finding_that_redaction_would_change_is_marked():
    found = stored([CONTAINS, OK, LACKS, CALLED], trace(answer="ok token=999", calls=["look_up"]))
    assert found.redacted
    assert found.final_content == "ok [REDACTED]"
    assert [one.passed for one in found.findings] == [True, True, True, True]
    assert [one.redaction_affected for one in found.findings] == [True, False, True, False]


def test_t61_what_is_not_struck_out_marks_nothing():
    found = stored([OK, JUDGE], trace(answer="ok"))
    assert (found.redacted, [one.redaction_affected for one in found.findings]) == (False, [False, False])


def test_a_secret_in_a_tools_arguments_counts_too():
    wanted = {"type": "tool_args", "tool": "log_in", "subset": {"password": "hunter2"}}
    found = stored([wanted], trace(calls=[("log_in", {"password": "hunter2"})]))
    assert found.redacted
    assert found.findings[0].passed
    assert found.findings[0].redaction_affected


def test_a_judge_read_something_else_than_what_is_there_now():
    found = stored([JUDGE, {"type": "not", "assertion": JUDGE}, CALLED], trace(answer="token=999"))
    assert [one.redaction_affected for one in found.findings] == [True, True, False]


def test_without_content_every_finding_that_needs_it_is_marked():
    found = stored([OK, CALLED], trace(answer="ok", calls=["look_up"]), mode="metadata_only")
    assert (found.recording, found.redacted, found.final_content) == ("metadata_only", False, EXCLUDED)
    assert [one.redaction_affected for one in found.findings] == [True, False]
    assert [one.label for one in found.findings] == ["output_contains", "tool_called"]


def test_findings_are_called_what_the_plan_calls_them():
    found = stored([OK, CALLED], trace(answer="ok"), labels=("first", "second"))
    assert [one.label for one in found.findings] == ["first", "second"]
