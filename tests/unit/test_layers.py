"""Where the CPU of a trial went, from the stacks that were seen."""

import pytest

from benchmarks.layers import LAYERS, by_layer, layer_of, stacks, top

POOL = "_run_loop (salvo_worker/pool.py:120);run (asyncio/runners.py:118)"


@pytest.mark.parametrize(
    ("stack", "layer"),
    [
        (POOL, "Python: event loop, JSON, threads"),
        (f"{POOL};send (salvo_worker/stalls.py:80);ask (salvo_core/trial/conversation.py:9)", "the trial"),
        (f"{POOL};post (salvo_core/adapters/line.py:9);dumps (json/__init__.py:3)", "HTTP to the provider"),
        (f"{POOL};x (/somewhere/site-packages/aiohttp/client.py:5)", "HTTP to the provider"),
        (f"{POOL};commit (salvo_core/manifest/live.py:7);x (redis/client.py:5)", "Redis client"),
        (f"{POOL};finish (salvo_core/evaluation/grading.py:5)", "evaluation, redaction, store"),
        ("main (salvo_worker/main.py:9);poll (kombu/utils/eventio.py:6)", "Celery, kombu and the pool"),
        ("run (threading.py:900)", "Python: event loop, JSON, threads"),
    ],
)
def test_a_sample_belongs_to_the_innermost_layer(stack, layer):
    assert layer_of(tuple(stack.split(";"))) == layer


def test_shares_come_to_one_and_functions_are_told_by_how_often_they_were_last():
    seen = stacks(f"{POOL};post (aiohttp/client.py:1) 3\n{POOL};post (aiohttp/client.py:2) 1\n{POOL} 4")
    shares = by_layer(seen)
    assert list(shares) == [name for name, _ in LAYERS]
    assert (shares["HTTP to the provider"], sum(shares.values())) == (0.5, 1)
    assert top(seen, 2) == [("post in aiohttp/client.py", 0.5), ("run in asyncio/runners.py", 0.5)]
