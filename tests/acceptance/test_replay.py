"""Recordings shown again: without a network, step by step, and against a live model."""

import json
import os
import pty
import select
import subprocess
import sys
import time

import pytest

from tests.acceptance.typing_person import DEADLINE_S, Person

pytestmark = pytest.mark.servers

UNKNOWN = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
TALK = "[{tool_calls: [{name: look_up, arguments: {n: 1}}]}, {text: good}]"
TOOLS = "\ntools: [{name: look_up, description: Looks., mock_response: {found: yes}}]"

WATCH = """
import sys
def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple) or event == "socket.getaddrinfo":
        with open({log!r}, "a") as log:
            log.write(f"{{event}} {{args[-1] if event == 'socket.connect' else args[0]}}\\n")
sys.addaudithook(watch)
"""
"""Writes down every connection to an internet address, and every name looked up, of a Python process."""


@pytest.fixture
def network(person, tmp_path_factory):
    """Return what went to the network since the last look, of all commands typed from now on."""
    folder = tmp_path_factory.mktemp("watch")
    log = folder / "network.log"
    (folder / "sitecustomize.py").write_text(WATCH.format(log=str(log)))
    person.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{person.environ['PYTHONPATH']}"

    def used():
        found = log.read_text() if log.exists() else ""
        log.unlink(missing_ok=True)
        return found

    return used


def ids(person: Person, run: str = "latest") -> list[str]:
    return [trial["trace_id"] for trial in person.types("trials", run, "--json").document["trials"]]


def stored(person: Person, trace_id: str):
    (file,) = (person.folder / ".salvo" / "store").rglob(f"{trace_id}.*")
    return file


def spoil(person: Person, trace_id: str, body: bytes) -> None:
    file = stored(person, trace_id)
    file.chmod(0o600)
    file.write_bytes(body)


def test_t62_with_nothing_recorded_there_is_a_hint_and_no_error(person):
    replayed = person.types("replay")
    assert (replayed.code, replayed.out) == (0, "nothing is recorded yet\n")
    assert "salvo run" in replayed.err
    assert person.types("replay", "--json").document["trace"] is None


def test_t62_an_unknown_id_is_1_and_with_allow_partial_a_warning(person):
    person.types("run", person.scenario("trial", "[{text: good}]"), "-n", "1", "-q")
    refused = person.types("replay", UNKNOWN)
    assert (refused.code, refused.out) == (1, "")
    assert UNKNOWN in refused.err
    assert "hint: " in refused.err
    allowed = person.types("replay", UNKNOWN, "--allow-partial")
    assert allowed.code == 0
    assert f"warning: skipped {UNKNOWN}" in allowed.err
    document = person.types("replay", UNKNOWN, "--allow-partial", "--json").document
    assert [one["trace_id"] for one in document["skipped"]] == [UNKNOWN]


def test_t62_a_malformed_or_lost_recording_is_1_or_skipped_by_name(person):
    person.types("run", person.scenario("trial", "[{text: good}]"), "-n", "4", "-q")
    _, damaged, lost, _ = ids(person)
    spoil(person, damaged, b"nonsense")
    stored(person, lost).unlink()
    for trace_id in (damaged, lost):
        assert person.types("replay", trace_id).code == 1
        allowed = person.types("replay", trace_id, "--allow-partial")
        assert allowed.code == 0
        assert trace_id in allowed.err
    whole = person.types("replay", "latest", "--json")
    assert whole.code == 1
    assert "2 of 4 recorded traces" in whole.document["error"]["message"]
    partial = person.types("replay", "latest", "--allow-partial")
    assert partial.code == 0
    assert partial.err.count("is skipped") == 2
    assert "2/4" in partial.out
    assert person.types("replay").code == 0  # the last one is whole


def test_t62_a_newer_schema_is_a_clear_refusal(person):
    from salvo_core.trace import codec

    person.types("run", person.scenario("trial", "[{text: good}]"), "-n", "1", "-q")
    (trace_id,) = ids(person)
    spoil(person, trace_id, codec.encode("salvo.trace/2", {}, compress=True)[0])
    for more in ((), ("--allow-partial",)):
        for ref in (trace_id, "latest"):
            refused = person.types("replay", ref, *more)
            assert (refused.code, refused.out) == (1, "")
            assert "written by a newer Salvo" in refused.err
            assert "upgrade Salvo" in refused.err


