"""``python -m tests.differential install`` or ``compare [--seed S] [--count N]``."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.differential.arena import Arena
from tests.differential.cases import generated, priced_scripts
from tests.differential.deliberate import corrected
from tests.differential.observed import differences
from tests.differential.predecessor import install_predecessor
from tests.servers.cache import CannotInstall


def compare(seed: int, count: int) -> int:
    """Run generated cases through both and print every difference that is not deliberate."""
    cases = list(generated(seed, count))
    started = time.monotonic()
    with Arena(install_predecessor(), priced_scripts(random.Random(seed)), cases) as arena:
        results = arena.run()
    unequal = changed = 0
    for case in cases:
        old, new = results[case.name]
        want, reasons = corrected(case, old)
        changed += bool(reasons)
        if found := differences(want, new):
            unequal += 1
            print(f"{case.name}: {'; '.join(found)}\n  {case.scenario}\n  {case.script}\n  {case.options}")
            print(f"  predecessor {old.outline}, we {new.outline}")
    trials, took_s = sum(case.trials for case in cases), time.monotonic() - started
    print(
        f"{len(cases)} scenarios, {trials} trials in {took_s:.0f} s: {len(cases) - unequal} come to the same "
        f"({changed} of them by a rule of deliberate.py), {unequal} differ"
    )
    return 1 if unequal else 0


def main() -> int:
    """Do what the arguments say. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install the predecessor into the tests' cache")
    comparing = commands.add_parser("compare", help="run generated scenarios through both")
    comparing.add_argument("--seed", type=int, default=1)
    comparing.add_argument("--count", type=int, default=72)
    asked = parser.parse_args()
    try:
        if asked.command == "compare":
            return compare(asked.seed, asked.count)
        print(install_predecessor())
    except CannotInstall as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
