"""The worker process: ``python -m salvo_worker``, and what ``salvo worker`` calls."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from celery import signals
from celery.apps.worker import Worker
from celery.platforms import SecurityWarning

from salvo_core.errors import SalvoError, UsageError
from salvo_core.run.signature import Signer
from salvo_core.scenario.project import Project, find_root, load_project
from salvo_core.settings import Settings, resolve
from salvo_worker.app import make_app
from salvo_worker.departure import LastCall
from salvo_worker.letter import QUEUES
from salvo_worker.lifespan import Lifespan
from salvo_worker.logs import log_to_stderr, secrets_of
from salvo_worker.pool import LEAVE_S
from salvo_worker.readiness import require_readiness
from salvo_worker.supervisor import supervise, wants_parent
from salvo_worker.tasks import register
from salvo_worker.tether import Tether

logger = logging.getLogger("salvo_worker")
LEVELS = ("debug", "info", "warning", "error")


def run_worker(
    settings: Settings,
    project: Project,
    *,
    idle_exit_s: float | None = None,
    loglevel: str = "info",
    tether: Tether | None = None,
) -> int:
    """Run a worker in this process until it is told to stop; return its exit code.

    SIGTERM or SIGINT stops it warmly: no trial begins another turn, each is given back with
    its turns in the journal, and within ``grace_s`` it is gone: a turn that takes longer is
    abandoned. A second one leaves at once; the trials are given back too. A stop that does not
    end, because a server went silent in the middle of it, ends with the process: see ``departure``.
    Threads may be left that wait for such a server: end the process by ``departure.leave_process``.

    Args:
        settings: redis_url and store_url are set.
        project: This worker's own project file: profiles, prices.
        idle_exit_s: Leave when no run was open for so long.
        loglevel: One of ``LEVELS``.
        tether: To the parent process, where there is one that supervises us.
    """
    formatter = log_to_stderr(loglevel, tether.process if tether else "")
    formatter.strike_out(secrets_of(settings), project.recording.custom_redaction_patterns)
    warnings.filterwarnings("ignore", category=SecurityWarning)  # Celery's own, of seven lines
    require_readiness(settings)
    app: Any = make_app(settings.broker_url or settings.redis_url, Signer(settings.signing_keys), takes=True)
    lifespan = Lifespan(
        settings,
        project,
        idle_exit_s=idle_exit_s,
        learned=formatter.strike_out,
        # From the loop's thread: Celery's own handler for the signal does the rest.
        stop=lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    if tether is not None:
        tether.watch(lambda: lifespan.leaving, grace_s=settings.grace_s)
    app.lifespan = lifespan.open
    app.grace_s = settings.grace_s
    register(app, lifespan)
    last_call = LastCall()

    def leave(**_: Any) -> None:
        last_call.within(settings.grace_s)
        if lifespan.leaving:  # Celery ignores a second signal, but whoever sends it means it
            last_call.within(LEAVE_S)
            worker.pool.hurry()
        lifespan.leave()
        if worker.pool is not None:
            worker.pool.wake_hub()

    signals.worker_shutting_down.connect(leave)
    worker = _consumer(app, lifespan, settings, loglevel)
    try:
        worker.start()
    finally:
        last_call.call_off()
    # Celery counts an interruption as a failure; a stop that was asked for is none.
    return 0 if lifespan.leaving else int(worker.exitcode or 0)


def _consumer(app: Any, lifespan: Lifespan, settings: Settings, loglevel: str) -> Worker:
    """Return Celery's worker, not yet started."""
    return app.Worker(
        hostname=f"salvo@{lifespan.name}",
        concurrency=settings.concurrency,
        queues=list(QUEUES),
        loglevel=loglevel.upper(),
        # Gossip, mingle and heartbeats serve features that Salvo has its own way of; mingle alone
        # would cost a second of every start.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a worker as the command line says; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m salvo_worker", description="Run Salvo worker processes: one, unless told otherwise."
    )
    parser.add_argument("-c", "--concurrency", type=int, help="trials at once, in each process")
    parser.add_argument("--procs", metavar="N", help="processes, or auto: one for each usable core")
    parser.add_argument("--memory-max-mb", type=int, metavar="MB", help="replace a process that uses more")
    parser.add_argument("--tether", type=Tether.parse, help=argparse.SUPPRESS)
    parser.add_argument("--idle-exit-s", type=float, help="leave when no run was open for so long, seconds")
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="how long a warm stop may take")
    parser.add_argument("--loglevel", choices=LEVELS, default="info")
    parser.add_argument("--allow-root", action="store_true", default=None, help="run as root all the same")
    chosen = parser.parse_args(arguments)
    try:
        project = load_project(find_root(Path.cwd()))
        flags = {
            "concurrency": chosen.concurrency,
            "grace_s": chosen.grace,
            "allow_root": chosen.allow_root,
            "procs": chosen.procs,
            "memory_max_mb": chosen.memory_max_mb,
        }
        settings = resolve(os.environ, project=project.settings(), flags=flags)
        if settings.redis_url is None or settings.store_url is None:
            raise UsageError(
                "this worker belongs to no fleet: SALVO_REDIS_URL and SALVO_STORE_URL are not both set",
                hint="set both; `salvo worker` joins the embedded servers instead",
            )
        if chosen.tether is None and wants_parent(settings):
            require_readiness(settings)  # told once, and not by each of them
            how = {"idle_exit_s": chosen.idle_exit_s, "loglevel": chosen.loglevel}
            return supervise(settings, "salvo_worker", os.environ, **how)
        return run_worker(
            settings,
            project,
            idle_exit_s=chosen.idle_exit_s,
            loglevel=chosen.loglevel,
            tether=chosen.tether,
        )
    except SalvoError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
