"""Notices that the broker was restarted, and makes the consumer start over.

When Redis dies while every slot waits to acknowledge, each failed acknowledgement keeps its
prefetch slot: with none left the consumer never polls again, and so never sees that its
connection is dead. Comparing the server's run id every few seconds does see it.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps

CHECK_EVERY_S = 2.0


class BrokerWatchdog(bootsteps.StartStopStep):  # type: ignore[misc]
    """Part of every consumer; raises ConnectionError on the hub when Redis is another process."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Begin to look, on the hub's own thread."""
        first_seen: list[str] = []

        def check() -> None:
            with consumer.task_consumer.channel.conn_or_acquire() as client:
                run_id = client.info("server")["run_id"]
            if not first_seen:
                first_seen.append(run_id)
            elif run_id != first_seen[0]:
                raise ConnectionError("the broker was restarted; the consumer starts over")

        hub.call_repeatedly(CHECK_EVERY_S, check)
