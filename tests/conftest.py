"""Fixtures that start real servers, once per session and only for tests that ask for them.

Nothing here is imported from a server's library or looked up on the disk before the first
test that needs it, so unit tests run on a machine that has none.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers.minio import MinioServer
    from tests.servers.redis import Flavour, RedisServer

pytest.register_assert_rewrite("tests.contracts.store_contract")

NOT_INSTALLED = "{} is not installed. Run: python -m tests.servers install"


@pytest.fixture(scope="session")
def minio() -> Iterator[MinioServer]:
    """A running MinIO: endpoint_url, access_key, secret_key, region, client(). Shared by the session."""
    from tests.servers.minio import MinioServer, find_minio
    from tests.servers.process import start_on_free_port

    if find_minio() is None:
        pytest.fail(NOT_INSTALLED.format("MinIO"), pytrace=False)
    with start_on_free_port(MinioServer) as server:
        yield server


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any AWS credentials or settings, whatever this machine has."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def aws_credentials(no_aws: pytest.MonkeyPatch, minio: MinioServer) -> None:
    """The environment of a worker that may use MinIO; child processes inherit it."""
    no_aws.setenv("AWS_ACCESS_KEY_ID", minio.access_key)
    no_aws.setenv("AWS_SECRET_ACCESS_KEY", minio.secret_key)
    no_aws.setenv("AWS_REGION", minio.region)
    no_aws.setenv("AWS_DEFAULT_REGION", minio.region)


@pytest.fixture
def bucket(minio: MinioServer, aws_credentials: None) -> str:
    """The name of a fresh bucket, with the credentials for it in the environment."""
    name = f"salvo-{uuid.uuid4().hex[:20]}"
    minio.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session", autouse=True)
def _each_script_names_keys_of_one_slot() -> Iterator[None]:
    """Refuse, in every test, a call of any script that a Redis Cluster would refuse."""
    from redis.commands.core import AsyncScript
    from redis.crc import key_slot

    called = AsyncScript.__call__

    async def checked(self: Any, keys: Any = None, args: Any = None, client: Any = None) -> Any:
        slots = {key_slot(str(key).encode()) for key in keys or ()}
        assert len(slots) <= 1, f"keys of several slots: {keys}"
        return await called(self, keys, args, client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncScript, "__call__", checked)
        yield


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[Callable[[Flavour], RedisServer]]:
    """Gives the session's server of a flavour, started when first asked for; not flushed."""
    from tests.servers.process import start_on_free_port
    from tests.servers.redis import RedisServer, find_redis

    started: dict[Flavour, RedisServer] = {}

    def server_of(flavour: Flavour) -> RedisServer:
        if flavour not in started:
            if find_redis(flavour) is None:
                # On a laptop without Redis the Valkey half still says something; CI must run both.
                give_up = pytest.fail if os.environ.get("CI") else pytest.skip
                give_up(NOT_INSTALLED.format(flavour))
            started[flavour] = start_on_free_port(lambda port: RedisServer(flavour, port=port))
        return started[flavour]

    yield server_of
    for server in started.values():
        server.close()


@pytest.fixture(scope="session")
def redis_server(redis_servers: Callable[[Flavour], RedisServer]) -> RedisServer:
    """A running Valkey, shared by the session: url, broker_url, client(), flush()."""
    return redis_servers("valkey")


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of the session's Valkey, emptied for this test."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(params=["valkey", "redis7"])
def redis_flavour(request: pytest.FixtureRequest, redis_servers: Callable[[Flavour], RedisServer]) -> str:
    """The address of a Valkey, then of a Redis, emptied for this test: for contracts on both."""
    server = redis_servers(request.param)
    server.flush()
    return server.url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the running servers wrote last under a failed test that may have used them."""
    report = yield
    if report.failed and item.get_closest_marker("servers"):
        from tests.servers.process import ServerProcess

        for server in ServerProcess.running:
            report.sections.append((f"log of {server.name}", server.log_tail()))
    return report
