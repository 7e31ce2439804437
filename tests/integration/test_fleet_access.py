"""Fleets on a Redis that is well guarded: TLS with an authority of one's own, a user with few rights."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from salvo_core.errors import RedisUnavailable, UsageError
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from tests.integration.fleet import ROOT, Fleet, until
from tests.integration.scripts import scenario, script
from tests.servers.process import start_on_free_port
from tests.servers.redis import RedisServer, find_redis
from tests.servers.tls import OPENSSL, make_certificates

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"


class TlsRedis(RedisServer):
    """A Redis that speaks TLS alone."""

    def __init__(self, port: int, authority: Path, certificate: Path, key: Path) -> None:
        options = (
            "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no",
            "--tls-ca-cert-file", str(authority),
            "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        )  # fmt: skip
        super().__init__("redis7", port=port, options=options)
        self.url = self.broker_url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority}"


@pytest.fixture
async def tls_fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    if find_redis("redis7") is None or OPENSSL is None:
        pytest.skip("a Redis with TLS and openssl are not installed")  # Valkey's wheel has no TLS
    files = make_certificates(tmp_path)
    with start_on_free_port(lambda port: TlsRedis(port, *files)) as server:
        fleet = Fleet(server, f"file://{tmp_path}/store")
        yield fleet
        await fleet.aclose()


async def test_a_fleet_works_over_tls_with_an_authority_of_its_own(tls_fleet: Fleet) -> None:
    fleet = tls_fleet
    async with fleet.provider({MODEL: script()}):
        await fleet.start()
        plan = await fleet.submit(scenario(MODEL), trials=10)
        await fleet.sealed(plan)
        await fleet.audit(plan)
    assert await _doctor(fleet) == 0


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_so_is_not_asking(
    tls_fleet: Fleet,
) -> None:
    bare = tls_fleet.redis_server.url.partition("?")[0]
    stranger = Manifest(connect(bare, retries_max=0), bare)
    with pytest.raises(RedisUnavailable, match="certificate verify failed"):
        await stranger.open_runs()
    await stranger.aclose()
    with pytest.raises(UsageError, match="without a check of the certificate"):
        connect(f"{bare}?ssl_cert_reqs=none")


def documented_rights() -> list[str]:
    """Return the rights of Salvo's user as the deployment guide lists them."""
    guide = (ROOT / "deploy" / "README.md").read_text()
    found = re.search(r"ACL SETUSER salvo on '>PASSWORD'(.*?)```", guide, re.DOTALL)
    assert found is not None
    return found[1].replace("\\\n", " ").replace("'", "").split()


@pytest.fixture
async def acl_fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet whose user has the rights that the deployment guide gives it, and no other."""
    with start_on_free_port(lambda port: RedisServer("valkey", port=port)) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "salvo", "on", ">hunter2", *documented_rights())
        url = server.url.replace("redis://", "redis://salvo:hunter2@")
        fleet = Fleet(server, f"file://{tmp_path}/store", redis_url=url)
        yield fleet
        await fleet.aclose()


async def test_the_rights_that_the_guide_gives_a_user_are_enough_for_a_fleet(acl_fleet: Fleet) -> None:
    fleet = acl_fleet
    async with fleet.provider({MODEL: script(0.05)}):
        first, second = await fleet.start(2)
        plan = await fleet.submit(scenario(MODEL), trials=40, concurrency_max=20)
        await fleet.until_ended(plan, 4)
        first.kill9()  # leases, sweeps and restored messages need rights too
        await fleet.manifest.pause(plan.run_id)
        await fleet.manifest.unpause(plan.run_id)
        await fleet.sealed(plan)
        await fleet.audit(plan)
        cancelled = await fleet.submit(scenario(MODEL), trials=200)
        await fleet.until_ended(cancelled, 1)
        await fleet.manifest.cancel(cancelled.run_id)
        await fleet.sealed(cancelled)
    with fleet.redis_server.client() as client:
        client.lpush("salvo.trials", "nonsense")  # and so does setting aside what is not ours
        await until(lambda: client.llen("salvo.trials") == 0, "it is taken")
        second.signal(signal.SIGTERM)  # and so does leaving at once
        assert await second.ended() == 0
        # Only a worker that waits for a message when it is told to leave has its wait ended.
        assert client.execute_command("ACL", "DRYRUN", "salvo", "CLIENT", "UNBLOCK", "1") == b"OK"
        refused = [entry for entry in client.acl_log() if entry["username"] == "salvo"]
    assert refused == []
    for worker in fleet.workers:
        assert "NOPERM" not in worker.log()
    assert await _doctor(fleet) == 0


@pytest.mark.parametrize(
    "command",
    [("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("GET", "others"), ("SET", "others", "x")],
)
async def test_they_are_not_enough_for_anything_else(acl_fleet: Fleet, command: tuple[str, ...]) -> None:
    with (
        redis.Redis.from_url(acl_fleet.environ["SALVO_REDIS_URL"]) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command)


async def _doctor(fleet: Fleet) -> int | None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "salvo_cli", "doctor",
        env={**os.environ, **fleet.environ}, cwd=fleet.folder, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        await process.communicate()
    return process.returncode
