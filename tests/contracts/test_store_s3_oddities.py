"""The S3 store against answers that MinIO does not give: busy, odd and broken servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from salvo_core.errors import SalvoError, StoreRefused, StoreUnavailable
from salvo_core.store.s3 import S3Store
from tests.contracts.s3_stub import Answer, Request, S3Stub, refusal
from tests.contracts.store_contract import keys_of

SECRET = "the-secret-access-key"


@pytest.fixture(autouse=True)
def credentials(no_aws: pytest.MonkeyPatch) -> None:
    no_aws.setenv("AWS_ACCESS_KEY_ID", "the-access-key-id")
    no_aws.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@asynccontextmanager
async def store_on(
    intercept: Callable[[Request], Answer | None], *, attempts_max: int = 1
) -> AsyncIterator[tuple[S3Store, S3Stub]]:
    async with S3Stub(intercept).listening() as stub:
        store = S3Store("bucket", "base", endpoint_url=stub.url, attempts_max=attempts_max)
        try:
            yield store, stub
        finally:
            await store.aclose()


def is_conditional(request: Request) -> bool:
    return request.method == "PUT" and request.headers.get("if-none-match") == "*"


def first(count: int, answer: Answer) -> Callable[[Request], Answer | None]:
    """Give the answer to that many requests, then none of its own."""
    left = iter(range(count))
    return lambda request: answer if next(left, None) is not None else None


async def test_the_bucket_stands_in_the_path_when_an_endpoint_is_given() -> None:
    async with store_on(lambda request: None) as (store, stub):
        assert await store.put_if_absent("a", b"x")
        assert await store.get("a") == b"x"
    assert {request.path.partition("?")[0] for request in stub.requests} == {"/bucket/base/a"}
    assert "x-amz-checksum-crc32" not in stub.requests[0].headers
    assert len(stub.requests[0].headers["x-amz-meta-sha256"]) == 64


async def test_a_busy_server_is_asked_again() -> None:
    async with store_on(first(2, refusal(503, "SlowDown")), attempts_max=3) as (store, stub):
        assert await store.put_if_absent("a", b"x")
        assert stub.asked("PUT") == 3


@pytest.mark.parametrize(
    "answer",
    [
        refusal(503, "SlowDown"),
        refusal(500, "InternalError"),
        refusal(507, "XMinioStorageFull"),
        refusal(429, "TooManyRequests"),
        refusal(400, "RequestTimeout"),
        Answer(502, b"<html><body>Bad gateway</body></html>", {"content-type": "text/html"}),
        Answer(503, b""),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.body)}",
)
async def test_a_server_that_stays_busy_is_unavailable(answer: Answer) -> None:
    async with store_on(lambda request: answer) as (store, stub):
        for attempt in (
            store.put_if_absent("a", b"x"),
            store.get("a"),
            store.delete("a"),
            keys_of(store, ""),
        ):
            with pytest.raises(StoreUnavailable) as raised:
                await attempt
            assert stub.url in raised.value.message
            assert str(answer.status) in raised.value.message


@pytest.mark.parametrize(
    "page",
    [
        b"<!doctype html><title>Sign in<br></title>",
        b"half an <Answer",
        b"<Error><Code>InternalError</Code></Error>",
        b"<ListBucketResult><MaxKeys>many</MaxKeys></ListBucketResult>",
        b"<ListBucketResult><Contents><LastModified>soon</LastModified></Contents></ListBucketResult>",
    ],
)
async def test_an_answer_that_makes_no_sense_is_not_taken_for_an_empty_list(page: bytes) -> None:
    async with store_on(lambda request: Answer(200, page)) as (store, stub):
        with pytest.raises(StoreUnavailable) as raised:
            await keys_of(store, "")
        assert stub.url in raised.value.message
        assert "SALVO_S3_ENDPOINT_URL" in raised.value.hint


@pytest.mark.parametrize("answer", [refusal(412, "PreconditionFailed"), Answer(412), Answer(304)])
async def test_a_taken_name_is_no_error_whatever_the_server_calls_it(answer: Answer) -> None:
    async with store_on(lambda request: answer) as (store, stub):
        assert not await store.put_if_absent("a", b"x")
        assert len(stub.requests) == 1


async def test_a_conflict_is_asked_again_and_then_decided() -> None:
    conflict = refusal(409, "ConditionalRequestConflict")
    async with store_on(first(2, conflict), attempts_max=3) as (store, stub):
        assert await store.put_if_absent("a", b"x")
        assert stub.asked("PUT") == 3
    async with store_on(lambda request: conflict, attempts_max=3) as (store, stub):
        with pytest.raises(StoreUnavailable, match="in the way"):
            await store.put_if_absent("a", b"x")
        assert stub.asked("PUT") == 3


@pytest.mark.parametrize(
    "answer",
    [refusal(501, "NotImplemented"), refusal(400, "NotImplemented"), refusal(404, "NoSuchKey"), Answer(501)],
    ids=["501", "400", "404", "501 without a body"],
)
async def test_a_server_without_conditional_writes_is_asked_first_from_then_on(answer: Answer) -> None:
    async with store_on(lambda request: answer if is_conditional(request) else None) as (store, stub):
        assert await store.put_if_absent("a", b"first")
        assert not await store.put_if_absent("a", b"second")
        assert await store.put_if_absent("b", b"first")
        assert await store.get("a") == b"first"
        assert sum(is_conditional(request) for request in stub.requests) == 1
        assert not (await store.probe()).conditional_writes


async def test_a_bucket_missing_is_not_mistaken_for_a_missing_feature() -> None:
    async with store_on(lambda request: refusal(404, "NoSuchBucket")) as (store, stub):
        with pytest.raises(StoreRefused, match="does not exist"):
            await store.put_if_absent("a", b"x")
        assert len(stub.requests) == 1


async def test_a_server_that_ignores_the_condition_is_found_out_by_a_probe() -> None:
    async with store_on(lambda request: None) as (store, stub):
        found = await store.probe()
        assert (found.wrote, found.read_back, found.conditional_writes) == (True, True, False)
        assert stub.objects == {}
        assert await store.put_if_absent("a", b"first")
        assert not await store.put_if_absent("a", b"second")
        assert await store.get("a") == b"first"


async def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    broken: list[Request] = []

    def cut_twice(request: Request) -> Answer | None:
        if request.method != "GET" or len(broken) == 2:
            return None
        broken.append(request)
        return Answer(200, b"x" * 100_000, cut_after=50_000)

    async with store_on(cut_twice, attempts_max=3) as (store, stub):
        await store.put("a", b"x" * 100_000)
        assert await store.get("a") == b"x" * 100_000
        assert stub.asked("GET") == 3
        broken.clear()
        short = S3Store("bucket", "base", endpoint_url=stub.url, attempts_max=2)
        with pytest.raises(StoreUnavailable, match="broke off 2 times"):
            await short.get("a")
        await short.aclose()


async def test_an_object_without_our_digest_is_read_as_it_is() -> None:
    async with store_on(lambda request: Answer(200, b"foreign") if request.method == "GET" else None) as (
        store,
        _,
    ):
        assert await store.get("a") == b"foreign"


async def test_deleting_what_is_not_there_is_no_error_where_the_server_says_404() -> None:
    async with store_on(lambda request: refusal(404, "NoSuchKey")) as (store, _):
        await store.delete("a")


async def test_what_the_server_says_is_not_repeated() -> None:
    def echo(request: Request) -> Answer:
        secret = f"{SECRET} {request.headers['authorization']}"
        return Answer(403, f"<Error><Code>{secret}</Code><Message>{secret}</Message></Error>".encode())

    async with store_on(echo) as (store, _):
        for attempt in (store.put_if_absent("a", b"x"), store.get("a"), keys_of(store, "")):
            with pytest.raises(SalvoError) as raised:
                await attempt
            said = f"{raised.value} {raised.value.hint} {raised.value!r}"
            assert SECRET not in said
            assert "Signature" not in said
            assert "the-access-key-id" not in said


async def test_the_loop_stays_free_while_a_server_is_slow() -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(S3Stub):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            await super()._serve(reader, writer)

    async with Slow(lambda request: None).listening() as stub:
        store = S3Store("bucket", endpoint_url=stub.url, pool_size=2, attempts_max=1)
        writes = [asyncio.create_task(store.put(f"key{index}", b"x")) for index in range(8)]
        ticked = loop.create_future()
        loop.call_later(0, ticked.set_result, None)
        await ticked
        assert not any(write.done() for write in writes)
        release.set()
        await asyncio.gather(*writes)
        assert len(stub.objects) == 8
        await store.aclose()


async def test_an_endpoint_with_an_underscore_is_refused_with_the_reason() -> None:
    store = S3Store("bucket", endpoint_url="http://my_minio:9000")
    with pytest.raises(StoreRefused, match="http://my_minio:9000") as raised:
        await store.get("a")
    assert "underscore" in raised.value.hint
    await store.aclose()


async def test_a_profile_that_does_not_exist_is_a_matter_of_credentials(no_aws: pytest.MonkeyPatch) -> None:
    no_aws.setenv("AWS_PROFILE", "nobody")
    store = S3Store("bucket", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(StoreRefused, match="no usable AWS credentials"):
        await store.get("a")
    await store.aclose()
