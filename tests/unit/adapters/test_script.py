"""What a script says, to whom, and what it refuses to be."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from salvo_core.adapters.script import (
    FAULTS,
    LATENCY_S_MAX,
    FaultRates,
    LatencyForm,
    Lognormal,
    Script,
    ScriptedError,
    ScriptTurn,
    draw,
)
from salvo_core.trace.model import Usage

ROOT = Path(__file__).parents[3]
SAID = {"text": "done"}
CALL = {"tool_calls": [{"name": "lookup", "arguments": {"id": 1}}]}


KNOWN = (0.6522365694258032, 0.6530047747437429)
"""Computed once; a run that was started with one version must go on with the next."""


def texts(script: Script, trial: str | int, turns: int) -> list[str | None]:
    return [turn.text for turn in script.plan_for(trial)][:turns]


def located(document: Any) -> list[tuple[tuple[int | str, ...], str]]:
    with pytest.raises(ValidationError) as refused:
        Script.model_validate(document)
    return [(error["loc"], error["msg"]) for error in refused.value.errors()]


def binomial_tail(successes: int, n: int, p: float) -> float:
    """The chance of a count at least as far out as this one, on its own side; exact up to rounding."""

    def chance(k: int) -> float:
        ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))

    return min(math.fsum(map(chance, range(successes + 1))), math.fsum(map(chance, range(successes, n + 1))))


class TestDraw:
    def test_known_answers_never_change(self) -> None:
        assert draw(0, 0, 0, 0) == KNOWN[0]
        assert draw(7, "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111", 3, 1, "latency") == KNOWN[1]

    def test_another_process_draws_the_same(self) -> None:
        code = (
            "from salvo_core.adapters.script import draw; import json;"
            "print(json.dumps([draw(7, f't{i}', i % 5, i % 3, 'error') for i in range(50)]))"
        )
        printed = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert json.loads(printed) == [draw(7, f"t{i}", i % 5, i % 3, "error") for i in range(50)]

    @given(st.integers(), st.text(), st.integers(0), st.integers(0))
    def test_every_draw_is_in_the_unit_interval(self, seed: int, key: str, turn: int, exchange: int) -> None:
        assert 0 <= draw(seed, key, turn, exchange) < 1

    def test_each_argument_matters(self) -> None:
        drawn = {
            draw(1, "a", 1, 1, "x"), draw(2, "a", 1, 1, "x"), draw(1, "b", 1, 1, "x"),
            draw(1, "a", 2, 1, "x"), draw(1, "a", 1, 2, "x"), draw(1, "a", 1, 1, "y"),
        }  # fmt: skip
        assert len(drawn) == 6

    def test_a_number_and_its_text_are_one_trial(self) -> None:
        assert draw(1, 12, 0, 0) == draw(1, "12", 0, 0)


class TestPlan:
    def test_turns_are_played_in_order(self) -> None:
        script = Script.model_validate({"turns": [CALL, SAID]})
        first, second = script.next_step("t", 0), script.next_step("t", 1)
        assert isinstance(first.answer, ScriptTurn)
        assert first.answer.tool_calls[0].name == "lookup"
        assert isinstance(second.answer, ScriptTurn)
        assert second.answer.text == "done"

    def test_after_its_end_a_script_repeats_its_last_plain_text(self) -> None:
        script = Script.model_validate({"turns": [SAID, {"text": "calling", **CALL}]})
        assert script.next_step(0, 5).answer == ScriptTurn(text="done")

    def test_after_its_end_a_script_without_plain_text_says_nothing(self) -> None:
        assert Script.model_validate({"turns": [CALL]}).next_step(0, 1).answer == ScriptTurn(text="")

    def test_variants_take_their_shares(self) -> None:
        script = Script.model_validate(
            {
                "seed": 11,
                "turns": [{"text": "usual"}],
                "variants": [
                    {"weight": 0.15, "turns": [{"text": "a"}]},
                    {"weight": 0.05, "turns": [{"text": "b"}]},
                ],
            }
        )
        said = [texts(script, f"trial {k}", 1)[0] for k in range(2000)]
        for text, share in (("usual", 0.8), ("a", 0.15), ("b", 0.05)):
            assert binomial_tail(said.count(text), 2000, share) > 1e-4

    def test_weights_that_add_up_to_one_need_no_turns(self) -> None:
        tenths = [{"weight": 0.1, "turns": [{"text": str(k)}]} for k in range(10)]
        script = Script.model_validate({"variants": tenths})
        assert {texts(script, k, 1)[0] for k in range(300)} == {str(k) for k in range(10)}

    @pytest.mark.parametrize(
        "trials", [[[{"text": "zero"}], [{"text": "one"}]], {0: [{"text": "zero"}], 1: [{"text": "one"}]}]
    )
    def test_trials_come_as_a_list_or_by_number(self, trials: Any) -> None:
        script = Script.model_validate({"turns": [SAID], "trials": trials})
        assert [texts(script, k, 1) for k in (0, 1, 2, "1", "x")] == [
            ["zero"],
            ["one"],
            ["done"],
            ["one"],
            ["done"],
        ]

    def test_a_trial_that_nothing_is_written_for_gets_an_empty_answer(self) -> None:
        assert Script.model_validate({"trials": [[SAID]]}).next_step(9, 0).answer == ScriptTurn(text="")

    @given(st.text() | st.integers(0), st.integers(0, 9), st.integers(0, 9))
    def test_a_step_depends_on_its_arguments_only(self, trial: str | int, turn: int, exchange: int) -> None:
        document = {
            "turns": [CALL, SAID],
            "variants": [{"weight": 0.5, "turns": [SAID]}],
            "errors": {"transient": 0.3, "hang": 0.1},
            "latency_s": {"lognormal": {"median_s": 1, "sigma": 1}},
        }
        one, other = Script.model_validate(document), Script.model_validate(document)
        other.next_step("somebody else", 0)
        assert one.next_step(trial, turn, exchange) == other.next_step(trial, turn, exchange)

    def test_usage_comes_from_the_turn_then_the_script_then_nobody(self) -> None:
        own = {"text": "x", "usage": {"input_tokens": 1, "output_tokens": 2}}
        script = Script.model_validate(
            {"turns": [own, SAID], "usage": {"input_tokens": 8, "output_tokens": 9}}
        )
        assert script.next_step(0, 0).usage == Usage(input_tokens=1, output_tokens=2)
        assert script.next_step(0, 1).usage == Usage(input_tokens=8, output_tokens=9)
        assert Script.model_validate({"turns": [SAID]}).next_step(0, 0).usage is None


class TestErrors:
    def test_an_error_with_something_to_say_after_it_happens_once(self) -> None:
        script = Script.model_validate({"turns": [{"error": {"kind": "timeout"}, **SAID}]})
        assert isinstance(script.next_step(0, 0, 0).answer, ScriptedError)
        assert isinstance(script.next_step(0, 0, 1).answer, ScriptTurn)

    def test_an_error_alone_happens_every_time(self) -> None:
        script = Script.model_validate({"turns": [{"error": {"kind": "rate_limited"}}]})
        assert all(isinstance(script.next_step(0, 0, k).answer, ScriptedError) for k in range(10))

    def test_an_error_happens_as_often_as_it_says(self) -> None:
        script = Script.model_validate({"turns": [{"error": {"kind": "transient", "times": 3}, **SAID}]})
        failed = [isinstance(script.next_step(0, 0, k).answer, ScriptedError) for k in range(5)]
        assert failed == [True, True, True, False, False]

    def test_rates_are_kept_over_many_exchanges(self) -> None:
        script = Script.model_validate(
            {"turns": [SAID], "seed": 5, "errors": {"transient": 0.1, "hang": 0.02}}
        )
        answers = [script.next_step(f"t{k}", 0).answer for k in range(2000)]
        kinds = [answer.kind for answer in answers if isinstance(answer, ScriptedError)]
        assert binomial_tail(kinds.count("transient"), 2000, 0.1) > 1e-4
        assert binomial_tail(kinds.count("hang"), 2000, 0.02) > 1e-4

    def test_a_retry_is_drawn_anew(self) -> None:
        script = Script.model_validate({"turns": [SAID], "errors": {"transient": 0.5}})
        failed = [isinstance(script.next_step("t", 0, k).answer, ScriptedError) for k in range(40)]
        assert 0 < sum(failed) < 40

    def test_drawn_rate_limits_say_how_long_to_wait(self) -> None:
        drawn = FaultRates(rate_limited=1, retry_after_s=0.5).at(0.99)
        assert drawn is not None
        assert drawn.retry_after_s == 0.5

    def test_every_kind_has_a_rate_and_a_shape(self) -> None:
        assert set(FaultRates.model_fields) - {"retry_after_s"} == set(FAULTS)


class TestLatency:
    def test_a_number_is_a_fixed_latency(self) -> None:
        assert Script.model_validate({"turns": [SAID], "latency_s": 2}).next_step(0, 0).latency_s == 2

    def test_a_turns_own_latency_wins(self) -> None:
        script = Script.model_validate({"turns": [SAID | {"latency_s": 0}], "latency_s": 2})
        assert script.next_step(0, 0).latency_s == 0

    def test_half_of_a_lognormal_is_below_its_median(self) -> None:
        latency = LatencyForm(lognormal=Lognormal(median_s=0.8, sigma=0.5))
        assert latency.at(0.5) == pytest.approx(0.8)
        assert latency.at(0.95) == pytest.approx(0.8 * math.exp(0.5 * 1.6448536))

    @given(st.floats(0, 1, exclude_max=True), st.floats(0.001, 3600), st.floats(0, 5))
    def test_no_latency_is_endless_or_negative(self, u: float, median_s: float, sigma: float) -> None:
        latency = LatencyForm(lognormal=Lognormal(median_s=median_s, sigma=sigma))
        assert 0 <= latency.at(u) <= LATENCY_S_MAX

    @given(st.floats(0, 1, exclude_max=True))
    def test_a_uniform_latency_stays_within_its_bounds(self, u: float) -> None:
        for ends in ((0.1, 0.3), (0.3, 0.1)):
            assert 0.1 <= LatencyForm(uniform=ends).at(u) <= 0.3


class TestRefusals:
    @pytest.mark.parametrize(
        ("document", "where", "said"),
        [
            ({}, (), "needs turns, variants or trials"),
            ({"turns": [{}]}, ("turns", 0), "needs text, tool_calls or error"),
            ({"turns": [SAID], "tunrs": []}, ("tunrs",), "Extra inputs"),
            ({"turns": [CALL, {"text": "a", "finish": "stop"}]}, ("turns", 1, "finish"), "Extra inputs"),
            ({"turns": [{"error": {"kind": "odd"}}]}, ("turns", 0, "error", "kind"), "'rate_limited'"),
            ({"turns": [{"error": {"kind": "transient", "times": 2}}]}, ("turns", 0), "what comes back"),
            (
                {"turns": [{"error": {"kind": "reset", "status": 500}}]},
                ("turns", 0, "error", "status"),
                "no status",
            ),
            (
                {"turns": [{"error": {"kind": "permanent", "status": 503}}]},
                ("turns", 0, "error", "status"),
                "for transient",
            ),
            ({"turns": [SAID], "errors": {"rate_limted": 0.1}}, ("errors", "rate_limted"), "Extra inputs"),
            ({"turns": [SAID], "errors": {"hang": 0.6, "reset": 0.6}}, ("errors",), "more than 1"),
            ({"turns": [SAID], "latency_s": -1}, ("latency_s", "fixed"), "greater than or equal to 0"),
            ({"turns": [SAID], "latency_s": {"uniform": [2, -1]}}, ("latency_s", "uniform", 1), "equal to 0"),
            ({"turns": [SAID], "latency_s": {}}, ("latency_s",), "exactly one"),
            ({"turns": [SAID], "latency_s": {"fixed": 1, "uniform": [1, 2]}}, ("latency_s",), "exactly one"),
            ({"variants": [{"weight": 0.2, "turns": [SAID]}]}, ("variants",), "add up to 0.2"),
            ({"variants": [{"weight": 0.7, "turns": [SAID]}] * 2}, ("variants",), "add up to 1.4"),
            ({"variants": [{"weight": 1, "turns": []}]}, ("variants", 0, "turns"), "at least one turn"),
            ({"trials": {-1: [SAID]}}, ("trials", -1, "[key]"), "greater than or equal to 0"),
            ({"trials": [[SAID], [{"text": 5}]]}, ("trials", 1, 0, "text"), "valid string"),
            (
                {"turns": [{"tool_calls": [{"name": "a", "arguments": {"x": 1}, "malformed": "{"}]}]},
                ("turns", 0, "tool_calls", 0, "malformed"),
                "not both",
            ),
        ],
    )
    def test_a_mistake_is_found_where_it_is(
        self, document: Any, where: tuple[int | str, ...], said: str
    ) -> None:
        ((location, message),) = located(document)
        assert location == where
        assert said in message

    def test_numbers_that_json_cannot_hold_are_refused(self) -> None:
        document = {"turns": [{"tool_calls": [{"name": "a", "arguments": {"x": float("nan")}}]}]}
        assert located(document)[0][0][:6] == ("turns", 0, "tool_calls", 0, "arguments", "x")

    def test_a_script_survives_a_round_trip_through_json(self) -> None:
        document = {
            "turns": [CALL, {"error": {"kind": "transient", "status": 502}, **SAID}],
            "variants": [{"weight": 0.1, "turns": [SAID]}],
            "trials": [[SAID]],
            "latency_s": {"uniform": [0.1, 0.2]},
            "errors": {"hang": 0.1},
        }
        script = Script.model_validate(document)
        script.next_step(0, 0)
        assert Script.model_validate_json(script.model_dump_json(exclude_unset=True)) == script
