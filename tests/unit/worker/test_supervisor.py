"""The parent of several processes, with small real processes in the place of workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import SalvoError, Unavailable, UsageError
from salvo_core.settings import resolve
from salvo_worker.children import Pace, resident_mb, said_of, shell_code
from salvo_worker.supervisor import (
    Supervisor,
    child_variables,
    processes_of,
    wants_parent,
)
from salvo_worker.tether import Tether

DEADLINE_S = 60.0
QUICK = Pace(backoff_s=0.01, backoff_s_max=0.05, cannot_start_s=0.05, short_lives_max=4, look_s=0.02)

OBEDIENT = """
import signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
say("ready")
while not told:
    time.sleep(0.01)
say("left")
"""
STUBBORN = """
import signal, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
say("ready")
while len(told) < 2:
    time.sleep(0.01)
say("hurried")
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say("ready")
while True:
    time.sleep(1)
"""


class Crew:
    """Launches scripts in the place of workers, by name, and keeps a diary of what they say."""

    def __init__(self, folder, scripts, otherwise=OBEDIENT):
        self.folder, self.scripts, self.otherwise = folder, scripts, otherwise
        self.launched: list[str] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __call__(self, name):
        self.launched.append(name)
        body = self.scripts.get(name, self.otherwise)
        diary = f"def say(what): open({str(self.folder / name)!r}, 'a').write(what + '\\n')\n"
        command = [sys.executable, "-S", "-c", diary + textwrap.dedent(body)]
        self.processes[name] = subprocess.Popen(command, start_new_session=True)
        return self.processes[name]

    def said(self, name):
        file = self.folder / name
        return file.read_text().split() if file.exists() else []

    def hurry(self, name):
        """Tell one again and again, until it is gone: signals that come together count as one."""

        def gone():
            self.processes[name].send_signal(signal.SIGTERM)
            return self.processes[name].poll() is not None

        wait_for(gone)


def wait_for(condition):
    ends = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends, "not within the deadline"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def signals_that_come_late_hurt_nobody():
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def meanwhile(request):
    """Run something beside the supervisor, which must be on the main thread, for its signals' sake."""
    failures = []

    def begin(act):
        def guarded():
            try:
                act()
            except BaseException as error:
                failures.append(error)
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=guarded)
        thread.start()
        request.addfinalizer(lambda: thread.join(DEADLINE_S))
        return lambda: (thread.join(DEADLINE_S), failures)[1]

    return begin


