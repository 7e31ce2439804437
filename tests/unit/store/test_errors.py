"""What the operating system and S3 servers say, sorted into what may pass and what will not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from salvo_core.errors import ObjectMissing, SalvoError, StoreRefused, StoreUnavailable
from salvo_core.store.files import store_error
from salvo_core.store.s3_answers import answer_error, shown_endpoint

PATH = Path("/srv/salvo/runs/x")


@pytest.mark.parametrize(
    ("number", "expected", "hint"),
    [
        (errno.ENOSPC, StoreUnavailable, "free some space"),
        (errno.EDQUOT, StoreUnavailable, "quota"),
        (errno.EIO, StoreUnavailable, "kernel"),
        (errno.EMFILE, StoreUnavailable, "try again"),
        (errno.ESTALE, StoreUnavailable, "try again"),
        (errno.EACCES, StoreRefused, "right to write"),
        (errno.EROFS, StoreRefused, "right to write"),
        (errno.ENOTDIR, StoreRefused, "a file lies where a folder is needed"),
        (errno.EISDIR, StoreRefused, "a folder lies where a file is needed"),
        (errno.ENAMETOOLONG, StoreRefused, "shorter"),
    ],
)
def test_an_error_of_the_disk_names_the_path_and_what_to_do(
    number: int, expected: type[SalvoError], hint: str
) -> None:
    error = store_error(OSError(number, os.strerror(number)), PATH)
    assert type(error) is expected
    assert str(PATH) in error.message
    assert os.strerror(number) in error.message
    assert hint in error.hint
    assert error.exit_code == 69


@pytest.mark.parametrize(
    ("code", "status", "expected", "words"),
    [
        ("NoSuchBucket", 404, StoreRefused, "does not exist"),
        ("NoSuchKey", 404, ObjectMissing, "nothing is stored under the/key"),
        ("404", 404, ObjectMissing, "nothing is stored under the/key"),
        ("AccessDenied", 403, StoreRefused, "may not do that"),
        ("403", 403, StoreRefused, "may not do that"),
        ("InvalidAccessKeyId", 403, StoreRefused, "does not accept the credentials"),
        ("SignatureDoesNotMatch", 403, StoreRefused, "does not accept the credentials"),
        ("ExpiredToken", 400, StoreRefused, "does not accept the credentials"),
        ("Unauthorized", 401, StoreRefused, "does not accept the credentials"),
        ("PermanentRedirect", 301, StoreRefused, "301 PermanentRedirect"),
        ("InvalidArgument", 400, StoreRefused, "400 InvalidArgument"),
        ("NotImplemented", 501, StoreRefused, "501 NotImplemented"),
        ("SlowDown", 503, StoreUnavailable, "503 SlowDown"),
        ("RequestTimeout", 400, StoreUnavailable, "400 RequestTimeout"),
        ("OperationAborted", 409, StoreUnavailable, "409 OperationAborted"),
        ("XMinioStorageFull", 507, StoreUnavailable, "it is full"),
        ("", 500, StoreUnavailable, "500 (no code)"),
        ("two words, and <tags>", 418, StoreRefused, "418 (no code)"),
    ],
)
def test_an_answer_of_a_server_is_sorted_and_says_where(
    code: str, status: int, expected: type[SalvoError], words: str
) -> None:
    error = answer_error(code, status, "PutObject", key="the/key", where="s3://bucket at http://host:9000")
    assert type(error) is expected
    assert words in error.message
    assert "s3://bucket at http://host:9000" in error.message


@pytest.mark.parametrize(
    ("endpoint_url", "shown"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://S3.Example.com/ignored?token=x", "https://s3.example.com"),
        ("http://[::1]:9000/", "http://[::1]:9000"),
    ],
)
def test_an_endpoint_is_shown_as_scheme_host_and_port(endpoint_url: str, shown: str) -> None:
    assert shown_endpoint(endpoint_url) == shown
