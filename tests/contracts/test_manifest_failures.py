"""The manifest when its server fails: what is kept, what is said, and that no password is said."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from salvo_core.errors import RedisUnavailable
from salvo_core.identity import new_run_id
from salvo_core.manifest import keys
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.scripts import SCRIPTS, script_text
from salvo_core.settings import without_password
from tests.contracts.manifest_runs import Run, check_counters, turn
from tests.servers.process import free_port, start_on_free_port
from tests.servers.redis import FLAVOURS, RedisServer

pytestmark = pytest.mark.servers

SECRET = "hunter2-never-to-be-seen"
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=FLAVOURS)
def own_server(request, redis_servers):
    """A server of this test's own, to be killed, filled or reconfigured."""
    redis_servers(request.param)  # skips, or fails in CI, where the flavour is not installed
    with start_on_free_port(lambda port: RedisServer(request.param, port=port)) as server:
        yield server


@asynccontextmanager
async def manifest_at(url, **more):
    manifest = Manifest(connect(url, **more), without_password(url))
    try:
        yield manifest
    finally:
        await manifest.aclose()


async def fails(coroutine):
    with pytest.raises(RedisUnavailable) as failed:
        await coroutine
    assert failed.value.exit_code == 69
    assert failed.value.hint
    assert SECRET not in f"{failed.value!s} {failed.value!r} {failed.value.hint}"
    return str(failed.value)


# -- what is kept ------------------------------------------------------------------------------------


async def test_scripts_that_the_server_forgot_are_sent_again(redis_flavour):
    async with manifest_at(redis_flavour) as manifest:
        run = await Run(manifest).ready()
        for index, do in enumerate((run.commit, manifest.give_back)):
            claim = await run.claimed(index)
            await manifest.redis.script_flush()
            assert (await manifest.renew("w1", [claim], lease_s=30))[run.id].lost == frozenset()
            await manifest.redis.script_flush()
            assert await manifest.journal(claim, turn(0))
            await manifest.redis.script_flush()
            assert await do(claim)
        await check_counters(run)


async def test_a_server_that_is_killed_and_comes_back_has_everything_and_is_used_at_once(own_server):
    async with manifest_at(own_server.url) as manifest:
        run = await Run(manifest).ready()
        committed, held = await run.claimed(0), await run.claimed(1)
        await manifest.journal(held, turn(0))
        await run.commit(committed)
        before = await run.rows()
        # everysec may lose the last second by design; what was on disk before is what is promised
        await manifest.redis.config_set("appendfsync", "always")
        await manifest.redis.set("on", "disk")
        own_server.kill9()
        own_server.start()
        assert await run.rows() == before
        assert [one.index for one in await manifest.journaled(run.id, 1)] == [0]
        assert await manifest.journal(held, turn(1))
        assert (await run.commit(held)).won
        await check_counters(run)


async def test_t72_no_update_is_lost_among_eight_processes_that_write_at_once(redis_url):
    processes, each = 8, 1000
    async with manifest_at(redis_url) as manifest:
        run = await Run(manifest, total=processes * each).ready_in_windows()
        started = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.contracts.updater",
                redis_url, run.id, str(number * each), str(each),
                cwd=ROOT, stderr=asyncio.subprocess.PIPE,
            )
            for number in range(processes)
        ]  # fmt: skip
        for process in started:
            _, said = await process.communicate()
            assert process.returncode == 0, said.decode()
        counts = await run.counts()
        assert counts.state == "finished"
        assert counts.statuses["passed"] == counts.statuses["failed"] == processes * each / 2
        assert counts.claims == processes * each
        await check_counters(run)


# -- what is said ------------------------------------------------------------------------------------


async def test_a_port_where_nobody_listens_is_said_so():
    url = f"redis://me:{SECRET}@127.0.0.1:{free_port()}/0"
    async with manifest_at(url, retries_max=0) as manifest:
        said = await fails(manifest.counts(new_run_id()))
    assert "cannot be reached" in said
    assert "me:***@127.0.0.1" in said


async def test_a_socket_that_is_not_there_is_said_so(tmp_path):
    async with manifest_at(f"unix://{tmp_path}/no.sock?password={SECRET}", retries_max=0) as manifest:
        assert "cannot be reached" in await fails(manifest.counts(new_run_id()))


