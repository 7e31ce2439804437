"""The fixtures of the whole-system tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest

from tests.integration.fleet import Fleet

if TYPE_CHECKING:
    from tests.servers.minio import MinioServer
    from tests.servers.redis import Flavour, RedisServer


@pytest.fixture
async def fleet(redis_server: RedisServer, minio: MinioServer, bucket: str) -> AsyncIterator[Fleet]:
    """A fleet without workers yet, on an emptied Valkey and a fresh bucket of MinIO."""
    redis_server.flush()
    fleet = Fleet(redis_server, f"s3://{bucket}/salvo", s3_endpoint_url=minio.endpoint_url)
    yield fleet
    await fleet.aclose()


@pytest.fixture
async def fleet_on_files(
    redis_servers: Callable[[Flavour], RedisServer], tmp_path: object
) -> AsyncIterator[Fleet]:
    """A fleet without workers yet, on an emptied Redis 7 and a folder."""
    server = redis_servers("redis7")
    server.flush()
    fleet = Fleet(server, f"file://{tmp_path}/store")
    yield fleet
    await fleet.aclose()
