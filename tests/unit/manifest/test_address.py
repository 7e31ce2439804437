"""What Redis URLs say, and which of them nobody should use."""

import ssl

import pytest

from salvo_core.errors import UsageError
from salvo_core.manifest.address import parts_of, sentinel_address, tls_of
from salvo_core.manifest.connection import connect
from salvo_worker.app import broker_address, make_app

SECRET = "p/s:w@d#1"
QUOTED = "p%2Fs%3Aw%40d%231"
TRIO = f"redis+sentinel://salvo:{QUOTED}@one:26379,two,[::1]:5000/3?master=main"


def test_a_url_of_sentinels_is_read_whole():
    address = sentinel_address(TRIO)
    assert address.sentinels == (("one", 26379), ("two", 26379), ("::1", 5000))
    assert (address.master, address.db, address.username, address.password) == ("main", 3, "salvo", SECRET)
    assert (address.tls, address.sentinel_username, address.sentinel_password) == (None, None, None)
    assert SECRET not in repr(address)


@pytest.mark.parametrize("scheme", ["sentinel", "redis+sentinel", "REDIS+SENTINEL"])
def test_the_least_that_a_url_of_sentinels_says(scheme):
    address = sentinel_address(f"{scheme}://one?master=m")
    assert (address.sentinels, address.db, address.username) == ((("one", 26379),), 0, None)


def test_sentinels_over_tls_with_a_password_of_their_own():
    url = "rediss+sentinel://one/0?master=m&ssl_ca_certs=/ca.pem&sentinel_username=s&sentinel_password=t"
    address = sentinel_address(url)
    assert address.tls == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}
    assert (address.sentinel_username, address.sentinel_password) == ("s", "t")


@pytest.mark.parametrize(
    ("url", "hosts", "password", "query"),
    [
        (TRIO, "one:26379,two,[::1]:5000", QUOTED, "master=main"),
        ("rediss://u:p@[::1]:6379/0?x=/a@b", "[::1]:6379", "p", "x=/a@b"),
        ("redis://one", "one", None, ""),
        ("unix:///run/r.sock", "", None, ""),
        ("", "", None, ""),
    ],
)
def test_hosts_that_are_no_url_to_python_are_told_apart_from_the_rest(url, hosts, password, query):
    found, parts = parts_of(url)
    assert (found, parts.password, parts.query) == (hosts, password, query)


def test_other_urls_name_no_sentinels():
    for url in ("redis://host/0", "rediss://host", "unix:///run/r.sock"):
        assert sentinel_address(url) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sentinel://one/0", "names no primary"),
        ("sentinel:///0?master=m", "names no sentinel"),
        ("sentinel://me:hunter2@one:port/0?master=m", "cannot be read"),
        ("sentinel://me:hunter2@one/x?master=m", "cannot be read"),
        ("rediss+sentinel://me:hunter2@one/0?master=m&ssl_cert_reqs=none", "without a check"),
        ("rediss://me:hunter2@one/0?ssl_cert_reqs=optional", "without a check"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url, says):
    with pytest.raises(UsageError, match=says) as refused:
        connect(url)
    assert "hunter2" not in refused.value.message + refused.value.hint
    assert refused.value.hint


async def test_a_url_of_sentinels_makes_a_client_and_nothing_is_sent():
    client = connect(TRIO, connections_max=3)
    assert client.connection_pool.max_connections == 3
    await client.aclose()


def test_the_queue_is_given_the_same_sentinels_in_its_own_spelling():
    assert broker_address(TRIO) == ";".join(
        f"sentinel://salvo:{QUOTED}@{host}/3" for host in ("one:26379", "two:26379", "[::1]:5000")
    )
    assert broker_address("sentinel://one?master=m") == "sentinel://one:26379/0"
    options = make_app(TRIO).conf.broker_transport_options
    assert options["master_name"] == "main"


def test_the_queue_checks_the_same_certificates():
    url = "rediss://me@host:6380/0?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem"
    app = make_app(url)
    assert broker_address(url) == "rediss://me@host:6380/0"
    assert app.conf.broker_use_ssl == {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_ca_certs": "/ca.pem",
        "ssl_certfile": "/c.pem",
        "ssl_keyfile": "/k.pem",
    }
    assert make_app("rediss://host").conf.broker_use_ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert not make_app("redis://host").conf.broker_use_ssl
    assert tls_of("redis://host?ssl_ca_certs=/ca.pem") is None
