"""Objects in a bucket: AWS S3, MinIO and whatever else speaks S3. The only module that knows boto3.

**Conditional writes.** ``put_if_absent`` asks the store to refuse a taken name
(``If-None-Match: *``). Stores that say they cannot are remembered for the life of the
process and asked first (HEAD, then PUT), which two writers at once can slip through; stores
that ignore the header overwrite, and only ``probe`` finds that out. Salvo stays right on
all of them: the manifest's fencing token decides who won and every attempt has a name of
its own; the conditional write is a second defence, never the only one.

**Lost replies.** A retry after a reply that was lost meets our own object, and the answer is
"taken". Under a name that only this writer uses (a trace's holds the attempt), False
therefore means "it is there" all the same, and nothing more needs to be compared.

**Checksums.** botocore's default since 1.36 (a CRC on every request) breaks some
third-party stores, so it is switched off; instead each object carries its sha256 in its
metadata and ``get`` checks it.

Source:
    Amazon S3 User Guide, "Conditional writes": 412 the name is taken, 409 a concurrent
    request was in the way, ask again. MinIO before RELEASE.2024-05-07 answers 404 or 304.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

import boto3
from botocore import exceptions as boto_errors
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from salvo_core.errors import ObjectMissing, SalvoError, StoreRefused, StoreUnavailable
from salvo_core.identity import digest
from salvo_core.store.checked import (
    is_key,
    probe_by_trying,
    require_digest,
    require_key,
    require_part,
    require_prefix,
    require_reached,
    require_readable,
    require_storable,
)
from salvo_core.store.protocol import Probe
from salvo_core.store.s3_answers import answer_error, shown_endpoint
from salvo_core.store.threads import Threads

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 30  # without a byte, not for a whole object
_PAUSE_S_MAX = 2.0
_DIGEST_METADATA = "sha256"

_UNREACHABLE = (boto_errors.ConnectionError, boto_errors.HTTPClientError)
_BROKEN_OFF = (
    boto_errors.IncompleteReadError,
    boto_errors.ReadTimeoutError,
    boto_errors.ResponseStreamingError,
)
_NO_CREDENTIALS = (
    boto_errors.CredentialRetrievalError,
    boto_errors.NoAuthTokenError,
    boto_errors.NoCredentialsError,
    boto_errors.PartialCredentialsError,
    boto_errors.ProfileNotFound,
    boto_errors.SSOError,
    boto_errors.TokenRetrievalError,
)
_TAKEN = {304, 412}
_IN_THE_WAY = 409
_NO_SUCH_PART = 416


class S3Store:
    """Keeps the promises of ``Store`` in a bucket, below an optional prefix.

    Credentials come the AWS way (environment, profile, instance role) and never pass through
    Salvo. Nothing is connected or read before the first call.

    Args:
        bucket: Must exist; Salvo makes no buckets.
        prefix: What all keys begin with, without slashes at its ends; may be empty.
        endpoint_url: Where another store than AWS is, ``http://host:9000``.
        region: None leaves it to the AWS configuration, then ``us-east-1``.
        addressing_style: ``auto`` (the bucket in the path where an endpoint is given, in the
            host name on AWS), ``path`` or ``virtual``.
        pool_size: Threads and connections at most, 1 or more.
        attempts_max: Tries of one request, 1 or more, with growing pauses in between.

    Raises:
        UsageError: The endpoint is not an http or https address, or has a password in it.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        addressing_style: str = "auto",
        pool_size: int = 16,
        attempts_max: int = 4,
    ) -> None:
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self._endpoint_url = endpoint_url
        self._where = f"{self.address} at {shown_endpoint(endpoint_url) if endpoint_url else 'AWS'}"
        self._region = region
        self._attempts_max = attempts_max
        self._config = Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            max_pool_connections=pool_size,
            retries={"mode": "standard", "total_max_attempts": attempts_max},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": addressing_style},
        )
        self._threads = Threads(pool_size, "salvo-s3")
        self._connecting = Lock()
        self._connected: Any = None
        self._conditional = True

    async def put_if_absent(self, key: str, body: bytes) -> bool:
        """See ``Store.put_if_absent``, and this module's docstring for stores that cannot."""
        require_storable(require_key(key), body)
        return await self._threads.run(partial(self._put_if_absent, key, body))

    async def put(self, key: str, body: bytes) -> None:
        """See ``Store.put``."""
        require_storable(require_key(key), body)
        await self._threads.run(partial(self._put, key, body))

    async def get(self, key: str) -> bytes:
        """See ``Store.get``.

        Raises:
            ObjectMissing: Nothing is there.
            ObjectCorrupt: The bytes do not match the digest stored with them, or are too many.
        """
        return await self._threads.run(partial(self._get, require_key(key)))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ``Store.get_range``. Where a server ignores the range, the whole is cut to it here."""
        require_part(start, length)
        return await self._threads.run(partial(self._get_range, require_key(key), start, length))

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list``. One request per thousand keys; objects that are not Salvo's are left out."""
        async for key in self._threads.each(self._keys(require_prefix(prefix))):
            yield key

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See ``Store.list_folders``. One request per thousand folders."""
        async for name in self._threads.each(self._folders(require_prefix(prefix))):
            yield name

    async def delete(self, key: str) -> None:
        """See ``Store.delete``. In a versioned bucket the old version stays."""
        await self._threads.run(partial(self._delete, require_key(key)))

    async def probe(self) -> Probe:
        """See ``Store.probe``. A store found to overwrite is asked first from now on."""
        found = await probe_by_trying(self)
        self._conditional = self._conditional and found.conditional_writes
        return replace(found, conditional_writes=self._conditional)

    async def aclose(self) -> None:
        """See ``Store.aclose``. Requests in hand are completed first."""
        await self._threads.aclose()
        if self._connected is not None:
            self._connected.close()

    def _client(self) -> Any:
        # In the pool and on first use: reading profiles and asking an instance for its role blocks.
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect()
        return self._connected

    def _connect(self) -> Any:
        try:
            session = boto3.session.Session(region_name=self._region)
            return session.client(
                "s3",
                endpoint_url=self._endpoint_url,
                region_name=session.region_name or "us-east-1",
                config=self._config,
            )
        except ValueError as unusable:
            raise StoreRefused(
                f"no request can be made to {self._where}: the endpoint or the region is not a valid name",
                hint="a host name has letters, digits, dots and hyphens, and no underscore",
            ) from unusable

    def _request(self, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
        with self._translated(key):
            return self._send(operation, key, **parameters)

    def _send(self, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
        send = getattr(self._client(), operation)
        answer: dict[str, Any] = send(Bucket=self._bucket, Key=self._base + key, **parameters)
        return answer

    def _put(self, key: str, body: bytes) -> None:
        self._request("put_object", key, Body=body, Metadata={_DIGEST_METADATA: digest(body)})

    def _put_if_absent(self, key: str, body: bytes) -> bool:
        if self._conditional:
            placed = self._put_conditionally(key, body)
            if placed is not None:
                return placed
            self._conditional = False
        if self._exists(key):
            return False
        self._put(key, body)
        return True

    def _put_conditionally(self, key: str, body: bytes) -> bool | None:
        """Return whether this call wrote the object, or None if the store knows no conditional write."""
        metadata = {_DIGEST_METADATA: digest(body)}
        for pause_s in _pauses_s(self._attempts_max):
            try:
                with self._translated(key, but=_is_about_the_condition):
                    self._send("put_object", key, Body=body, Metadata=metadata, IfNoneMatch="*")
                return True
            except ClientError as answer:
                if _status(answer) in _TAKEN:
                    return False
                if _status(answer) != _IN_THE_WAY:
                    return None
                time.sleep(pause_s)
        raise StoreUnavailable(
            f"{self._where} answered {self._attempts_max} times that another request for {key} is in the way",
            hint="try again",
        )

    def _exists(self, key: str) -> bool:
        try:
            self._request("head_object", key)
        except ObjectMissing:
            return False
        return True

    def _get(self, key: str) -> bytes:
        with self._translated(key):
            answer, body = self._received(key)
        expected = answer.get("Metadata", {}).get(_DIGEST_METADATA)
        if expected is not None:
            require_digest(key, body, expected)
        return body

    def _get_range(self, key: str, start: int, length: int) -> bytes:
        try:
            with self._translated(key, but=lambda answer: _status(answer) == _NO_SUCH_PART):
                answer, part = self._received(key, Range=f"bytes={start}-{start + length - 1}")
        except ClientError:
            return require_reached(key, b"", start, length)
        if "ContentRange" not in answer:
            part = part[start : start + length]
        return require_reached(key, part, start, length)

    def _received(self, key: str, **parameters: Any) -> tuple[dict[str, Any], bytes]:
        """Return an answer and its whole body."""
        for pause_s in _pauses_s(self._attempts_max):
            # botocore repeats a request that fails; a body that breaks off is left to us.
            answer = self._send("get_object", key, **parameters)
            require_readable(key, answer.get("ContentLength", 0))
            try:
                return answer, answer["Body"].read()
            except _BROKEN_OFF:
                time.sleep(pause_s)
        raise StoreUnavailable(
            f"{self._where} broke off {self._attempts_max} times while sending {key}",
            hint="check the network and any proxy in between, then try again",
        )

    def _delete(self, key: str) -> None:
        try:
            self._request("delete_object", key)
        except ObjectMissing:  # AWS says nothing here; some other stores do
            return

    def _keys(self, prefix: str) -> Iterator[str]:
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._base)
                if is_key(key):
                    yield key

    def _folders(self, prefix: str) -> Iterator[str]:
        for page in self._pages(prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                folder = entry["Prefix"].removeprefix(self._base).removesuffix("/")
                if is_key(folder):
                    yield folder.rpartition("/")[2]

    def _pages(self, prefix: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        with self._translated(prefix):
            pages = self._client().get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self._bucket, Prefix=self._base + prefix, **parameters)

    @contextmanager
    def _translated(
        self, key: str, but: Callable[[ClientError], bool] = lambda answer: False
    ) -> Iterator[None]:
        """Turn what boto3 raises into errors of ours, but let through the answers that ``but`` picks.

        Only codes, statuses and names of exceptions are quoted: what a server or a library writes
        may hold a key, a token or a whole request.
        """
        try:
            yield
        except ClientError as answer:
            if but(answer):
                raise
            raise answer_error(
                _code(answer), _status(answer), answer.operation_name, key=key, where=self._where
            ) from answer
        except (BotoCoreError, ResponseParserError, ValueError) as failure:
            # ValueError: a number or a date in the answer is none.
            raise _failure_error(failure, self._where) from failure


def _failure_error(failure: Exception, where: str) -> SalvoError:
    """Return our error for a request that got no answer."""
    name = type(failure).__name__
    if isinstance(failure, boto_errors.SSLError):
        return StoreRefused(
            f"the TLS certificate of {where} was not accepted",
            hint="set AWS_CA_BUNDLE to the file of your certificate authority, or correct the endpoint",
        )
    if isinstance(failure, _UNREACHABLE):
        return StoreUnavailable(
            f"cannot reach {where} ({name})",
            hint="check that the server runs and that SALVO_S3_ENDPOINT_URL is its address",
        )
    if isinstance(failure, (ResponseParserError, ValueError)):
        return StoreUnavailable(
            f"{where} answered something that is not S3",
            hint="check that SALVO_S3_ENDPOINT_URL is the S3 address, not a console or a login page",
        )
    if isinstance(failure, _NO_CREDENTIALS):
        return StoreRefused(
            f"no usable AWS credentials for {where} ({name})",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role",
        )
    return StoreRefused(
        f"the request to {where} could not be made ({name})",
        hint="check the bucket, the region and the endpoint in `salvo config`, and the AWS configuration",
    )


def _code(answer: ClientError) -> str:
    return str(answer.response.get("Error", {}).get("Code", ""))


def _status(answer: ClientError) -> int:
    status: int = answer.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def _is_about_the_condition(answer: ClientError) -> bool:
    """Tell whether an answer to a conditional write speaks of the condition, not of the write."""
    status, code = _status(answer), _code(answer)
    if status in {*_TAKEN, _IN_THE_WAY, 501} or code == "NotImplemented":
        return True
    return status == 404 and code != "NoSuchBucket"  # an old MinIO, about a name that is free


def _pauses_s(attempts_max: int) -> Iterator[float]:
    """Yield how long to wait after each failed attempt, seconds: growing, jittered, none after the last."""
    for attempt in range(attempts_max - 1):
        yield random.uniform(0.5, 1.0) * min(0.1 * 2**attempt, _PAUSE_S_MAX)  # noqa: S311 - no secret
    yield 0.0
