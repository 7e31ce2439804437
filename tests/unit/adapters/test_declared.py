"""Agents that may spend behind our back: what their owners say one exchange takes at most."""

import pytest
from pydantic import ValidationError

from salvo_core.adapters.bounds import Declared
from salvo_core.adapters.profile import Profile
from salvo_core.manifest.budget import Budget, lack_of_bound
from tests.unit.adapters.wiring import registry

AGENT = Profile(adapter="http", base_url="http://agent.test/turn", turn_cost_usd_max=0.2)
WIRE = Profile(adapter="openai", base_url="http://model.test/v1")


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("openai", None),
        ("anthropic", None),
        ("scripted", None),
        ("wire", None),
        ("http", Declared()),
        ("agent", Declared(cost_usd_max=0.2)),
        ("my_pkg.Crew", Declared()),
    ],
)
def test_only_agents_that_may_spend_unseen_need_a_word_of_their_owner(name, declared):
    assert registry(profiles={"agent": AGENT, "wire": WIRE}).declared(name) == declared


USD, TOKENS = Budget(usd_max=1.0), Budget(tokens_max=1000)


@pytest.mark.parametrize(
    ("budget", "declared", "lack"),
    [
        (USD, None, ""),
        (USD, Declared(), "costs at most"),
        (TOKENS, Declared(cost_usd_max=0.2), "takes in tokens at most"),
        (Budget(usd_max=1.0, tokens_max=9), Declared(), "costs and takes in tokens at most"),
        (USD, Declared(cost_usd_max=0.2), ""),
        (TOKENS, Declared(tokens_max=10), ""),
        (Budget(usd_max=1.0, allow_unpriced=True), Declared(), ""),
    ],
    ids=["wire", "usd", "tokens", "both", "declared usd", "declared tokens", "allowed"],
)
def test_a_budget_is_kept_only_with_a_known_worst_case(budget, declared, lack):
    told = lack_of_bound(budget, "agent", declared)
    assert told.endswith(lack)
    assert bool(told) == bool(lack)


@pytest.mark.parametrize("adapter", ["openai", "anthropic"])
def test_where_the_request_bounds_an_exchange_nothing_is_declared(adapter):
    with pytest.raises(ValidationError, match="are for adapter http"):
        Profile(adapter=adapter, turn_tokens_max=5)
