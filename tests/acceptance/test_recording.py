"""How a run is recorded, as a person has it: what is kept, what is struck out, and what that changes."""

import pytest

from salvo_core.trace.recording import EXCLUDED
from tests.acceptance.typing_person import Person

pytestmark = pytest.mark.servers


def traces(person: Person):
    """The traces of the latest run, in the order of their trials."""
    ids = [trial["trace_id"] for trial in person.types("trials", "latest", "--json").document["trials"]]
    return [person.types("trace", trace_id, "--json").document["trace"] for trace_id in ids]


def test_t58_every_trial_is_recorded_and_record_marks_the_run(person):
    ran = person.types("run", person.scenario("trial", "[{text: good}]"), "-n", "2", "--record", "--json")
    marked = ran.document["recorded"]
    rows = person.types("manifest", "show", "--json").document["trials"]
    assert [row["index"] for row in rows] == [0, 1]
    assert [row["trace_id"] for row in rows] == [one["trace_id"] for one in marked]
    # Without --record the traces are there as well: every other test here rests on it.
    assert all(list((person.folder / ".salvo" / "store").rglob(f"{row['trace_id']}.*")) for row in rows)
    assert person.types("replay", "--json").document["trace"]["trace_id"] == rows[-1]["trace_id"]


@pytest.mark.parametrize(
    ("settings", "flags", "told"),
    [
        ("recording: {custom_redaction_patterns: ['(']}", (), "is not a regular expression"),
        ("recording: {mode: some}", (), "recording.mode"),
        ("", ("--recording", "everything"), "full, metadata_only"),
    ],
)
def test_t60_what_cannot_be_recorded_so_stops_a_run_before_anything_is_started(person, settings, flags, told):
    (person.folder / "salvo.yaml").write_text(settings)
    refused = person.types("run", person.scenario("trial", "[{text: good}]"), *flags)
    assert (refused.code, refused.out) == (64, "")
    assert told in refused.err
    assert not (person.folder / ".salvo" / "store").exists()


def test_t61_an_answer_is_judged_as_it_was_said_and_the_finding_says_what_redaction_does_to_it(person):
    file = person.scenario("leaky", "[{text: 'ok good token=999'}]")
    path = person.folder / file
    path.write_text(path.read_text().replace("value: good", "value: token=999"))
    assert person.types("run", file, "-n", "1", "-q").code == 0
    (trace,) = traces(person)
    assert (trace["grade"], trace["redacted"]) == ("passed", True)
    assert trace["messages"][-1]["content"] == "ok good [REDACTED]"
    (finding,) = trace["findings"]
    assert (finding["passed"], finding["redaction_affected"]) == (True, True)
    shown = person.types("replay", trace["trace_id"])
    assert shown.code == 0
    assert "is struck out" in shown.out
    assert "it could come out otherwise" in " ".join(shown.out.split())


def test_t59_the_projects_mode_holds_and_the_command_line_goes_before_it(person):
    (person.folder / "salvo.yaml").write_text(
        "recording: {mode: metadata_only, custom_redaction_patterns: ['go+d']}\n"
    )
    file = person.scenario("trial", "[{text: so good}]")
    ran = person.types("run", file, "-n", "1")
    assert ran.code == 0
    (bare,) = traces(person)
    assert (bare["recording"], bare["messages"][-1]["content"]) == ("metadata_only", EXCLUDED)
    assert bare["scenario"]["name"] == "trial"
    assert "what was said is not kept" in person.types("replay", bare["trace_id"]).out
    assert person.types("submit", file, "-n", "1", "-q", "--recording", "full").code == 0
    assert person.types("wait", "latest", "-q", "--timeout", "40").code == 0
    (whole,) = traces(person)
    assert (whole["recording"], whole["messages"][-1]["content"]) == ("full", "so [REDACTED]")
    assert whole["findings"][0]["label"] == "output_contains '[REDACTED]'"
    assert not list((person.folder / ".salvo" / "store").glob("orders/*/*"))
