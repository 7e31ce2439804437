"""A team's own functions: what they may answer, and what may go wrong."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from salvo_core.errors import UsageError
from salvo_core.evaluation import functions as functions_module
from salvo_core.evaluation.assertion import Check
from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.custom import Custom, plain
from salvo_core.evaluation.functions import FunctionHosts
from salvo_core.evaluation.grading import evaluate, grade
from salvo_core.imports import ImportGate
from salvo_core.trace.model import Finding
from salvo_core.trace.redaction import Redactor
from tests.servers.process import wait_until
from tests.unit.evaluation.builders import trace

CHECKS = "tests.unit.evaluation.checks"


class Given:
    """Functions by name, called right here."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def load(self, path: str) -> Callable[[Any, Any], Any]:
        return self.function


def found(function: Callable[[Any, Any], Any], **more: Any) -> Finding:
    """Return what a custom assertion with that function finds."""
    (finding,) = evaluate(trace(), [custom("my_pkg.check", **more)], functions=Given(function))
    return finding


def custom(function: str, **more: Any) -> Any:
    return parse({"type": "custom", "function": function, **more})


@pytest.fixture
def hosts() -> Iterator[FunctionHosts]:
    made = FunctionHosts(ImportGate([f"{CHECKS}.*"]), hosts_max=2)
    yield made
    made.close()


def hosted(hosts: FunctionHosts, name: str, **more: Any) -> Finding:
    subject = trace(answer="done", calls=[("pay", {"amount": 42.5})])
    (finding,) = evaluate(subject, [custom(f"{CHECKS}.{name}", **more)], functions=hosts)
    return finding


@pytest.mark.parametrize(
    ("answer", "score", "passed", "details"),
    [
        (True, 1.0, True, "the function says yes, score 1"),
        (False, 0.0, False, "the function says no, score 0"),
        (0.8, 0.8, True, "the function says yes, score 0.8"),
        (0.79, 0.79, False, "the function says no, score 0.79"),
        (1, 1.0, True, "the function says yes, score 1"),
        (Fraction(1, 2), 0.5, False, "the function says no, score 0.5"),
        ({"passed": True}, 1.0, True, "the function says yes, score 1"),
        ({"score": 0.9, "details": "nice\nwork"}, 0.9, True, "nice work"),
        ({"score": 0.1, "passed": True, "details": 5}, 0.1, True, "5"),
        (Check(0.5, False, "seen"), 0.5, False, "seen"),
        (SimpleNamespace(passed=True), 1.0, True, "the function says yes, score 1"),
    ],
)
def test_what_a_function_may_answer(answer: Any, score: float, passed: bool, details: str) -> None:
    finding = found(lambda trace, assertion: answer)
    assert (finding.score, finding.passed, finding.details, finding.error) == (score, passed, details, None)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "answered with NoneType: wanted are true or false"),
        ("yes", "answered with str"),
        ({}, "answered with dict"),
        ({"pass": True}, "the answer has no ['pass'], only passed, score, details, error"),
        ({"passed": 1}, "`passed` is int, not true or false: wrap it in bool()"),
        ({"passed": True, "score": True}, "the score is True"),
        (math.nan, "the score is nan, and must be a number from 0 to 1"),
        (math.inf, "the score is inf"),
        (1.01, "the score is 1.01"),
        (-1, "the score is -1"),
        ({"score": "0.5"}, "the score is '0.5'"),
        ({"error": "the ledger is closed"}, "the ledger is closed"),
        (SimpleNamespace(passed=False, error="no ledger"), "no ledger"),
    ],
)
def test_any_other_answer_is_an_error_and_nothing_about_the_agent(answer: Any, said: str) -> None:
    finding = found(lambda trace, assertion: answer)
    assert (finding.score, finding.passed, finding.details) == (0.0, False, "")
    assert finding.error is not None
    assert said in finding.error


def test_a_number_passes_from_the_assertion_s_own_threshold_on() -> None:
    assert found(lambda trace, assertion: 0.5, threshold=0.5).passed
    assert not found(lambda trace, assertion: 0.5, threshold=0.51).passed


