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
        """Start what is needed without waiting for it; once."""
        if not self._here.settings.embedded or self.embedded is not None:
            return
        self.embedded = EmbeddedServer(self._here.places)
        self.embedded.begin()
        self.worker = ChildWorker(self._here, self.embedded)
        self.worker.start()

    def leave_worker(self) -> None:
        """Let the worker go on when this command ends: it leaves, and ends the server, when nothing is left."""
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
