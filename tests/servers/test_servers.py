"""The servers that the tests rest on: found, started, killed, and as they were afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.cache import CannotInstall
from tests.servers.command import run_loudly
from tests.servers.minio import MinioServer, parse_go_version
from tests.servers.process import ServerFailed, ServerProcess, own_folder, start_on_free_port
from tests.servers.redis import Flavour, RedisServer, parse_package_names, parse_redis_version


def test_versions_are_read_from_what_the_programs_print() -> None:
    assert parse_go_version("go1.26.8\n") == (1, 26)
    assert parse_go_version("go1.24rc1") == (1, 24)
    assert parse_go_version("") is None
    assert parse_redis_version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64") == (7, 0)
    assert parse_redis_version("Valkey server v=9.1.2 sha=00000000:0") is None


def test_the_packages_of_a_plan_are_read_from_what_apt_prints() -> None:
    planned = (
        "'http://mirror/debian/pool/main/r/redis/redis-tools_7.0.15-1%7edeb12u6_amd64.deb' "
        "redis-tools_5%3a7.0.15-1~deb12u6_amd64.deb 989804 SHA256:00\n"
        "'http://mirror/debian/pool/main/l/lua5.1/liblua5.1-0_5.1.5-9_amd64.deb' "
        "liblua5.1-0_5.1.5-9_amd64.deb 108524 SHA256:00\n"
        "W: something else\n"
    )
    assert parse_package_names(planned) == {"redis-tools", "liblua5.1-0"}


def test_a_command_that_fails_shows_its_last_lines_and_the_advice() -> None:
    with pytest.raises(CannotInstall) as failed:
        run_loudly(["sh", "-c", "echo first; echo last words >&2; exit 3"], advice="Do this.", timeout_s=10)
    assert "status 3" in str(failed.value)
    assert "last words" in str(failed.value)
    assert str(failed.value).endswith("Do this.")


def test_a_command_that_takes_too_long_is_stopped_with_its_children() -> None:
    with pytest.raises(CannotInstall, match="was stopped after"):
        run_loudly(["sh", "-c", "sleep 60 & sleep 60"], advice="", timeout_s=0.2)


def test_a_program_that_does_not_exist_is_said_so() -> None:
    with pytest.raises(CannotInstall, match="no-such-program"):
        run_loudly(["no-such-program"], advice="", timeout_s=1)


def test_a_server_that_ends_at_once_shows_its_log_and_leaves_nothing() -> None:
    folder = own_folder("test")
    server = ServerProcess(
        "broken", ["sh", "-c", "echo out of cheese; exit 7"], folder=folder, is_ready=lambda: False
    )
    with server, pytest.raises(ServerFailed, match=r"(?s)status 7.*out of cheese"):
        server.start()
    assert not folder.exists()
    assert server not in ServerProcess.running


def test_a_server_that_never_answers_is_killed() -> None:
    server = ServerProcess(
        "mute", ["sleep", "60"], folder=own_folder("test"), is_ready=lambda: False, ready_s=0.2
    )
    with server, pytest.raises(ServerFailed, match="mute answers"):
        server.start()


@pytest.mark.servers
@pytest.mark.parametrize("flavour", ["valkey", "redis7"])
def test_a_killed_redis_comes_back_at_its_address_with_what_it_confirmed(flavour: Flavour) -> None:
    with start_on_free_port(lambda port: RedisServer(flavour, port=port)) as server:
        with server.client() as client:
            client.set("kept", "yes")
        server.kill9()
        server.start()
        with server.client() as client:
            assert client.get("kept") == b"yes"
        server.restart()
        with server.client() as client:
            assert client.get("kept") == b"yes"
        assert server.url == server.broker_url
        folder = server.folder
    assert not folder.exists()


@pytest.mark.servers
def test_a_redis_on_a_socket_has_no_port_and_takes_options() -> None:
    with RedisServer("valkey", transport="unix", options=("--requirepass", "secret")).start() as server:
        assert server.url.startswith("unix:///")
        assert server.broker_url.startswith("redis+socket:///")
        with server.client() as client:
            assert client.config_get("port") == {"port": "0"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.servers
async def test_the_flavours_are_what_they_say_and_start_empty(redis_flavour: str) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(redis_flavour) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")
        server = await client.info("server")
        assert server["redis_version"] >= "7"


@pytest.mark.servers
def test_the_sessions_redis_is_emptied_for_each_test(redis_url: str, redis_server: RedisServer) -> None:
    assert redis_url == redis_server.url
    with redis_server.client() as client:
        assert client.dbsize() == 0


@pytest.mark.servers
def test_a_fresh_bucket_is_empty(minio: MinioServer, bucket: str) -> None:
    assert "Contents" not in minio.client().list_objects_v2(Bucket=bucket)
    assert Path(minio.folder, "drive", bucket).is_dir()
