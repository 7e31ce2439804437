"""``python -m tests.chaos --seed S --minutes M``: faults on purpose, and a table of what came of it."""

from __future__ import annotations

import argparse
import asyncio
import functools
import secrets
import sys

from tests.chaos.campaign import campaign
from tests.chaos.faults import FAULTS


def main() -> int:
    """Run one campaign; 0 when every promise was kept, 1 with the broken one otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--minutes", type=float, default=3.0)
    names = [fault.name for fault in FAULTS]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="FAULT", help=f"one of: {', '.join(names)}"
    )
    asked = parser.parse_args()
    faults = [fault for fault in FAULTS if fault.name in (asked.only or names)]
    told = functools.partial(print, flush=True)
    outcome = asyncio.run(campaign(asked.seed, asked.minutes, told, faults=faults))
    print(outcome.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