async def test_a_wrong_password_and_none_at_all_are_said_to_be_refused(redis_servers):
    for flavour in FLAVOURS:
        redis_servers(flavour)
        options = ("--requirepass", f"{SECRET}-the-right-one")
        with start_on_free_port(
            lambda port, flavour=flavour, options=options: RedisServer(flavour, port=port, options=options)
        ) as server:
            address = server.url.removeprefix("redis://")
            for login in (f"redis://:{SECRET}-wrong@", f"redis://somebody:{SECRET}@", "redis://"):
                async with manifest_at(login + address) as manifest:
                    assert "refuses the user name or password" in await fails(manifest.counts(new_run_id()))
            async with manifest_at(f"redis://:{SECRET}-the-right-one@{address}") as manifest:
                assert await Run(manifest).open()


async def test_a_user_who_may_not_run_scripts_is_told_which_command(own_server):
    async with manifest_at(own_server.url) as manifest:
        await manifest.redis.acl_setuser(
            "limited",
            enabled=True,
            passwords=[f"+{SECRET}"],
            keys=["*"],
            categories=["+@read", "+@connection"],
        )
    url = own_server.url.replace("redis://", f"redis://limited:{SECRET}@")
    async with manifest_at(url) as manifest:
        said = await fails(Run(manifest).open())
    assert "does not permit a command" in said
    assert "evalsha" in said


async def test_a_read_only_replica_is_said_to_be_one(redis_servers):
    for flavour in FLAVOURS:
        redis_servers(flavour)
        # One whose primary is away is as read-only as any other, and does not have to be waited for.
        options = ("--replicaof", f"127.0.0.1 {free_port()}")
        with start_on_free_port(
            lambda port, flavour=flavour, options=options: RedisServer(flavour, port=port, options=options)
        ) as replica:
            async with manifest_at(replica.url) as manifest:
                for write in (Run(manifest).open(), manifest.reserve("key", "id"), manifest.closed("id")):
                    assert "is a read-only replica" in await fails(write)
                assert await manifest.open_runs() == []  # reading works


async def test_a_server_out_of_memory_is_said_to_be_and_loses_nothing(own_server):
    async with manifest_at(own_server.url) as manifest:
        run = await Run(manifest).ready()
        claim = await run.claimed()
        before = await run.rows()
        await manifest.redis.config_set("maxmemory", "1mb")
        assert "is out of memory and refuses writes" in await fails(manifest.journal(claim, turn(0)))
        assert "is out of memory" in await fails(run.claim(1))
        assert "is out of memory" in await fails(manifest.reserve("key", run.id))
        assert await run.rows() == before
        await manifest.redis.config_set("maxmemory", "0")
        assert (await run.commit(claim)).won
        await check_counters(run)


async def test_what_ends_or_keeps_a_trial_is_heard_by_a_server_that_is_out_of_memory(own_server):
    async with manifest_at(own_server.url) as manifest:
        run = await Run(manifest).ready()
        claims = [await run.claimed(index) for index in range(3)]
        await run.silence(2)
        for name in SCRIPTS:  # as they are once a fleet has worked: a full server takes no new scripts either
            await manifest.redis.script_load(script_text(name))
        await manifest.redis.config_set("maxmemory", "1mb")
        assert (await manifest.renew("w1", claims[:2], lease_s=30))[run.id].lost == frozenset()
        assert (await run.commit(claims[0])).won  # and its journal is freed
        assert await manifest.give_back(claims[1])
        assert await manifest.expire(run.id) == [2]
        await check_counters(run)


async def test_a_server_that_stops_answering_is_given_up_on(own_server, monkeypatch):
    monkeypatch.setattr("salvo_core.manifest.connection.REPLY_TIMEOUT_S", 1.0)
    async with manifest_at(own_server.url, retries_max=0) as manifest:
        assert await manifest.open_runs() == []
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            assert "cannot be reached" in await fails(manifest.open_runs())
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        assert await manifest.open_runs() == []


async def test_keys_that_hold_something_else_are_an_error_and_no_traceback(redis_flavour):
    async with manifest_at(redis_flavour) as manifest:
        run = Run(manifest)
        await manifest.redis.set(keys.header(run.id), "not a hash")
        assert "WRONGTYPE" in await fails(run.open())