def test_t62_a_recording_is_shown_as_one_and_an_unknown_cost_is_a_dash_without_any_network(person, network):
    file = person.scenario("talk", TALK, more="}" + TOOLS + "\n#{")
    assert person.types("run", file, "-n", "3", "-q").code == 0
    network()
    replayed = person.types("replay")
    assert replayed.code == 0
    for part in (
        "PASSED  talk",
        "pretend via scripted",
        "calls look_up",
        "(recorded)",
        "cost      -",
        "good",
    ):
        assert part in replayed.out
    assert ids(person)[-1] in replayed.out
    for arguments in (("latest",), ("--step",), ("--json",), (ids(person)[0],)):
        assert person.types("replay", *arguments).code == 0
    assert network() == ""


def test_a_whole_run_replays_to_the_report_that_the_live_run_printed(person):
    broken = person.scenario("broken", "[{error: {kind: authentication}}]")
    bad = person.scenario("bad", "[{text: 'bad [/b]'}]")
    ran = person.types("run", person.scenario("fine", "[{text: good}]"), bad, broken, "-n", "3", "-q")
    assert ran.code == 3
    replayed = person.types("replay", "latest")
    assert (replayed.code, replayed.out) == (0, ran.out)
    assert "9 recorded traces" in replayed.err
    again = person.types("replay", "latest", "--json").document
    reported = person.types("report", "--json").document
    assert again["summary"] == reported["summary"]
    assert (again["traces"], again["skipped"]) == (9, [])


def test_the_beginning_of_a_trace_id_will_do_for_trace_and_replay(person):
    person.types("run", person.scenario("trial", "[{text: good}]"), "-n", "3", "-q")
    first, second, _ = ids(person)
    length = next(place for place in range(36) if first[place] != second[place]) + 1
    for command in ("trace", "replay"):
        assert second in person.types(command, second[:length]).out
    ambiguous = person.types("trace", second[: length - 1])
    assert ambiguous.code == 64
    assert first in ambiguous.err
    assert person.types("replay", second[: length - 1]).code == 1


# -- step by step ------------------------------------------------------------------------------------


def test_without_a_terminal_every_step_is_printed_between_separators(person):
    person.types("run", person.scenario("talk", TALK, more="}" + TOOLS + "\n#{"), "-n", "1", "-q")
    stepped = person.types("replay", "--step")
    assert stepped.code == 0
    titles = ["question ─", "turn 1 of 2 ─", "turn 2 of 2 ─", "end ─"]
    places = [stepped.out.index(title) for title in titles]
    assert places == sorted(places)
    assert "Enter" not in stepped.out + stepped.err


@pytest.mark.parametrize(
    ("presses", "last", "never"),
    [
        (("x\x1b[A\r", "\r", "q"), "turn 2 of 2", "finish"),  # other keys are not heard
        (("\r", " ", "\n"), "finish", "?"),
        (("\x04",), "question", "turn 1 of 2"),
    ],
)
def test_at_a_terminal_enter_goes_on_and_q_ends(person, presses, last, never):
    person.types("run", person.scenario("talk", TALK, more="}" + TOOLS + "\n#{"), "-n", "1", "-q")
    terminal = Terminal(person, "replay", "--step")
    for keys in presses:
        terminal.until("Enter: next")
        terminal.press(keys)
    assert terminal.ended() == 0
    assert last in terminal.seen
    assert never not in terminal.seen


# -- against a live model ----------------------------------------------------------------------------


@pytest.fixture
def provider(person):
    """A simulated provider, and a person whose environment points at it."""
    book = {
        "scripts": {
            "was": {"turns": [_call(n=1), _call(n=2), {"text": "good"}]},
            "strays": {"turns": [_call(n=1), _call(n=3), {"text": "good"}]},
            "chatty": {"turns": [_call(n=1), _call(n=2), {"text": "very good"}]},
            "down": {"turns": [_call(n=1), {"error": {"kind": "authentication"}}]},
        }
    }
    (person.folder / "book.yaml").write_text(json.dumps(book))
    process = person.start("simulate", "--script", "book.yaml", "--json", "--log", "asked.jsonl")
    text = ""
    while text.count("}") < 2:
        text += process.stdout.readline()
    person.environ |= json.loads(text)["variables"] | {"OPENAI_API_KEY": "sk-simulated"}
    (person.folder / "desk.yaml").write_text(
        "description: desk\nadapter: openai\nmodel: was\nprompt: Be good.\n"
        "tools: [{name: look_up, description: Looks., mock_response: {found: true}}]\n"
        "assertions: [{type: output_contains, value: good}]\n"
    )
    yield process
    if process.poll() is None:
        person.interrupts(process)
        person.ended(process)


