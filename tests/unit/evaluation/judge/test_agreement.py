"""How much votes agree: known answers, and what holds for any counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.evaluation.judge.agreement import agreement


def test_alpha_is_the_one_of_the_textbook():
    # Krippendorff 2011, section A: two observers, ten units, binary; 1 1, 0 1 etc. in (votes, ones).
    first = (0, 1, 0, 0, 0, 0, 0, 0, 1, 0)
    second = (1, 1, 1, 0, 0, 1, 0, 0, 0, 0)
    counts = {}
    for pair in zip(first, second, strict=True):
        counts[2, sum(pair)] = counts.get((2, sum(pair)), 0) + 1
    found = agreement(counts)
    assert found.alpha == pytest.approx(0.095, abs=0.0005)
    assert (found.units, found.unanimous, found.unanimous_share) == (10, 6, 0.6)


@pytest.mark.parametrize(
    ("counts", "alpha", "share"),
    [
        ({(3, 3): 4, (3, 0): 2}, 1.0, 1.0),
        ({(2, 1): 10}, -0.9, 0.0),  # every pair differs: worse than chance
        ({(3, 3): 5}, None, 1.0),  # nothing to tell from chance
        ({}, None, None),
        ({(1, 1): 3, (0, 0): 2}, None, None),  # a single vote agrees with nobody
        ({(1, 0): 9, (3, 3): 1, (3, 0): 1}, 1.0, 1.0),
        ({(3, 2): 1, (3, 1): 1}, -1 / 9, 0.0),
    ],
)
def test_alpha_and_share_of_small_cases(counts, alpha, share):
    found = agreement(counts)
    assert found.unanimous_share == share
    assert found.alpha == (None if alpha is None else pytest.approx(alpha))


COUNTS = st.dictionaries(
    st.integers(0, 21).flatmap(lambda heard: st.tuples(st.just(heard), st.integers(0, heard))),
    st.integers(0, 50),
)


@given(COUNTS)
def test_for_and_against_may_change_places(counts):
    turned = {(heard, heard - favour): times for (heard, favour), times in counts.items()}
    assert agreement(turned).alpha == pytest.approx(agreement(counts).alpha)


@given(COUNTS)
def test_alpha_is_1_exactly_when_all_units_are_unanimous(counts):
    found = agreement(counts)
    assert 0 <= found.unanimous <= found.units
    if found.alpha is not None:
        assert found.alpha <= 1 + 1e-12
        assert (found.alpha == 1) == (found.unanimous == found.units)


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="3 of 2"):
        agreement({(2, 3): 1})
