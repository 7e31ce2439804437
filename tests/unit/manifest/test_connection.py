"""Reaching Redis: addresses, and its errors in words a person can act on."""

import pytest
from redis import exceptions

from salvo_core.errors import RedisUnavailable, UsageError
from salvo_core.manifest.connection import connect, explain, translated
from salvo_core.manifest.keys import scripted
from salvo_core.manifest.scripts import SCRIPTS, script_text

SECRET = "hunter2"
ADDRESS = "redis://me:***@host:6379/0"


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{SECRET}@host",
        f"me:{SECRET}@host:6379",
        "",
        "host",
        f"redis://me:a/{SECRET}@host/0",  # nobody escaped the slash: the rest of the password is no port
        f"redis://me:{SECRET}#x@host:6379",
        f"redis://me:{SECRET}@host:port/0",
        f"redis://[{SECRET}@host/0",
        f"amqp://{SECRET}@host",
    ],
)
def test_an_address_of_no_known_form_is_refused_without_its_password(url):
    with pytest.raises(UsageError) as refused:
        connect(url)
    if "://" in url:
        assert "redis" in refused.value.message + refused.value.hint
        assert url.startswith("redis://[") or SECRET not in refused.value.message + refused.value.hint
    assert refused.value.hint


@pytest.mark.parametrize(
    "url", ["redis://host", "rediss://host:6380/1", "unix:///run/r.sock?db=2", "REDIS://host"]
)
async def test_addresses_of_the_three_forms_are_taken_and_nothing_is_sent(url):
    client = connect(url)
    await client.aclose()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            exceptions.AuthenticationError("invalid username-password pair"),
            "refuses the user name or password",
        ),
        (exceptions.ResponseError("WRONGPASS invalid username-password pair"), "refuses the user name"),
        (exceptions.ResponseError("NOAUTH Authentication required."), "refuses the user name"),
        (exceptions.NoPermissionError("NOPERM no permissions to run 'eval'"), "does not permit a command"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "read-only replica"),
        (exceptions.ResponseError("READONLY You can't write"), "read-only replica"),
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "out of memory"),
        (exceptions.ResponseError("OOM command not allowed"), "out of memory"),
        (exceptions.ResponseError("Error running script: @user: -OOM command not allowed"), "out of memory"),
        (exceptions.BusyLoadingError("LOADING Redis is loading the dataset in memory"), "still loading"),
        (exceptions.MovedError("5649 127.0.0.1:7001"), "a node of a Redis Cluster"),
        (exceptions.ClusterDownError("Hash slot not served"), "a node of a Redis Cluster"),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "cannot write to its disk"),
        (exceptions.ConnectionError("Connection refused"), "cannot be reached"),
        (exceptions.TimeoutError("Timeout reading from socket"), "cannot be reached"),
    ],
)
def test_each_error_says_what_is_wrong_and_what_to_do(error, says):
    explained = explain(error, ADDRESS)
    assert ADDRESS in str(explained)
    assert says in str(explained)
    assert explained.hint
    assert explained.exit_code == 69


def test_an_error_nobody_foresaw_is_quoted_at_no_great_length():
    explained = explain(exceptions.ResponseError("WAT " + "x" * 9000), ADDRESS)
    assert "answered with an error: WAT xx" in str(explained)
    assert len(str(explained)) < 500


def test_what_the_system_says_of_a_socket_is_translated_too():
    with pytest.raises(RedisUnavailable, match="No such file") as failed, translated(ADDRESS):
        raise FileNotFoundError(2, "No such file or directory")
    assert failed.value.hint


def test_other_errors_pass_through_untouched():
    with pytest.raises(KeyError), translated(ADDRESS):
        raise KeyError("ours")


def test_all_keys_of_a_run_carry_one_hash_tag():
    from salvo_core.manifest import keys

    run = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
    every = [*scripted(run), keys.journal(run, 7)]
    assert len(set(every)) == 6
    assert {key[key.index("{") : key.index("}") + 1] for key in every} == {f"{{{run}}}"}
    assert all(key.count("{") == 1 for key in every)


async def test_no_test_here_calls_a_script_that_a_cluster_would_refuse():
    script = connect("redis://localhost:1/0", retries_max=0).register_script("return 1")
    with pytest.raises(AssertionError, match="keys of several slots"):
        await script(keys=["salvo:{a}:run", "salvo:{b}:run"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_there_says_what_it_does_and_names_no_key_of_its_own(name):
    text = script_text(name)
    own = text.removeprefix(script_text("open").split("-- Makes the run's header")[0])
    assert own.startswith("-- ")
    assert "salvo:" not in text  # keys come in KEYS alone, or Redis Cluster could not run it


def test_every_script_in_the_folder_is_one_that_is_used():
    from importlib.resources import files

    found = {path.name for path in files("salvo_core.manifest").joinpath("lua").iterdir()}
    assert found == {f"{name}.lua" for name in SCRIPTS} | {"prelude.lua"}
