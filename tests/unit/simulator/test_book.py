"""Which script a model's name chooses, and the rate limit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from salvo_cli.simulator.book import RateLimit, ScriptBook
from salvo_cli.simulator.rate_limit import TokenBucket

SAID = {"turns": [{"text": "hi"}]}
DEMO = Path(__file__).parents[3] / "examples" / "providers" / "demo.yaml"


def chosen(book: ScriptBook, model: str) -> str | None:
    found = book.find(model)
    return found and found[0]


def test_a_script_answers_to_its_name_and_to_its_name_after_a_slash() -> None:
    book = ScriptBook.read({"scripts": {"refund": SAID, "org/odd": SAID}})
    assert chosen(book, "refund") == chosen(book, "sim/refund") == "refund"
    assert chosen(book, "org/odd") == chosen(book, "sim/org/odd") == "org/odd"


def test_a_name_that_no_script_has_gets_the_default_or_nothing() -> None:
    assert chosen(ScriptBook.read({"scripts": {"a": SAID}, "default": "a"}), "gpt-4o") == "a"
    assert chosen(ScriptBook.read({"scripts": {"a": SAID}}), "gpt-4o") is None
    assert chosen(ScriptBook.read({"scripts": {"": SAID}}), "gpt-4o") == ""


def test_a_file_with_one_script_answers_to_every_model() -> None:
    assert chosen(ScriptBook.read(SAID), "anything") == "default"


@pytest.mark.parametrize(
    ("document", "where", "said"),
    [
        (SAID | {"lateny_s": 1}, ("lateny_s",), "Extra inputs"),
        ({"scripts": {"a": {"turns": [{}]}}}, ("scripts", "a", "turns", 0), "needs text"),
        ({"scripts": {"refund": SAID}, "default": "refnd"}, ("default",), "did you mean 'refund'"),
        ({"scripts": {}}, ("scripts",), "at least 1"),
        (
            {"scripts": {"a": SAID}, "rate_limit": {"requests_per_minute": 0}},
            ("rate_limit", "requests_per_minute"),
            "",
        ),
        ([], (), "valid dictionary"),
        (None, (), "valid dictionary"),
    ],
)
def test_a_mistake_in_a_book_is_found_where_it_is(document: Any, where: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ScriptBook.read(document)
    (error,) = refused.value.errors()
    assert error["loc"] == where
    assert said in error["msg"]


def test_the_demo_has_the_four_agents_and_their_shares_of_good_trials() -> None:
    book = ScriptBook.read(yaml.safe_load(DEMO.read_text(encoding="utf-8")))
    bad = {"refund-desk": 0.03, "coding-agent": 0.10, "travel-booking": 0.05, "flaky": 0.30}
    good_variants = {"refund-desk": 0.25}
    for name, share in bad.items():
        found = book.find(f"sim/{name}")
        assert found is not None
        total = sum(variant.weight for variant in found[1].variants)
        assert total - good_variants.get(name, 0) == pytest.approx(share)


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a bucket never sleeps")


def test_a_bucket_gives_its_burst_and_then_says_when_the_next_is_there() -> None:
    clock = SetClock()
    bucket = TokenBucket(RateLimit(requests_per_minute=60, burst=3), clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() == pytest.approx(1)
    clock.at_s = 0.4
    assert bucket.take() == pytest.approx(0.6)
    clock.at_s = 1.01
    assert bucket.take() == 0


def test_a_quiet_hour_fills_a_bucket_no_higher_than_its_burst() -> None:
    clock = SetClock()
    bucket = TokenBucket(RateLimit(requests_per_minute=60, burst=2), clock)
    clock.at_s = 3600
    assert [bucket.take() > 0 for _ in range(3)] == [False, False, True]
