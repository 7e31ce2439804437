"""A primary, its replica, and three sentinels who watch them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

import redis

from tests.servers.process import ServerProcess, free_port, own_folder, start_on_free_port, wait_until
from tests.servers.redis import Flavour, RedisServer, find_redis, library_path

MASTER = "salvo"
DOWN_AFTER_MS = 1000


class SentinelServer(ServerProcess):
    """One sentinel.

    Args:
        flavour: Whose sentinel.
        port: Of the loopback interface.
        primary_port: Of the server it watches.
    """

    def __init__(self, flavour: Flavour, port: int, primary_port: int) -> None:
        binary = find_redis(flavour)
        assert binary is not None
        folder = own_folder("sentinel")
        self.port = port
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {primary_port} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER} 5000\n"
        )
        super().__init__(
            f"sentinel {port}",
            [str(binary), str(folder / "sentinel.conf"), "--sentinel"],
            folder=folder,
            is_ready=self._is_ready_now,
            env=library_path(binary),
        )

    def client(self) -> redis.Redis:
        """Return a new client of it; the caller closes it."""
        return redis.Redis(port=self.port)

    def _is_ready_now(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def sees_all(self) -> bool:
        """Whether it knows the replica and both other sentinels, without which nobody is promoted."""
        with self.client() as client:
            told = client.sentinel_masters()[MASTER]
        return (told["num-slaves"], told["num-other-sentinels"]) == (1, 2)


class SentinelTrio:
    """Everything that a failover needs, running; ``with SentinelTrio() as trio``.

    ``url`` names the sentinels.
    """

    def __init__(self, flavour: Flavour = "valkey") -> None:
        self._flavour = flavour
        self._open = ExitStack()

    def __enter__(self) -> Self:
        port = free_port()
        self.primary = self._open.enter_context(RedisServer(self._flavour, port=port).start())
        self.replica = self._open.enter_context(
            start_on_free_port(
                lambda own: RedisServer(self._flavour, port=own, options=("--replicaof", f"127.0.0.1 {port}"))
            )
        )
        self.sentinels = [
            self._open.enter_context(start_on_free_port(lambda own: SentinelServer(self._flavour, own, port)))
            for _ in range(3)
        ]
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/0?master={MASTER}"
        wait_until(
            lambda: self._is_in_step() and all(one.sees_all() for one in self.sentinels),
            what="the replica is in step, and the sentinels see it and one another",
            deadline_s=30,
        )
        return self

    def _is_in_step(self) -> bool:
        with self.replica.client() as client:
            return bool(client.info("replication")["master_link_status"] == "up")

    def __exit__(self, *_: object) -> None:
        self._open.close()
