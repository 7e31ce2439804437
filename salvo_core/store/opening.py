"""From an address to a store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from salvo_core.errors import UsageError
from salvo_core.store.checked import is_key
from salvo_core.store.files import FileStore
from salvo_core.store.packed import PackedStore

_FORMS = "a store's address is file:///absolute/path or s3://bucket/prefix"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_ADDRESSING = ("auto", "path", "virtual")


def open_store(
    url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    addressing_style: str = "auto",
    pool_size: int = 16,
) -> PackedStore:
    """Return the store at url, packs and all. Nothing is read, written or connected yet.

    Args:
        url: ``file:///absolute/path`` (a percent sign and what follows it is decoded, as in any
            file address) or ``s3://bucket/prefix``.
        endpoint_url: Where another S3 than AWS is; without use for files.
        region: Of the bucket; without use for files.
        addressing_style: ``auto``, ``path`` or ``virtual``; without use for files.
        pool_size: Threads at most, 1 or more.

    Raises:
        UsageError: An argument is none of these. No password in an address is quoted.
    """
    scheme, found, rest = url.partition("://")
    if found and scheme == "file":
        return PackedStore(FileStore(_folder(rest), pool_size=pool_size))
    if found and scheme == "s3":
        # Deferred: boto3 takes longer to import than an embedded run needs to begin.
        from salvo_core.store.s3 import S3Store

        if addressing_style not in _ADDRESSING:
            raise UsageError(
                f"{addressing_style[:40]!r} is not a way to address a bucket",
                hint=f"one of {', '.join(_ADDRESSING)}",
            )
        bucket, prefix = _bucket_and_prefix(rest)
        objects = S3Store(
            bucket,
            prefix,
            endpoint_url=endpoint_url,
            region=region,
            addressing_style=addressing_style,
            pool_size=pool_size,
        )
        return PackedStore(objects)
    raise UsageError("the store's address is not one that Salvo knows", hint=_FORMS)


def _folder(rest: str) -> Path:
    path = Path(unquote(rest.removeprefix("localhost")))
    if not path.is_absolute() or path == Path(path.anchor) or "\0" in str(path):
        raise UsageError(
            "the store's address names no absolute folder", hint=f"{_FORMS}, with three slashes for files"
        )
    return path


def _bucket_and_prefix(rest: str) -> tuple[str, str]:
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(
            "the store's address names no bucket; a bucket has 3 to 255 letters, digits, dots and hyphens",
            hint=f"{_FORMS}; credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if prefix and not is_key(prefix):
        raise UsageError(
            "the prefix in the store's address has characters that Salvo does not use in names",
            hint="use letters, digits, hyphens and single slashes",
        )
    return bucket, prefix
