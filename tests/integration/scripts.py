"""What is asked of agents in these tests, and what the pretend provider makes them say."""

from __future__ import annotations

from typing import Any

_LOOKUP = {"name": "lookup_order", "arguments": {"order_id": "A-1001"}}
_REFUND = {"name": "issue_refund", "arguments": {"amount_usd": 42.5}}

TURNS = 3
"""Of every conversation that goes well: two tool calls, then the answer."""

GOOD_TURNS: list[dict[str, Any]] = [
    {"tool_calls": [_LOOKUP]},
    {"text": "Issuing it.", "tool_calls": [_REFUND]},
    {"text": "Your refund of $42.50 is on its way."},
]


def script(latency_s: float = 0.0, **fields: Any) -> dict[str, Any]:
    """Return a script whose conversations go well, each exchange taking latency_s seconds."""
    usage = {"input_tokens": 100, "output_tokens": 20}
    return {"turns": GOOD_TURNS, "latency_s": latency_s, "usage": usage} | fields


def failing(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a script whose second turn fails with that kind of fault, always unless fields say otherwise."""
    return {"turns": [GOOD_TURNS[0], {"error": {"kind": kind} | fields}]}


def scenario(model: str = "gpt-4o-mini", **fields: Any) -> dict[str, Any]:
    """Return a refund scenario that every conversation of ``script`` passes."""
    order = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    return {
        "description": f"refund desk, {model}",
        "model": model,
        "prompt": "Refund order A-1001.",
        "tools": [
            {
                "name": "lookup_order",
                "description": "Look an order up.",
                "parameters": order,
                "mock_response": {"status": "ok"},
            },
            {"name": "issue_refund", "description": "Pay it back.", "mock_response": {"refunded": True}},
        ],
        "assertions": [
            {"type": "tool_sequence", "sequence": ["lookup_order", "issue_refund"]},
            {"type": "output_contains", "value": "refund"},
        ],
    } | fields
