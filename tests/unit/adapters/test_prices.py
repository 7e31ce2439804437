"""What tokens cost."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from salvo_core.adapters.prices import ModelRates, PriceTable, rounded_usd
from salvo_core.trace.model import Usage

USAGE = Usage(input_tokens=1000, output_tokens=500)


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-4o", 0.0075),
        ("gpt-4o-mini", 0.00045),
        ("claude-sonnet-4-5", 0.0105),
        ("claude-sonnet-4-5-20250929", 0.0105),
        ("claude-haiku-4-5", 0.0035),
        ("claude-haiku-4-5-20251001", 0.0035),
    ],
)
def test_t21_known_models_have_their_known_price(model: str, usd: float) -> None:
    provider_id = "openai" if model.startswith("gpt") else "anthropic"
    for table in (PriceTable(provider_id=provider_id), PriceTable()):
        assert rounded_usd(table.price_usd(model, USAGE)) == usd
        assert table.price_usd(model, Usage()) == 0.0


@pytest.mark.parametrize(
    "model",
    [
        "",
        "zzz",
        "gpt-99",
        "gpt-4o-nonsense",
        "my-gpt-4o",
        "claude-haiku-4-5-turbo",
        "claude-sonnet-4-5-20250929-experimental",
        "sim/refund-desk",
        "scripted",
        "1" * 10_000 + "x",
        "gpt-" + "-2024" * 5_000,
    ],
)
def test_t21_a_name_that_merely_resembles_one_has_no_price(model: str) -> None:
    for provider_id in ("openai", "anthropic", None):
        assert PriceTable(provider_id=provider_id).price_usd(model, USAGE) is None


def test_a_provider_has_no_price_for_another_providers_model() -> None:
    assert PriceTable(provider_id="openai").price_usd("claude-sonnet-4-5", USAGE) is None
    assert PriceTable(provider_id="anthropic").price_usd("gpt-4o", USAGE) is None
    assert PriceTable(provider_id="nobody").price_usd("gpt-4o", USAGE) is None


def test_a_known_host_brings_its_own_price_list() -> None:
    router = PriceTable(provider_id="openai", base_url="https://openrouter.ai/api/v1")
    assert router.price_usd("openai/gpt-4o", USAGE) == pytest.approx(0.0075)
    assert router.price_usd("gpt-4o", USAGE) is None
    gateway = PriceTable(provider_id="openai", base_url="http://10.0.0.7:8000/v1")
    assert gateway.price_usd("gpt-4o", USAGE) == pytest.approx(0.0075)


def test_a_models_dearer_tier_holds_for_the_exchange_that_reaches_it() -> None:
    table = PriceTable(provider_id="anthropic")
    below = table.price_usd("claude-sonnet-4-5", Usage(input_tokens=200_000))
    above = table.price_usd("claude-sonnet-4-5", Usage(input_tokens=200_001))
    assert below == pytest.approx(0.6)
    assert above == pytest.approx(1.200006)


def test_a_price_of_the_projects_own_goes_first_and_may_be_zero() -> None:
    own = {
        "gpt-4o": ModelRates(input_usd_per_mtok=1, output_usd_per_mtok=2),
        "sim/refund-desk": ModelRates(input_usd_per_mtok=0, output_usd_per_mtok=0),
    }
    table = PriceTable(own, provider_id="openai")
    assert table.price_usd("gpt-4o", USAGE) == pytest.approx(0.002)
    assert table.price_usd("sim/refund-desk", USAGE) == 0.0
    assert table.price_usd("gpt-4o-mini", USAGE) == pytest.approx(0.00045)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_rate_is_a_finite_amount(rate: float) -> None:
    with pytest.raises(ValidationError):
        ModelRates(input_usd_per_mtok=rate, output_usd_per_mtok=1)


@given(st.integers(0, 100_000), st.integers(0, 100_000), st.integers(0, 100_000))
def test_turns_priced_one_by_one_add_up_to_the_price_of_their_sum(a: int, b: int, output: int) -> None:
    table = PriceTable(provider_id="openai")
    parts = [Usage(input_tokens=a, output_tokens=output), Usage(input_tokens=b)]
    prices = [table.price_usd("gpt-4o", part) or 0.0 for part in parts]
    assert sum(prices) == pytest.approx(table.price_usd("gpt-4o", parts[0] + parts[1]) or 0.0)
    assert all(price >= 0 for price in prices)


def test_rounding_happens_once_and_leaves_the_unknown_alone() -> None:
    assert rounded_usd(None) is None
    assert (
        rounded_usd(PriceTable(provider_id="openai").price_usd("gpt-4o-mini", Usage(input_tokens=1))) == 0.0
    )
    assert rounded_usd(PriceTable(provider_id="openai").price_usd("gpt-4o", Usage(input_tokens=1))) == 2e-06


def test_the_price_table_is_not_loaded_before_a_price_is_asked_for() -> None:
    code = "import sys, salvo_core.adapters.prices; sys.exit('genai_prices' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
