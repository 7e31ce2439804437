"""What a measurement stands on: a Redis, a store, a simulated provider, worker processes; all its own.

Everything listens on loopback or a unix socket, lives in a temporary folder, and ends with the
measurement. CPU is user and system time of one process as the operating system accounts it, read
before and after; that is the figure that survives a busy machine. Seconds on the wall are only
worth reading on a quiet one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from salvo_core.fleet.registry import WORKERS
from salvo_core.manifest import keys
from salvo_core.manifest.counters import read_counts
from tests.servers.minio import MinioServer
from tests.servers.process import own_folder, start_on_free_port, wait_until
from tests.servers.redis import RedisServer

ROOT = Path(__file__).resolve().parent.parent
SCENARIO = Path(__file__).with_name("four_turns.yaml")
BOOK = Path(__file__).with_name("provider.yaml")
SALVO = (sys.executable, "-m", "salvo_cli")

_OURS = ("SALVO_", "OPENAI_", "ANTHROPIC_", "CELERY_")
_BUCKET = "bench"


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what names a Salvo or a provider there, and with more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def cpu_s(pid: int) -> float:
    """Return the user and system time of one process so far, seconds; children not included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:  # no /proc here (macOS): ps says [[hh:]mm:]ss.cc
        said = subprocess.run(
            ["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout.strip()
        total_s = 0.0
        for part in said.split(":"):
            total_s = total_s * 60 + float(part)
        return total_s


def memory_mb(pid: int) -> float:
    """Return what one process holds of memory now, MB (resident)."""
    said = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout
    return int(said) / 1000


@contextmanager
def provider(book: Path = BOOK) -> Iterator[str]:
    """Run the simulated provider in a process of its own; the block gets its base URL."""
    with subprocess.Popen(
        [*SALVO, "simulate", "--port", "0", "--script", book],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environment(),
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().partition("=")[2]
        finally:
            process.terminate()


@dataclass(frozen=True)
class Measured:
    """One run, as its workers felt it.

    Attributes:
        trials: That ended with a grade.
        cpu_ms: User and system time of all workers per trial, milliseconds.
        redis_cpu_ms: The same of the Redis server.
        wall_s: From the first claim to the last trial's row, seconds, by Redis' own clock.
        trials_per_s: Trials by that time.
        memory_mb: The most that one worker held, MB, looked at twenty times a second.
    """

    trials: int
    cpu_ms: float
    redis_cpu_ms: float
    wall_s: float
    trials_per_s: float
    memory_mb: float


class Stand:
    """Servers and workers of one measurement.

    Args:
        base_url: Of the provider.
        store: ``files`` or ``s3`` (a MinIO).
        workers: Processes.
        concurrency: Trials at once in each.
    """

    def __init__(
        self, base_url: str, *, store: str = "files", workers: int = 1, concurrency: int = 100
    ) -> None:
        self._stack = ExitStack()
        self.folder = own_folder("bench")
        self.redis = RedisServer("valkey", transport="unix").start()
        self._stack.callback(self.redis.close)
        self.environment = clean_environment(
            SALVO_REDIS_URL=self.redis.url,
            SALVO_ALLOW_ROOT="1",
            OPENAI_BASE_URL=base_url,
            OPENAI_API_KEY="sk-bench-not-a-key-0123456789",
            **self._store(store),
        )
        self.workers = [self._worker(concurrency) for _ in range(workers)]
        self._await_cards()

    def _store(self, store: str) -> dict[str, str]:
        if store == "files":
            return {"SALVO_STORE_URL": f"file://{self.folder / 'store'}"}
        server = start_on_free_port(MinioServer)
        self._stack.callback(server.close)
        access = {
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": server.region,
        }
        client = server.client()
        client.create_bucket(Bucket=_BUCKET)
        client.close()
        return {"SALVO_STORE_URL": f"s3://{_BUCKET}/", "SALVO_S3_ENDPOINT_URL": server.endpoint_url, **access}

    def _worker(self, concurrency: int) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self.folder / f"worker{time.monotonic_ns()}.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "salvo_worker", "-c", str(concurrency), "--loglevel", "warning"],
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=log,
        )
        self._stack.callback(_end, process)
        return process

    def _await_cards(self) -> None:
        with closing(self.redis.client()) as client:
            wait_until(
                lambda: len(list(client.scan_iter(f"{WORKERS}:*"))) >= len(self.workers),
                what="every worker has a card",
                deadline_s=60,
            )

    def run(self, trials: int, *, scenario: Path = SCENARIO, more: Sequence[str] = ()) -> Measured:
        """Run so many trials and return what they cost."""
        pids = [worker.pid for worker in self.workers]
        with closing(self.redis.client()) as client:
            before = [cpu_s(pid) for pid in pids]
            redis_before = cpu_s(self.redis.pid)
            run_id = self.salvo("submit", str(scenario), "-n", str(trials), "--quiet", *more).strip()
            most_mb = 0.0
            while True:
                header = client.hgetall(keys.header(run_id))
                if header.get(b"state") == b"sealed":
                    break
                most_mb = max(most_mb, *(memory_mb(pid) for pid in pids))
                time.sleep(0.05)
            cpu = sum(map(cpu_s, pids)) - sum(before)
            redis_cpu = cpu_s(self.redis.pid) - redis_before
            counts = read_counts(
                run_id,
                {key.decode(): value.decode() for key, value in header.items()},
                {
                    key.decode(): value.decode()
                    for key, value in client.hgetall(keys.counters(run_id)).items()
                },
                0,
            )
        assert counts.started_ms is not None
        assert counts.finished_ms is not None
        wall_s = (counts.finished_ms - counts.started_ms) / 1000
        graded = counts.statuses["passed"] + counts.statuses["failed"]
        if graded != trials:
            raise SystemExit(
                f"run {run_id}: {graded} of {trials} trials were graded; nothing is measured by that"
            )
        return Measured(
            trials=trials,
            cpu_ms=cpu / trials * 1000,
            redis_cpu_ms=redis_cpu / trials * 1000,
            wall_s=wall_s,
            trials_per_s=trials / wall_s,
            memory_mb=most_mb,
        )

    def salvo(self, *arguments: str) -> str:
        """Run one command against this stand; return its stdout."""
        done = subprocess.run(
            [*SALVO, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"salvo {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Stop everything and remove the folder."""
        self._stack.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