def tell_ourselves(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_all_processes_leave_warmly_when_the_parent_is_told_to(tmp_path, meanwhile, number):
    crew = Crew(tmp_path, {})

    def tell():
        wait_for(lambda: all(crew.said(name) == ["ready"] for name in ("w1", "w2", "w3")))
        tell_ourselves(number)

    failed = meanwhile(tell)
    assert Supervisor(crew, processes=3, grace_s=DEADLINE_S, pace=QUICK).run() == 0
    assert not failed()
    assert crew.launched == ["w1", "w2", "w3"]
    assert all(crew.said(name) == ["ready", "left"] for name in crew.launched)


def test_a_second_signal_hurries_every_process(tmp_path, meanwhile):
    crew = Crew(tmp_path, {}, STUBBORN)

    def tell():
        wait_for(lambda: all(crew.said(name) == ["ready"] for name in ("w1", "w2")))
        tell_ourselves()
        time.sleep(0.05)  # two signals at the same moment may be one
        while not all(crew.said(name)[1:] for name in ("w1", "w2")):
            tell_ourselves()
            time.sleep(0.05)

    failed = meanwhile(tell)
    Supervisor(crew, processes=2, grace_s=DEADLINE_S, pace=QUICK).run()
    assert not failed()
    assert all(crew.said(name) == ["ready", "hurried"] for name in ("w1", "w2"))


def test_a_process_that_does_not_leave_is_killed_and_the_exit_code_says_so(tmp_path, meanwhile, monkeypatch):
    monkeypatch.setattr("salvo_worker.supervisor.OVERTIME_S", 0.1)
    crew = Crew(tmp_path, {"w2": DEAF})

    def tell():
        wait_for(lambda: crew.said("w1") and crew.said("w2"))
        tell_ourselves()

    failed = meanwhile(tell)
    assert Supervisor(crew, processes=2, grace_s=0.2, pace=QUICK).run() == 128 + signal.SIGKILL
    assert not failed()


def test_a_process_that_dies_is_followed_by_another_and_its_neighbour_is_left_alone(tmp_path, meanwhile):
    crew = Crew(tmp_path, {})

    def kill():
        wait_for(lambda: crew.said("w1") and crew.said("w2"))
        crew.processes["w1"].kill()
        wait_for(lambda: crew.said("w3"))
        tell_ourselves()

    failed = meanwhile(kill)
    assert Supervisor(crew, processes=2, grace_s=DEADLINE_S, pace=QUICK).run() == 0
    assert not failed()
    assert crew.launched == ["w1", "w2", "w3"]
    assert crew.said("w2") == ["ready", "left"]


def test_a_process_that_ends_with_0_is_followed_by_another_unless_idleness_ends_it(tmp_path, meanwhile):
    crew = Crew(tmp_path, {"w1": "say('ready')"})

    def tell():
        wait_for(lambda: crew.said("w2"))
        tell_ourselves()

    failed = meanwhile(tell)
    assert Supervisor(crew, processes=1, grace_s=DEADLINE_S, pace=QUICK).run() == 0
    assert not failed()
    idle = Crew(tmp_path, {}, "say('idle')")
    assert Supervisor(idle, processes=2, grace_s=DEADLINE_S, pace=QUICK, stays_away=True).run() == 0
    assert idle.launched == ["w1", "w2"]


@pytest.mark.parametrize(("code", "error"), [(64, UsageError), (69, Unavailable)], ids=["64", "69"])
def test_when_no_process_can_start_the_parent_leaves_with_their_code(tmp_path, code, error):
    crew = Crew(tmp_path, {}, f"raise SystemExit({code})")
    pace = Pace(backoff_s=0.01, backoff_s_max=0.05, cannot_start_s=DEADLINE_S)
    with pytest.raises(error, match="no worker process could start") as told:
        Supervisor(crew, processes=3, grace_s=DEADLINE_S, pace=pace).run()
    assert told.value.exit_code == code
    assert crew.launched == ["w1", "w2", "w3"], "none was tried twice"


def test_one_that_cannot_start_is_tried_again_as_long_as_another_works(tmp_path, meanwhile):
    crew = Crew(tmp_path, {"w1": OBEDIENT}, "say('tried')\nraise SystemExit(69)")

    def tell():
        wait_for(lambda: crew.said("w5"))
        tell_ourselves()

    failed = meanwhile(tell)
    Supervisor(crew, processes=2, grace_s=DEADLINE_S, pace=QUICK).run()
    assert not failed()
    assert crew.said("w1") == ["ready", "left"]


def test_processes_that_only_ever_die_young_are_given_up(tmp_path):
    crew = Crew(tmp_path, {}, "raise SystemExit(1)")
    with pytest.raises(SalvoError, match="end as soon as they start: 4 times") as told:
        Supervisor(crew, processes=2, grace_s=DEADLINE_S, pace=QUICK).run()
    assert told.value.exit_code == 70
    assert len(crew.launched) >= 8


def test_a_system_without_room_for_a_process_is_tried_again_and_then_given_up(caplog):
    def no_room(name):
        raise OSError(11, "Resource temporarily unavailable")

    with pytest.raises(SalvoError, match="end as soon"):
        Supervisor(no_room, processes=1, grace_s=1.0, pace=QUICK).run()
    assert caplog.text.count("Resource temporarily unavailable") == 4


def test_a_process_that_grows_too_large_is_told_to_leave_and_succeeded_one_at_a_time(tmp_path, meanwhile):
    crew = Crew(tmp_path, {"w1": STUBBORN, "w2": STUBBORN})

    def resident(pid):
        grown = [crew.processes[name].pid for name in ("w1", "w2") if name in crew.processes]
        return 900.0 if pid in grown and crew.said("w1") and crew.said("w2") else 80.0

    def look():
        wait_for(lambda: crew.said("w3"))
        assert "w4" not in crew.launched, "w1 has not left yet"
        crew.hurry("w1")
        wait_for(lambda: crew.said("w4"))
        crew.hurry("w2")
        tell_ourselves()

    failed = meanwhile(look)
    supervisor = Supervisor(
        crew, processes=2, grace_s=DEADLINE_S, memory_max_mb=500, pace=QUICK, resident=resident
    )
    assert supervisor.run() == 0
    assert not failed()
    assert crew.launched == ["w1", "w2", "w3", "w4"]


def test_a_limit_that_every_process_exceeds_makes_pauses_grow(tmp_path, meanwhile, caplog):
    crew = Crew(tmp_path, {})

    def tell():
        wait_for(lambda: len(crew.launched) >= 4)
        tell_ourselves()

    failed = meanwhile(tell)
    Supervisor(
        crew, processes=1, grace_s=DEADLINE_S, memory_max_mb=100, pace=QUICK, resident=lambda pid: 101.0
    ).run()
    assert not failed()
    assert "the limit may be too small" in caplog.text


CHILD = """
import os, signal, sys, time
from salvo_worker.tether import Tether
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
tether = Tether.parse(sys.argv[sys.argv.index("--tether") + 1])
tether.watch(lambda: False, grace_s=30)
while not told:
    time.sleep(0.01)
open(f"{sys.argv[1]}/{tether.process}", "w").write("left")
"""
PARENT = """
import os, sys
from salvo_worker.supervisor import Supervisor, launching
command = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
with launching(command, os.environ) as launch:
    def told(name):
        process = launch(name)
        print(process.pid, flush=True)
        return process
    Supervisor(told, processes=2, grace_s=30).run()
"""


def test_children_leave_by_themselves_when_their_parent_is_killed(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
    wait_for(lambda: not any(runs(pid) for pid in pids))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"w1": "left", "w2": "left"}


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in state_of(pid)


def state_of(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((line for line in status if line.startswith("State:")), "")
    except OSError:
        return ""


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_pauses_never_shrink_as_short_lives_add_up_and_are_bounded(few, more):
    pace = Pace()
    assert 0 <= pace.pause_s(min(few, more)) <= pace.pause_s(max(few, more)) <= pace.backoff_s_max


def test_pauses_double():
    assert [Pace().pause_s(lives) for lives in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 32, 60]


def test_a_tether_is_read_as_it_was_written():
    assert Tether.parse(str(Tether(7, "w3"))) == Tether(7, "w3")
    for text in ("", "7", "7:", "x:w1", "7:w1%", "-1:w1", "7:w1\n"):
        with pytest.raises(ValueError, match="no tether"):
            Tether.parse(text)


def test_memory_is_that_of_the_process(tmp_path):
    mine_mb = resident_mb(os.getpid())
    assert mine_mb is not None
    assert 5 < mine_mb < 5000
    asked_mb = resident_mb(os.getpid(), tmp_path)  # no /proc there: ps is asked
    assert asked_mb is None or 5 < asked_mb < 5000
    assert resident_mb(2**30) is None


def test_ends_are_told_as_a_shell_would():
    assert [shell_code(code) for code in (0, 64, -signal.SIGKILL)] == [0, 64, 137]
    assert [said_of(code) for code in (0, -signal.SIGSEGV, -99)] == ["exit code 0", "SIGSEGV", "signal 99"]


def test_one_process_without_a_limit_has_no_parent():
    assert not wants_parent(resolve({}))
    assert wants_parent(resolve({"SALVO_PROCS": "2"}))
    assert wants_parent(resolve({}, flags={"memory_max_mb": 500}))
    assert processes_of(resolve({"SALVO_PROCS": "auto"})) >= 1


@pytest.mark.parametrize("text", ["0", "257", "many", "1.5", "-1"])
def test_a_number_of_processes_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="auto"):
        resolve({}, flags={"procs": text})


def test_children_are_one_process_each_with_all_other_settings_the_same():
    environ = {"SALVO_PROCS": "auto", "SALVO_MEMORY_MAX_MB": "400", "OPENAI_API_KEY": "k"}
    settings = resolve(environ, flags={"concurrency": 7})
    theirs = child_variables(environ, settings)
    assert not wants_parent(resolve(theirs))
    assert resolve(theirs).concurrency == 7
    assert theirs["OPENAI_API_KEY"] == "k"
