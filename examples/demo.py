"""What `make demo` does: the examples, many times each, against a pretend provider over real HTTP.

Starts `salvo simulate` on a free port and `salvo run examples` beside it, in the embedded mode.
Nothing leaves this machine, and nothing costs anything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SALVO = Path(sys.executable).with_name("salvo")
TRIALS = 15


def main() -> int:
    """Run the demo; return 0 when every trial ended, whatever the verdicts."""
    # Whatever fleet this shell is set up for, the demo stays on this machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SALVO_")}
    print(
        f"$ salvo simulate --script examples/providers/demo.yaml &\n$ salvo run examples -n {TRIALS}\n",
        flush=True,
    )
    with subprocess.Popen(
        [SALVO, "simulate", "--port", "0", "--script", "examples/providers/demo.yaml"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for the run; the provider is stopped below
    ) as provider:
        try:
            # It says where it is in lines that a shell could evaluate: export NAME=address.
            for line in (provider.stdout.readline(), provider.stdout.readline()):
                name, _, address = line.removeprefix("export ").strip().partition("=")
                environment[name] = address
            run = subprocess.run(
                [SALVO, "run", "examples", "-n", str(TRIALS)], cwd=ROOT, env=environment, check=False
            )
        finally:
            provider.send_signal(signal.SIGTERM)
    verdict_codes = {0: "PASS", 1: "FAIL or PARTIAL", 2: "HARD FAIL"}
    if run.returncode not in verdict_codes:
        return run.returncode
    meaning = verdict_codes[run.returncode]
    print(f"\nThe exit code was {run.returncode} ({meaning}): one of the four agents is flaky on purpose.")
    print("The commands above work from this folder, after:  . .venv/bin/activate")
    return 0


if __name__ == "__main__":
    sys.exit(main())
