"""Tokens, read from the ``usage`` object of any provider's answer."""

from __future__ import annotations

from typing import Any

from salvo_core.trace.model import Usage


def read_usage(document: object) -> Usage:
    """Return the tokens that an answer, or an error, says it was billed for; zeros when it does not say.

    Anthropic counts what it wrote to and read from its prompt cache beside
    ``input_tokens``; OpenAI counts cached tokens within ``prompt_tokens``. Both come
    out here as everything that went in.

    Args:
        document: The parsed body, whatever it is; ``usage`` is looked for at its top.

    Source:
        OpenAI API reference, "The chat completion object" (usage); Anthropic API
        reference, "Messages" (usage) and "Prompt caching" (total input tokens).
    """
    usage = document.get("usage") if isinstance(document, dict) else None
    if not isinstance(usage, dict):
        return Usage()
    if "prompt_tokens" in usage or "completion_tokens" in usage:
        return Usage(
            input_tokens=_count(usage.get("prompt_tokens")),
            output_tokens=_count(usage.get("completion_tokens")),
        )
    billed_input = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return Usage(
        input_tokens=sum(_count(usage.get(key)) for key in billed_input),
        output_tokens=_count(usage.get("output_tokens")),
    )


def _count(value: Any) -> int:
    """A provider that sends null, text or a negative count has not said anything we can add up."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
