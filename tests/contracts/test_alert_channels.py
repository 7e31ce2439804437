"""What every channel promises, over real sockets, programs and files; a loopback server is the receiver."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from salvo_core.adapters.profile import Timeouts
from salvo_core.adapters.retrying import Backoff
from salvo_core.alerts.channel import Channel, ChannelFailed
from salvo_core.alerts.channels import channel_of, channels_of
from salvo_core.alerts.command import Command
from salvo_core.alerts.delivery import deliver
from salvo_core.alerts.file import Lines
from salvo_core.alerts.posting import Posting
from salvo_core.alerts.webhook import Posted, signature
from salvo_core.clock import SystemClock
from salvo_core.errors import UsageError
from salvo_core.scenario.notify import ChannelTerms
from salvo_core.scenario.project import Project
from salvo_core.settings import Settings, resolve
from salvo_core.store.memory import MemoryStore
from tests.unit.adapters.server import HANG, RESET, CannedServer, answer
from tests.unit.alerts.builders import KEY, HandClock, an_alert

CANARY = "CanaryThatNobodyMaySee0123456789"
PATIENT = Posting()
HASTY = Posting(
    timeouts=Timeouts(connect_s=5, read_s=0.2, write_s=5, turn_s=5),
    backoff=Backoff(retries_max=1, base_s=0.01, cap_s=0.01),
)
KINDS = ("webhook", "slack", "command", "file")


@dataclass
class Place:
    """A project, its environment, and a receiver on the loopback."""

    root: Path
    server: CannedServer
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return resolve({"PATH": os.environ["PATH"], **self.environ})

    def channel(self, posting: Posting | None = None, **terms: Any) -> Channel:
        """Return the channel ops of a project that says so of it."""
        project = Project(root=self.root, notify={"ops": ChannelTerms(**terms)})
        made = channel_of("ops", project, self.settings)
        return replace(made, posting=posting) if posting and isinstance(made, Posted) else made

    def program(self, text: str) -> tuple[str, ...]:
        """Return the command line of a program of that text."""
        (self.root / "program.py").write_text(text, "utf-8")
        return (sys.executable, "program.py")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    server = CannedServer()
    await server.start()
    yield Place(tmp_path, server)
    await server.stop()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def working(place: Place, kind: str) -> Channel:
    """Return a channel of that kind whose receiver takes everything."""
    place.server.plays(answer(text="ok"))
    (place.root / "heard.py").touch()
    heard = place.program("import sys\nopen('heard.jsonl', 'a').write(sys.stdin.read())\nprint('ok')\n")
    terms: dict[str, dict[str, Any]] = {
        "webhook": {"webhook": f"{place.server.url}/hook"},
        "slack": {"slack": f"{place.server.url}/hook"},
        "command": {"command": heard},
        "file": {"file": "heard.jsonl"},
    }
    return place.channel(**terms[kind])


def broken(place: Place, kind: str) -> Channel:
    """Return a channel of that kind whose receiver takes nothing, and says so with the canary."""
    place.server.plays(answer({"error": f"no {CANARY}"}, status=500))
    place.environ["ADDRESS"] = f"{place.server.url}/services/{CANARY}?sig={CANARY}"
    (place.root / "link.jsonl").symlink_to("/dev/null")
    terms: dict[str, dict[str, Any]] = {
        "webhook": {"url_env": "ADDRESS"},
        "slack": {"slack_url_env": "ADDRESS"},
        "command": {"command": place.program("raise SystemExit(3)")},
        "file": {"file": "link.jsonl"},
    }
    return place.channel(HASTY, **terms[kind])


def heard(place: Place, kind: str) -> list[Any]:
    if kind in ("webhook", "slack"):
        return [seen.body for seen in place.server.seen]
    file = place.root / "heard.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


@pytest.mark.parametrize("kind", KINDS)
async def test_every_channel_hears_an_alert_once(place: Place, kind: str) -> None:
    store, channel = MemoryStore(), working(place, kind)
    for _ in range(2):
        (found,) = await deliver(an_alert(), [channel], store, SystemClock())
        assert found.told, found
    (alone,) = heard(place, kind)
    if kind != "slack":
        assert alone == json.loads(an_alert().body())
    else:
        assert alone["text"].startswith("refund passes less often\n")


@pytest.mark.parametrize("kind", KINDS)
async def test_two_who_tell_a_channel_at_once_tell_it_once(place: Place, kind: str) -> None:
    store, channel = MemoryStore(), working(place, kind)
    both = await asyncio.gather(*(deliver(an_alert(), [channel], store, SystemClock()) for _ in range(2)))
    assert sorted(one.state for (one,) in both) == ["told", "under way"]
    assert len(heard(place, kind)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_channel_that_fails_says_why_and_no_secret(
    place: Place, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store, channel = MemoryStore(), broken(place, kind)
    (found,) = await deliver(an_alert(), [channel], store, SystemClock())
    assert (found.state, found.tries) == ("failed", 1)
    assert found.said
    stored = [(await store.get(key)).decode() async for key in store.list("")]
    assert stored
    for told in (found.model_dump_json(), channel.shown, repr(channel), caplog.text, *stored):
        assert CANARY not in told
    assert found.next_at is not None


async def test_a_webhook_is_signed_over_what_goes_over_the_wire(place: Place, clock: HandClock) -> None:
    place.server.plays(answer(text=""))
    place.environ["KEY"] = f"{KEY}, {KEY[::-1]}\n"
    channel = place.channel(webhook=f"{place.server.url}/a/b", signing_key_env="KEY")
    assert await channel.send(an_alert(), clock) == "200"
    (seen,) = place.server.seen
    assert seen.path == "/a/b"
    assert seen.raw == an_alert().body()
    sent = seen.headers
    assert sent["x-salvo-alert-id"] == "0f3a.alert"
    assert sent["x-salvo-timestamp"] == str(int(clock.now().timestamp()))
    assert sent["x-salvo-signature"] == signature([KEY, KEY[::-1]], sent["x-salvo-timestamp"], seen.raw)


async def test_an_address_alone_gets_the_document_unsigned(place: Place, clock: HandClock) -> None:
    place.server.plays(answer(text="ok"))
    channel = channel_of(f"{place.server.url}/hook", Project(root=place.root), place.settings)
    assert channel.name.startswith("url-")
    assert channel.shown == f"{place.server.url}/***"
    await channel.send(an_alert(), clock)
    (seen,) = place.server.seen
    assert "x-salvo-signature" not in seen.headers


@pytest.mark.parametrize(
    "first", [answer({}, status=500), RESET, answer({}, status=408)], ids=["500", "reset", "408"]
)
async def test_a_receiver_that_stumbles_is_asked_again(place: Place, clock: HandClock, first: Any) -> None:
    place.server.plays(first, answer(text="ok"))
    place.environ |= {"KEY": KEY, "ADDRESS": place.server.url}
    channel = place.channel(url_env="ADDRESS", signing_key_env="KEY")
    assert await channel.send(an_alert(), clock) == "200 ok"
    assert len(place.server.seen) == 2
    assert len(clock.slept) == 1


async def test_a_retry_after_is_waited_out_and_the_next_try_is_signed_anew(
    place: Place, clock: HandClock
) -> None:
    place.server.plays(answer({}, status=429, headers={"Retry-After": "7"}), answer(text="ok"))
    place.environ["KEY"] = KEY
    channel = place.channel(webhook=place.server.url, signing_key_env="KEY")
    await channel.send(an_alert(), clock)
    (wait_s,) = clock.slept
    assert 7 <= wait_s <= 7 + PATIENT.backoff.cap_s
    first, second = (seen.headers for seen in place.server.seen)
    assert int(second["x-salvo-timestamp"]) - int(first["x-salvo-timestamp"]) >= 7
    assert first["x-salvo-signature"] != second["x-salvo-signature"]


async def test_a_retry_after_that_is_too_long_is_left_to_a_later_delivery(
    place: Place, clock: HandClock
) -> None:
    place.server.plays(answer({}, status=429, headers={"Retry-After": "900"}))
    (found,) = await deliver(an_alert(), [place.channel(webhook=place.server.url)], MemoryStore(), clock)
    assert (found.state, clock.slept, len(place.server.seen)) == ("failed", [], 1)
    assert found.next_at is not None
    assert (found.next_at - clock.now()).total_seconds() == 900


async def test_a_receiver_that_is_down_is_asked_four_times_and_no_more(
    place: Place, clock: HandClock
) -> None:
    place.server.plays(answer({}, status=503))
    with pytest.raises(ChannelFailed, match=r"127\.0\.0\.1:\d+ answered 503.*tried 4 times"):
        await place.channel(webhook=place.server.url).send(an_alert(), clock)
    assert len(place.server.seen) == 4
    assert clock.monotonic_s() <= PATIENT.within_s


async def test_a_receiver_that_hangs_is_left(place: Place, clock: HandClock) -> None:
    place.server.plays(HANG)
    with pytest.raises(ChannelFailed, match="sent nothing"):
        await place.channel(HASTY, webhook=place.server.url).send(an_alert(), clock)
    await place.server.until(lambda: place.server.open_connections == 0)


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirect_is_not_followed(place: Place, clock: HandClock, status: int) -> None:
    elsewhere = f"{place.server.url}/elsewhere?token={CANARY}"
    place.server.plays(answer({}, status=status, headers={"Location": elsewhere}))
    with pytest.raises(ChannelFailed, match="moved to") as caught:
        await place.channel(webhook=place.server.url).send(an_alert(), clock)
    assert len(place.server.seen) == 1
    assert CANARY not in caught.value.message
    assert "final address" in caught.value.hint


async def test_what_cannot_get_better_by_asking_again_is_asked_once(place: Place, clock: HandClock) -> None:
    place.server.plays(answer(text="no_service", status=404))
    with pytest.raises(ChannelFailed, match="answered 404"):
        await place.channel(slack=place.server.url).send(an_alert(), clock)
    assert len(place.server.seen) == 1


async def test_what_a_receiver_answers_is_shown_in_part_and_without_control_characters(
    place: Place, clock: HandClock
) -> None:
    place.server.plays(answer(text="\u001b[2J" + "x" * 100_000))
    said = await place.channel(webhook=place.server.url).send(an_alert(), clock)
    assert len(said) <= 310
    assert said.isprintable()


async def test_an_answer_without_end_is_not_read_to_its_end(place: Place, clock: HandClock) -> None:
    place.server.plays(answer(text="x" * 2_000_000))
    with pytest.raises(ChannelFailed, match="more than 1 MiB"):
        await place.channel(webhook=place.server.url).send(an_alert(), clock)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "ADDRESS is not set here"),
        ({"ADDRESS": "http://10.0.0.1/x"}, "ADDRESS holds no address: alerts go over https"),
        ({"ADDRESS": CANARY}, "ADDRESS holds no address"),
        ({"ADDRESS": "https://127.0.0.1:9"}, "KEY is not set here"),
        (
            {"ADDRESS": "https://127.0.0.1:9", "KEY": "short-" + CANARY[:10]},
            "KEY holds a key of fewer than 32",
        ),
    ],
    ids=["no-address", "plain-http", "no-url", "no-key", "short-key"],
)
async def test_what_this_machine_lacks_is_said_and_nothing_goes_out(
    place: Place, clock: HandClock, environ: dict[str, str], said: str
) -> None:
    place.environ |= environ
    with pytest.raises(ChannelFailed, match=said) as caught:
        await place.channel(url_env="ADDRESS", signing_key_env="KEY").send(an_alert(), clock)
    assert CANARY[:10] not in caught.value.message


async def test_a_command_sees_the_alert_and_no_secret(place: Place, clock: HandClock) -> None:
    place.environ |= {"OPENAI_API_KEY": CANARY, "SALVO_REDIS_URL": f"redis://:{CANARY}@h", "HOME": "/h"}
    seen = (
        "import json, os, sys\njson.dump([dict(os.environ), os.getcwd(), sys.argv[1:]], open('seen', 'w'))\n"
    )
    channel = place.channel(command=(*place.program(seen), "$(touch x)", "; true"))
    assert await channel.send(an_alert(), clock) == "ended with 0: it said nothing"
    environ, folder, arguments = json.loads((place.root / "seen").read_text("utf-8"))
    assert CANARY not in json.dumps(environ)
    assert environ["HOME"] == "/h"
    assert Path(folder) == place.root.resolve()
    assert arguments == ["$(touch x)", "; true"]


async def test_a_command_that_takes_too_long_ends_with_all_it_started(place: Place, clock: HandClock) -> None:
    program = place.program(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('pids.part', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "os.rename('pids.part', 'pids')\n"
        "time.sleep(600)\n"
    )
    channel = Command("ops", program, place.root, {"PATH": os.environ["PATH"]}, limit_s=600)
    telling = asyncio.create_task(channel.send(an_alert(), clock))
    async with asyncio.timeout(60):
        while not (place.root / "pids").exists():
            await asyncio.sleep(0.02)
    telling.cancel()  # as the delivery's own limit does
    with pytest.raises(asyncio.CancelledError):
        await telling
    async with asyncio.timeout(60):
        while any(_lives(int(pid)) for pid in (place.root / "pids").read_text("utf-8").split()):
            await asyncio.sleep(0.02)

    slow = replace(channel, arguments=(sys.executable, "-c", "import time; time.sleep(600)"), limit_s=0.2)
    with pytest.raises(ChannelFailed, match=r"took longer than 0\.2 s"):
        await slow.send(an_alert(), clock)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_a_command_leaves_running_is_not_waited_for(place: Place, clock: HandClock) -> None:
    program = place.program(
        "import subprocess, sys\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('left', left.pid)\n"
    )
    said = await place.channel(command=program).send(an_alert(), clock)
    head, _, pid = said.rpartition(" ")
    os.kill(int(pid), signal.SIGKILL)
    assert head == "ended with 0: left"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (("no-such-program",), "no-such-program cannot be run here"),
        ((sys.executable, "-c", "print('\\x1b[1mno'); raise SystemExit(4)"), "ended with 4: .*no"),
        ((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), "was ended by signal 9"),
    ],
    ids=["absent", "fails", "killed"],
)
async def test_a_command_that_fails_is_told_by_how_it_ended(
    place: Place, clock: HandClock, program: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ChannelFailed, match=said) as caught:
        await place.channel(command=program).send(an_alert(), clock)
    assert caught.value.message.isprintable()


async def test_many_who_write_to_a_file_at_once_each_write_their_line(place: Place, clock: HandClock) -> None:
    channel = place.channel(file="alerts.jsonl")
    alerts = [an_alert(id=f"{number}.alert") for number in range(6)]
    assert set(await asyncio.gather(*(channel.send(one, clock) for one in alerts))) == {"written"}
    lines = (place.root / "alerts.jsonl").read_text("utf-8").splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == [one.id for one in alerts]


async def test_a_file_has_one_line_an_alert_whoever_died_before_it_was_noted(
    place: Place, clock: HandClock
) -> None:
    channel = place.channel(file="kept/alerts.jsonl")
    assert await channel.send(an_alert(), clock) == "written"
    assert await channel.send(an_alert(), clock) == "written before"
    file = place.root / "kept" / "alerts.jsonl"
    with file.open("a", encoding="utf-8") as half:
        half.write('{"id":"0f3a.cl')  # the power went
    assert await channel.send(an_alert(id="0f3a.clear"), clock) == "written"
    first, _, last = file.read_text("utf-8").splitlines()
    assert json.loads(first) == json.loads(an_alert().body())
    assert json.loads(last)["id"] == "0f3a.clear"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("path", ["link.jsonl", "folder/alerts.jsonl", "pipe", "taken"])
async def test_a_file_that_is_none_of_the_project_is_not_written(
    place: Place, clock: HandClock, path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (place.root / "link.jsonl").symlink_to(outside / "alerts.jsonl")
    (place.root / "folder").symlink_to(outside)
    os.mkfifo(place.root / "pipe")
    (place.root / "taken").mkdir()
    with pytest.raises(ChannelFailed, match=f"{path} cannot be written"):
        await Lines("log", place.root, path).send(an_alert(), clock)
    assert not list(outside.iterdir())


def test_an_unknown_channel_is_refused_with_the_nearest_name(place: Place) -> None:
    project = Project(root=place.root, notify={"ops": ChannelTerms(file="a")})
    with pytest.raises(UsageError, match="no channel 'opps'") as caught:
        channel_of("opps", project, place.settings)
    assert "`ops`" in caught.value.hint


async def test_a_channel_that_this_machine_does_not_know_fails_beside_those_that_it_does(
    place: Place,
) -> None:
    project = Project(root=place.root, notify={"log": ChannelTerms(file="a.jsonl")})
    channels = channels_of(["ops", "log", "log"], project, place.settings)
    unknown, log = await deliver(an_alert(), channels, MemoryStore(), SystemClock())
    assert (unknown.channel, unknown.state) == ("ops", "failed")
    assert "no channel 'ops'" in unknown.said
    assert log.told
