"""What an exchange can cost at worst."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.adapters.bounds import OUTPUT_TOKENS_DEFAULT, worst_usage
from salvo_core.adapters.gate import Asking
from salvo_core.adapters.protocol import ToolSpec, TurnConfig
from salvo_core.trace.model import Message


def asking(text="hello", tools=None, **config):
    messages = [Message(role="user", content=text)]
    return Asking("openai", messages, tools, TurnConfig(model="m", **config), lambda model, usage: 0.0)


@given(st.text(max_size=300))
def test_no_text_has_more_tokens_than_bytes_and_every_byte_is_counted(text):
    clean = text.encode("utf-8", "ignore").decode()
    assert worst_usage(asking(clean), output_tokens_max=1).input_tokens >= len(clean.encode())


def test_tools_and_extras_are_sent_too():
    tool = ToolSpec("look_up", "Looks. " * 50, {"type": "object", "properties": {"x" * 200: {}}})
    plain = worst_usage(asking(), output_tokens_max=1).input_tokens
    assert worst_usage(asking(tools=[tool]), output_tokens_max=1).input_tokens >= plain + 550
    assert worst_usage(asking(extras={"note": "n" * 400}), output_tokens_max=1).input_tokens >= plain + 400


@pytest.mark.parametrize(
    ("config", "known", "most"),
    [
        ({"extras": {"max_tokens": 500}}, 128_000, 500),
        ({"extras": {"max_completion_tokens": 700}, "max_tokens": 10}, 128_000, 700),
        ({"extras": {"max_tokens": 500, "max_completion_tokens": 700}}, None, 700),
        ({"max_tokens": 300}, 128_000, 300),
        ({}, 128_000, 128_000),
        ({}, None, OUTPUT_TOKENS_DEFAULT),
        ({"extras": {"max_tokens": 500, "n": 4}}, None, 2000),
        ({"extras": {"max_tokens": True, "n": "many"}}, 1000, 1000),
        ({"extras": {"max_tokens": -5}}, 1000, 1000),
    ],
)
def test_output_is_bounded_by_what_is_sent_else_by_what_is_known(config, known, most):
    assert worst_usage(asking(**config), output_tokens_max=known).output_tokens == most