def test_plain_leaves_what_it_made_as_it_is() -> None:
    for answer in (True, 0.5, {"score": 1, "details": "x"}, {"error": "e"}):
        assert plain(plain(answer)) == plain(answer)


def test_what_a_function_says_is_shown_without_secrets_and_short() -> None:
    secret = "hunter2-correct-horse"
    spec = custom("my_pkg.check")
    answers: list[Any] = [{"passed": True, "details": f"{secret} " + "x" * 9999}, {"error": secret}]
    for answer in answers:
        (finding,) = evaluate(
            trace(),
            [spec],
            redact=Redactor([secret]).document,
            functions=Given(lambda trace, assertion, answer=answer: answer),
        )
        said = finding.details or finding.error or ""
        assert said.startswith("[REDACTED]")
        assert len(said) <= 500


def test_where_no_function_can_be_called_it_says_so() -> None:
    (finding,) = evaluate(trace(), [custom("my_pkg.check", required=True)])
    assert finding.error == "functions of your own are not called here, only by workers"
    assert grade([finding], 0.0, outcome="completed").grade == "hard_fail"


@pytest.mark.parametrize("function", ["", "a b", "a..b", ".a", "my-pkg.check", "os.system('x')", "../x"])
def test_a_function_is_named_by_a_path_or_an_entry_point(function: str) -> None:
    with pytest.raises(ValidationError, match="dotted path"):
        custom(function)


@pytest.mark.parametrize("timeout_s", [0, -1, 60.1, math.inf])
def test_the_time_limit_has_bounds(timeout_s: float) -> None:
    with pytest.raises(ValidationError):
        custom("a.b", timeout_s=timeout_s)


def test_a_label_tells_two_uses_of_a_function_apart() -> None:
    assert custom("my.f").label() == "custom my.f"
    assert custom("my.f", params={"n": 1}).label() == "custom my.f {'n': 1}"


# -- in processes of their own ------------------------------------------------------------------


def test_a_function_sees_the_trace_and_its_parameters(hosts: FunctionHosts) -> None:
    assert hosted(hosts, "refunded", params={"amount": 42.5}).passed
    assert not hosted(hosts, "refunded", params={"amount": 1}).passed
    whole = hosted(hosts, "whole")
    assert (whole.score, whole.passed, whole.details) == (0.5, True, "Trace Custom")
    assert hosted(hosts, "waits").score == 0.9


def test_it_runs_in_another_process_that_is_used_again_and_does_not_talk(
    hosts: FunctionHosts, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = hosted(hosts, "process"), hosted(hosts, "process")
    assert first.details == second.details != str(os.getpid())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", r"ValueError: no order in done \(checks.py, line \d+\)"),
        ("exits", r"SystemExit: 3 \(checks.py, line \d+\)"),
        ("vanishes", rf"{CHECKS}.vanishes ended its process without an answer \(exit code 3\)"),
        ("says_nothing", "answered with NoneType"),
        ("says_too_much", r"the answer has no \['pass'\]"),
        ("out_of_bounds", "the score is 7.5"),
        ("nowhere", "has no function nowhere"),
        ("NOT_A_FUNCTION", "is no function"),
    ],
)
def test_a_function_that_fails_is_a_finding_with_an_error_and_the_next_one_works(
    hosts: FunctionHosts, name: str, said: str
) -> None:
    finding = hosted(hosts, name)
    assert finding.error is not None
    assert re.search(said, finding.error), finding.error
    assert (finding.score, finding.passed) == (0.0, False)
    assert hosted(hosts, "whole").error is None


@pytest.mark.parametrize("name", ["hangs", "hangs_with_the_lock"])
def test_a_function_that_hangs_is_stopped(hosts: FunctionHosts, name: str) -> None:
    finding = hosted(hosts, name, timeout_s=0.2)
    assert finding.error == f"{CHECKS}.{name} took longer than 0.2 s and was stopped"
    assert hosted(hosts, "whole").error is None


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_with_a_function_ends_what_it_started(hosts: FunctionHosts, tmp_path: Path) -> None:
    note = tmp_path / "note"
    finding = hosted(hosts, "hangs_with_a_child", params={"note": str(note)}, timeout_s=2)
    assert finding.error is not None
    started = [int(pid) for pid in note.read_text().split()]
    # All were sent SIGKILL, and only the host itself is waited for: its child ends in the kernel's own time.
    wait_until(lambda: not any(map(is_running, started)), what="an end of what the function started")


