"""``python -m tests.chaos --seed S --minutes M``: faults on purpose, and a table of what came of it."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from tests.chaos.campaign import campaign


def main() -> int:
    """Run one campaign; 0 when every promise was kept, 1 with the broken one otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--minutes", type=float, default=3.0)
    asked = parser.parse_args()
    outcome = asyncio.run(campaign(asked.seed, asked.minutes, lambda text: print(text, flush=True)))
    print(outcome.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
