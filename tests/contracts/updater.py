"""A process of its own that moves many trials of one run; started by ``test_manifest_failures``.

Usage: python -m tests.contracts.updater URL RUN_ID FIRST COUNT
"""

import asyncio
import sys

from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from tests.contracts.manifest_runs import Run, turn


async def main(url, run_id, first, count):
    manifest = Manifest(connect(url), url)
    run = Run(manifest, run_id)
    for index in range(first, first + count):
        claim = await run.claimed(index, f"w{first}")
        assert await manifest.journal(claim, turn(0))
        assert (await run.commit(claim, "passed" if index % 2 else "failed")).won
    await manifest.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
