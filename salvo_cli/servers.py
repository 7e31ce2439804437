"""The servers of a command that runs trials: the embedded Valkey and a worker, or nothing with a fleet."""

from __future__ import annotations

from types import TracebackType

from salvo_cli.child import ChildWorker
from salvo_cli.embedded import EmbeddedServer
from salvo_cli.wiring import Surroundings


class Servers:
    """What the embedded mode needs, from ``begin`` to the end of the ``with`` block; nothing with a fleet.

    At the end the worker is asked to leave and waited for, unless ``leave_worker`` was called.
    """

    def __init__(self, here: Surroundings) -> None:
        self._here = here
        self.embedded: EmbeddedServer | None = None
        self.worker: ChildWorker | None = None
        self._stays = False

    def begin(self) -> None:
        """Start both without waiting for them; a second call changes nothing."""
        self.begin_server()
        self.begin_worker()

    def begin_server(self) -> None:
        """Start the server alone without waiting for it."""
        if self._here.settings.embedded and self.embedded is None:
            server = EmbeddedServer(self._here.places)
            server.begin()
            self.embedded = server

    def begin_worker(self) -> None:
        """Start a worker beside the server."""
        if self.embedded is not None and self.worker is None:
            worker = ChildWorker(self._here, self.embedded)
            worker.start()
            self.worker = worker

    def leave_worker(self) -> None:
        """Let the worker go on when this command ends: once idle it leaves, and ends the server."""
        if self.worker is not None:
            self.worker.wait_started()
        self._stays = True

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.worker is not None and not self._stays:
                self.worker.stop()
        finally:
            if self.embedded is not None:
                self.embedded.leave()
