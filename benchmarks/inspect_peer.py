"""The conversation of ``four_turns.yaml`` as an Inspect AI task; runs in Inspect's own environment.

``python inspect_peer.py BASE_URL TRIALS CONCURRENCY LOGS``: the same four turns, three tool calls and three
checks of every trial, against the same provider. It prints nothing: its CPU is what is looked at.
"""

from __future__ import annotations

import os
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import generate, system_message, use_tools
from inspect_ai.tool import tool


@tool
def lookup_order():
    """Return the first tool."""

    async def execute(order_id: str) -> str:
        """Looks an order up.

        Args:
            order_id: The order.
        """
        return '{"ok": true}'

    return execute


@tool
def check_refund_policy():
    """Return the second tool."""

    async def execute(order_id: str, reason: str) -> str:
        """Says what may be refunded.

        Args:
            order_id: The order.
            reason: Why.
        """
        return '{"ok": true}'

    return execute


@tool
def issue_refund():
    """Return the third tool."""

    async def execute(order_id: str, amount_usd: float) -> str:
        """Pays back.

        Args:
            order_id: The order.
            amount_usd: How much.
        """
        return '{"ok": true}'

    return execute


@scorer(metrics=[accuracy()])
def three_checks():
    """Return a scorer of the three assertions."""

    async def score(state, target):
        called = [
            call.function for message in state.messages for call in getattr(message, "tool_calls", None) or []
        ]
        turns = sum(message.role == "assistant" for message in state.messages)
        expected = ["lookup_order", "check_refund_policy", "issue_refund"]
        passed = called == expected and "42.50" in state.output.completion and turns == 4
        return Score(value=1.0 if passed else 0.0)

    return score


def main() -> None:
    """Run the trials; end with an error unless all of them passed."""
    base_url, trials, concurrency, logs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    os.environ["OPENAI_BASE_URL"] = base_url
    os.environ["OPENAI_API_KEY"] = "sk-bench-not-a-key-0123456789"
    task = Task(
        dataset=[Sample(input="Please pay back order A-1001.", id=f"t{n}") for n in range(trials)],
        solver=[
            system_message("You work at a refund desk."),
            use_tools(lookup_order(), check_refund_policy(), issue_refund()),
            generate(),
        ],
        scorer=three_checks(),
    )
    [log] = eval(
        task,
        model="openai/four-turns",
        model_args={"responses_api": False},
        max_connections=concurrency,
        max_samples=concurrency,
        log_dir=logs,
        display="none",
    )
    mean = log.results.scores[0].metrics["accuracy"].value if log.results else None
    if log.status != "success" or mean != 1.0:
        raise SystemExit(f"inspect: {log.status}, accuracy {mean}: {log.error}")


main()
