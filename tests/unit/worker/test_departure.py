"""How a worker's process ends while something in it does not."""

import subprocess
import sys
import time

import pytest

from salvo_worker.departure import OVERTIME_S

LONG_S = 600
DEADLINE_S = 60.0
"""Of a child; far less than what its threads wait for, far more than a busy machine needs."""

BEGIN = f"""
import logging, threading, time
from concurrent.futures import ThreadPoolExecutor
from salvo_worker.departure import LastCall, leave_process
logging.basicConfig(level="INFO")
def silent():
    time.sleep({LONG_S})
"""


def ended(body):
    return subprocess.run(
        [sys.executable, "-c", BEGIN + body], capture_output=True, text=True, timeout=DEADLINE_S
    )


@pytest.mark.parametrize(
    "begin",
    [
        # Python would pull itself away from under the first, and wait for the second.
        "threading.Thread(target=silent, name='salvo-loop', daemon=True).start()",
        "ThreadPoolExecutor(1, 'salvo-loop').submit(silent)",
    ],
    ids=["a daemon", "of an executor"],
)
def test_a_thread_that_does_not_end_is_left_behind_at_once_and_named(begin):
    child = ended(f"{begin}\nprint('last words')\nleave_process(4)")
    assert child.returncode == 4
    assert "salvo-loop" in child.stderr
    assert child.stdout == "last words\n"


def test_a_process_without_other_threads_ends_as_any_other():
    child = ended("import atexit\natexit.register(print, 'cleaned up')\nleave_process(3)")
    assert (child.returncode, child.stdout, child.stderr) == (3, "cleaned up\n", "")


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_that_comes_while_a_process_ends_is_no_death(number):
    late = f"atexit.register(os.kill, os.getpid(), signal.{number})"
    child = ended(f"import atexit, os, signal\n{late}\nleave_process(0)")
    assert (child.returncode, child.stderr) == (0, "")


def test_a_stop_that_does_not_end_ends_with_the_process():
    child = ended("last_call = LastCall()\nlast_call.within(0.1, 5)\nsilent()")
    assert child.returncode == 5
    assert "took longer than it may" in child.stderr


def test_a_second_call_only_makes_the_time_shorter():
    child = ended(f"last_call = LastCall()\nlast_call.within({LONG_S})\nlast_call.within(0.1)\nsilent()")
    assert child.returncode == 0
    before_s = time.monotonic()
    child = ended(f"last_call = LastCall()\nlast_call.within(0.1)\nlast_call.within({LONG_S})\nsilent()")
    assert child.returncode == 0
    assert time.monotonic() - before_s >= OVERTIME_S


def test_a_stop_that_ends_in_time_calls_it_off():
    child = ended("last_call = LastCall()\nlast_call.within(0.2)\nlast_call.call_off()\nleave_process(7)")
    assert (child.returncode, child.stderr) == (7, "")
    child = ended("last_call = LastCall()\nlast_call.call_off()\nlast_call.within(-9)\nleave_process(7)")
    assert (child.returncode, child.stderr) == (7, "")