def _call(**arguments):
    return {"tool_calls": [{"name": "look_up", "arguments": arguments}]}


def _asked(person: Person) -> int:
    return len((person.folder / "asked.jsonl").read_text().splitlines())


def test_a_recorded_trial_is_put_to_a_live_model_and_nothing_of_it_is_kept(person, provider, network):
    assert person.types("run", "desk.yaml", "-n", "1", "-q").code == 0
    store = person.folder / ".salvo" / "store"
    before, asked = {file: file.stat().st_mtime_ns for file in store.rglob("*")}, _asked(person)
    same = person.types("replay", "--against", "was", "-y")
    assert same.code == 0, same.err
    assert "NO DIFFERENCE in 3 turns" in same.out
    assert _asked(person) == asked + 3
    strays = person.types("replay", "--against", "strays", "-y", "--json")
    assert strays.code == 1
    parted = strays.document["divergence"]
    assert (parted["turn"], parted["kind"]) == (1, "arguments")
    assert _asked(person) == asked + 5  # it ended where they parted
    assert person.types("replay", "--against", "chatty", "-y").code == 1
    assert person.types("replay", "--against", "chatty", "-y", "--tools-only").code == 0
    down = person.types("replay", "--against", "down", "-y")
    assert down.code == 3
    assert "NOT FINISHED" in down.out
    assert {file: file.stat().st_mtime_ns for file in store.rglob("*")} == before
    assert network() != ""


def test_nothing_is_sent_unless_somebody_agrees(person, provider):
    person.types("run", "desk.yaml", "-n", "1", "-q")
    asked = _asked(person)
    alone = person.types("replay", "--against", "strays")
    assert alone.code == 64
    assert "at most 12 calls to strays via openai" in alone.err
    assert "-y" in alone.err
    terminal = Terminal(person, "replay", "--against", "strays")
    terminal.until("Go on?")
    assert "at most 12 calls to strays via openai" in " ".join(terminal.seen.split())
    terminal.press("n\r")
    assert terminal.ended() == 130
    assert _asked(person) == asked
    terminal = Terminal(person, "replay", "--against", "strays")
    terminal.until("Go on?")
    terminal.press("y\r")
    assert terminal.ended() == 1
    assert _asked(person) == asked + 2


def test_a_provider_that_is_gone_is_not_missed_by_a_replay(person, provider):
    person.types("run", "desk.yaml", "-n", "1", "-q")
    person.interrupts(provider)
    person.ended(provider)
    assert "was via openai" in person.types("replay").out


def test_a_script_is_asked_without_a_question_and_a_run_cannot_be_compared(person):
    person.types("run", person.scenario("talk", TALK, more="}" + TOOLS + "\n#{"), "-n", "1", "-q")
    assert person.types("replay", "--adapter", "scripted").code == 0
    refused = person.types("replay", "latest", "--against", "other")
    assert refused.code == 64
    assert "takes one trial" in refused.err
    assert person.types("replay", "--adapter", "opnai", "-y").code == 64


class Terminal:
    """A command at a terminal of its own, keys and screen."""

    def __init__(self, person: Person, *arguments: str) -> None:
        self._keys, inner = pty.openpty()
        self.seen = ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "salvo_cli", *arguments],
            cwd=person.folder,
            env=person.environ | {"TERM": "xterm"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)
        self._fresh = 0

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._keys, keys.encode())

    def until(self, text: str) -> None:
        """Return once text has appeared since the last time."""
        ends = time.monotonic() + DEADLINE_S
        while (place := self.seen.find(text, self._fresh)) < 0:
            assert time.monotonic() < ends, self.seen
            assert self._read(), self.seen
        self._fresh = place + len(text)

    def ended(self) -> int:
        """Return the exit code."""
        while self._read():
            pass
        os.close(self._keys)
        return self._process.wait(DEADLINE_S)

    def _read(self) -> bool:
        if not select.select([self._keys], [], [], DEADLINE_S)[0]:
            self._process.kill()  # nothing may be left running behind a test that fails
            raise AssertionError(self.seen)
        try:
            more = os.read(self._keys, 65536)
        except OSError:  # how Linux says that nobody writes to this terminal any more
            return False
        self.seen += more.decode("utf-8", "replace")
        return bool(more)