def test_more_calls_than_hosts_wait_for_one(hosts: FunctionHosts) -> None:
    with ThreadPoolExecutor(6) as pool:
        findings = list(pool.map(lambda _: hosted(hosts, "process"), range(12)))
    assert all(finding.passed for finding in findings)
    assert len({finding.details for finding in findings}) <= 2


def test_a_call_does_not_wait_for_a_host_for_ever(
    hosts: FunctionHosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hosts = FunctionHosts(ImportGate(["*"]), hosts_max=0)
    monkeypatch.setattr(functions_module, "QUEUE_S_MAX", 0.01)
    assert hosted(hosts, "whole").error == "every host was busy for 0.01 s"


def test_an_import_that_hangs_is_stopped(
    hosts: FunctionHosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "slow_to_load.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(functions_module, "IMPORT_S_MAX", 1.0)
    made = FunctionHosts(ImportGate(["slow_to_load.*"]))
    (finding,) = evaluate(trace(), [custom("slow_to_load.check")], functions=made)
    assert finding.error == "importing the module of slow_to_load.check took longer than 1 s and was stopped"
    made.close()


def test_a_module_that_breaks_says_how_without_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "breaks.py").write_text("raise RuntimeError('no licence hunter2-correct-horse')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = FunctionHosts(ImportGate(["breaks.*", "gone.*"]))
    specs = [custom("breaks.check"), custom("gone.check")]
    redact = Redactor(["hunter2-correct-horse"]).document
    broken, gone = evaluate(trace(), specs, redact=redact, functions=made)
    made.close()
    assert broken.error is not None
    assert "could not be imported: RuntimeError: no licence [REDACTED] (breaks.py, line 1)" in broken.error
    assert gone.error is not None
    assert gone.error.startswith("there is no module gone for the function gone.check (It must be installed")


@pytest.mark.parametrize("patterns", [[], ["other.*"], [CHECKS], ["tests"]])
def test_what_is_not_allowed_is_refused_and_no_process_is_started(patterns: list[str]) -> None:
    made = FunctionHosts(ImportGate(patterns), hosts_max=0)
    finding = hosted(made, "whole")
    assert finding.error is not None
    assert finding.error.startswith(f"this worker does not allow the function {CHECKS}.whole")
    assert "SALVO_ALLOW_IMPORTS" in finding.error


def test_a_closed_pool_ends_what_runs_and_calls_nothing_more(hosts: FunctionHosts) -> None:
    results: list[Finding] = []
    caller = threading.Thread(target=lambda: results.append(hosted(hosts, "hangs", timeout_s=60)))
    assert hosted(hosts, "whole").error is None
    caller.start()
    while hosts._places.qsize() == 2:  # until the call has taken a host
        threading.Event().wait(0.01)
    hosts.close()
    caller.join(30)
    assert not caller.is_alive()
    assert results[0].error is not None
    assert hosted(hosts, "whole").error == "this worker is leaving"


def test_an_entry_point_stands_for_a_path_and_must_be_allowed_like_one(
    hosts: FunctionHosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "crew-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: crew\nVersion: 1\n")
    points = f"[salvo.assertions]\nour-whole = {CHECKS}:whole\nour-shell = os:system\n"
    (package / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    functions_module._entry_point.cache_clear()
    specs = [custom(name) for name in ("our-whole", "our-shell", "our-wohle")]
    known, refused, unknown = evaluate(trace(), specs, functions=hosts)
    functions_module._entry_point.cache_clear()
    assert known.passed
    assert refused.error is not None
    assert refused.error.startswith("this worker does not allow the function os.system")
    assert unknown.error is not None
    assert "our-shell, our-whole" in unknown.error
    with pytest.raises(UsageError):
        hosts.load("our-wohle")


def test_a_custom_assertion_travels_as_it_is() -> None:
    spec = custom("my.f", params={"a": [1, None, {"b": 0.5}]}, timeout_s=1)
    assert Custom.model_validate_json(spec.model_dump_json()) == spec
