"""From an address to a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from salvo_core.errors import UsageError
from salvo_core.store.files import FileStore
from salvo_core.store.opening import open_store
from salvo_core.store.s3 import S3Store


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("file:///var/lib/salvo", "file:///var/lib/salvo"),
        ("file://localhost/var/lib/salvo/", "file:///var/lib/salvo"),
        ("file:///with%20space", "file:///with%20space"),
        ("file:///with space#and?more", "file:///with%20space%23and%3Fmore"),
        ("file:///a/../b", "file:///b"),
    ],
)
def test_a_file_address_opens_a_folder(url: str, address: str) -> None:
    store = open_store(url)
    assert isinstance(store.objects, FileStore)
    assert store.address == address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://my.bucket-1/team/salvo/", "s3://my.bucket-1/team/salvo"),
    ],
)
def test_an_s3_address_opens_a_bucket(url: str, address: str) -> None:
    store = open_store(url, endpoint_url="http://127.0.0.1:9000", addressing_style="path", pool_size=2)
    assert isinstance(store.objects, S3Store)
    assert store.address == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/lib/salvo",
        "file:/var/lib/salvo",
        "file://relative/path",
        "file://",
        "file:///",
        "file:///a%00b",
        "memory://",
        "http://bucket",
        "s3:bucket",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://bucket/with space",
        "s3://bucket/../other",
        "S3://bucket",
    ],
)
def test_any_other_address_is_refused_with_the_forms(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_store(url)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("url", "endpoint_url"),
    [
        ("s3://AKIAX:hunter2@bucket/prefix", None),
        ("https://user:hunter2@host/bucket", None),
        ("s3://bucket", "http://user:hunter2@127.0.0.1:9000"),
        ("s3://bucket", "hunter2"),
        ("s3://bucket", "ftp://hunter2"),
        ("s3://bucket", "http://host:hunter2"),
        ("s3://bucket", "http://"),
    ],
)
def test_a_password_in_an_address_is_refused_and_never_quoted(url: str, endpoint_url: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        open_store(url, endpoint_url=endpoint_url)
    assert "hunter2" not in raised.value.message + raised.value.hint


def test_an_unknown_addressing_style_is_refused() -> None:
    with pytest.raises(UsageError, match="'dns'"):
        open_store("s3://bucket", addressing_style="dns")


def test_opening_touches_nothing(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}/store")
    open_store("s3://bucket", endpoint_url="http://127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []


def test_a_file_store_does_not_pay_for_boto3() -> None:
    script = (
        "import sys; from salvo_core.store.opening import open_store; open_store('file:///tmp/x');"
        "sys.exit(any(name.startswith(('boto3', 'botocore')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
