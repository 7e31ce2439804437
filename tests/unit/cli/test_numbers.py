"""Numbers for people."""

from datetime import UTC, datetime

import pytest

from salvo_cli.render.numbers import ago, moment, percent, plural, seconds, short, spent, tokens, usd


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unknown"),
        (0, "$0"),
        (0.00042, "$0.00042"),
        (0.5, "$0.5000"),
        (12.3456, "$12.35"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money_has_as_many_decimals_as_its_size_deserves(amount, shown):
    assert usd(amount) == shown


def test_an_unknown_cost_is_never_shown_as_nothing():
    assert spent(0, 3) == "unknown"
    assert spent(None, 3) == "unknown"
    assert spent(0.5, 3) == "$0.5000+?"
    assert spent(0, 0) == "$0"


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [
        (None, "-"),
        (0, "0.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (99.96, "1m 40s"),
        (3599.7, "1h 00m"),
        (7500, "2h 05m"),
    ],
)
def test_durations_change_units_without_gaps(duration_s, shown):
    assert seconds(duration_s) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0%"), (0.001, "1%"), (0.996, "99%"), (1, "100%"), (0.5, "50%")]
)
def test_a_share_never_rounds_a_miss_away(share, shown):
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(None, "-"), (812, "812"), (9204.4, "9,204"), (123_456, "123k"), (4_500_000, "4.5M")]
)
def test_tokens_grow_shorter_as_they_grow_more(count, shown):
    assert tokens(count) == shown


def test_counts_ages_and_names_read_well():
    assert (plural(1, "trial"), plural(1200, "trial")) == ("1 trial", "1,200 trials")
    assert (ago(0, 59_000), ago(0, 3_600_000), ago(5_000, 0)) == ("59s ago", "1h ago", "0s ago")
    assert moment(datetime(2026, 11, 22, 9, 5, tzinfo=UTC)) == "2026-11-22 09:05:00Z"
    assert short("0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111") == "0199c2f4-7b1e-7c3a"
