"""The fixtures of the manifest's contract: on Valkey, then on Redis."""

import pytest

from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from tests.contracts.manifest_runs import Run, check_counters


@pytest.fixture
async def manifest(redis_flavour):
    made = Manifest(connect(redis_flavour), redis_flavour)
    yield made
    await made.aclose()


@pytest.fixture
async def run(manifest):
    """A run of four trials in two cells, seeded and released; checked again when its test is over."""
    made = await Run(manifest).ready()
    yield made
    await check_counters(made)
