"""A worker as root: in a container, with somebody's word, and not otherwise."""

import pytest

from salvo_core.errors import UsageError
from salvo_core.settings import resolve
from salvo_worker import main, readiness
from salvo_worker.container import in_container

FLEET = {"SALVO_REDIS_URL": "redis://127.0.0.1:1/0", "SALVO_STORE_URL": "file:///nowhere"}


@pytest.fixture
def root_of_a_machine(monkeypatch):
    monkeypatch.setattr(readiness.os, "geteuid", lambda: 0)
    monkeypatch.setattr(readiness, "in_container", lambda settings: False)


@pytest.mark.usefixtures("root_of_a_machine")
def test_root_of_a_machine_serves_no_fleet(monkeypatch, capsys):
    for name, value in FLEET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SALVO_ALLOW_ROOT", raising=False)
    assert main.main([]) == 64
    said = capsys.readouterr().err
    assert "does not run as root" in said
    assert "--allow-root" in said


@pytest.mark.usefixtures("root_of_a_machine")
@pytest.mark.parametrize("word", [{"SALVO_ALLOW_ROOT": "1"}, {"flag": True}])
def test_root_serves_a_fleet_if_somebody_says_so(word):
    readiness._require_user(resolve(word, flags={"allow_root": word.get("flag")}))


def test_root_of_a_container_and_everybody_else_may_serve(monkeypatch):
    monkeypatch.setattr(readiness.os, "geteuid", lambda: 0)
    monkeypatch.setattr(readiness, "in_container", lambda settings: True)
    readiness._require_user(resolve({}))
    monkeypatch.setattr(readiness, "in_container", lambda settings: False)
    with pytest.raises(UsageError):
        readiness._require_user(resolve({}))
    monkeypatch.setattr(readiness.os, "geteuid", lambda: 1000)
    readiness._require_user(resolve({}))


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        (".dockerenv", "", True),
        ("run/.containerenv", "", True),
        ("proc/1/cgroup", "12:pids:/docker/0123abc\n", True),
        ("proc/1/cgroup", "0::/kubepods.slice/kubepods-pod1.slice\n", True),
        ("proc/1/cgroup", "0::/init.scope\n", False),
        ("etc/hostname", "docker", False),
    ],
)
def test_a_container_is_known_by_its_marks(tmp_path, file, text, found):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert in_container(resolve({}), tmp_path) is found


@pytest.mark.parametrize("variable", ["KUBERNETES_SERVICE_HOST", "container"])
def test_a_container_may_say_so_in_the_environment(tmp_path, variable):
    assert in_container(resolve({variable: "here"}), tmp_path)
    assert not in_container(resolve({variable: ""}), tmp_path)
