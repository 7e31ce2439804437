"""The baseline: a bare httpx loop that makes the four calls of a trial, and nothing else.

``python -m benchmarks.bare BASE_URL TRIALS CONCURRENCY`` prints the CPU of one trial, milliseconds, and how
long they all took, seconds. A client
per slot, because one client with a pool of a hundred connections costs twenty times as much; no journal,
no trace, no assertion, no record that it ever happened.
"""

from __future__ import annotations

import asyncio
import sys
import time

import httpx


async def bare(base_url: str, trials: int, concurrency: int) -> None:
    """Make the calls that the scenario's trials make, and nothing else."""
    context = httpx.create_ssl_context()
    left = iter(range(trials))

    async def slot() -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        async with httpx.AsyncClient(verify=context, limits=limits) as client:
            for _ in left:
                await bare_trial(client, base_url)

    await asyncio.gather(*(slot() for _ in range(concurrency)))


async def bare_trial(client: httpx.AsyncClient, base_url: str) -> None:
    """Hold one conversation of four turns."""
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "You work at a refund desk."},
        {"role": "user", "content": "Please pay back order A-1001."},
    ]
    while True:
        body = {"model": "four-turns", "messages": messages}
        reply = (await client.post(f"{base_url}/chat/completions", json=body)).json()["choices"][0]["message"]
        messages.append(reply)
        if not reply.get("tool_calls"):
            return
        for call in reply["tool_calls"]:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": '{"ok": true}'})


def main() -> None:
    """Warm up, measure, print."""
    base_url, trials, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(bare(base_url, concurrency, concurrency))
    began_s, cpu_s = time.perf_counter(), time.process_time()
    asyncio.run(bare(base_url, trials, concurrency))
    print((time.process_time() - cpu_s) / trials * 1000, time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
