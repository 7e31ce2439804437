"""The S3 store keeps the contract on a real MinIO, and says clearly what MinIO refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from salvo_core.errors import ObjectCorrupt, ObjectMissing, StoreRefused, StoreUnavailable, Unavailable
from salvo_core.store import keys
from salvo_core.store.opening import open_store
from salvo_core.store.protocol import Store
from salvo_core.store.s3 import S3Store
from tests.contracts.store_contract import RUN, StoreContract, folders_of, keys_of
from tests.servers.minio import MinioServer
from tests.servers.process import free_port, start_on_free_port

pytestmark = pytest.mark.servers

READ_ONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::*"]}
    ],
}


@pytest.fixture
async def store(minio: MinioServer, bucket: str) -> AsyncIterator[Store]:
    opened = S3Store(bucket, "team/salvo", endpoint_url=minio.endpoint_url)
    yield opened
    await opened.aclose()


class TestS3Store(StoreContract):
    """The contract."""


async def every_verb(store: Store) -> list[Unavailable]:
    """Return what each verb raised."""
    raised: list[Unavailable] = []
    for attempt in (
        store.put_if_absent("a", b"x"),
        store.put("a", b"x"),
        store.get("a"),
        store.delete("a"),
        store.probe(),
        keys_of(store, ""),
        folders_of(store, ""),
    ):
        with pytest.raises(Unavailable) as caught:
            await attempt
        raised.append(caught.value)
    await store.aclose()
    return raised


async def test_a_store_of_its_address_reads_what_another_wrote(minio: MinioServer, bucket: str) -> None:
    url = f"s3://{bucket}/deep/prefix/"
    one, other = (open_store(url, endpoint_url=minio.endpoint_url, region="us-east-1") for _ in range(2))
    await one.put(keys.plan(RUN), b"plan")
    assert await other.get(keys.plan(RUN)) == b"plan"
    assert one.address == other.address == f"s3://{bucket}/deep/prefix"
    found = minio.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in found] == [f"deep/prefix/{keys.plan(RUN)}"]
    await one.aclose()
    await other.aclose()


async def test_a_neighbour_of_the_prefix_is_not_listed(minio: MinioServer, bucket: str) -> None:
    for key in ("salvo/a", "salvo/", "salvo/.hidden", "salvo2/b", "c"):
        minio.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    store = S3Store(bucket, "salvo", endpoint_url=minio.endpoint_url)
    assert await keys_of(store, "") == ["a"]
    await store.aclose()


async def test_a_bucket_that_does_not_exist_is_named(minio: MinioServer, aws_credentials: None) -> None:
    for raised in await every_verb(S3Store("no-such-bucket", "p", endpoint_url=minio.endpoint_url)):
        assert isinstance(raised, StoreRefused)
        assert "no-such-bucket" in raised.message
        assert minio.endpoint_url in raised.message
        assert "create the bucket" in raised.hint


@pytest.mark.parametrize(
    "wrong", [{"AWS_SECRET_ACCESS_KEY": "wrong-secret-value"}, {"AWS_ACCESS_KEY_ID": "wrong-access-key"}]
)
async def test_wrong_credentials_are_refused_and_not_quoted(
    minio: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    for raised in await every_verb(S3Store(bucket, endpoint_url=minio.endpoint_url)):
        assert isinstance(raised, StoreRefused)
        assert bucket in raised.message
        assert "does not accept the credentials" in raised.message
        said = raised.message + raised.hint
        assert not any(word in said for word in ("wrong-", minio.access_key, minio.secret_key))


async def test_no_credentials_at_all_are_a_refusal(
    minio: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for raised in await every_verb(S3Store(bucket, endpoint_url=minio.endpoint_url)):
        assert isinstance(raised, StoreRefused)
        assert "no usable AWS credentials" in raised.message
        assert "AWS_PROFILE" in raised.hint


async def test_a_reader_may_read_and_is_told_that_it_may_not_write(
    minio: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    minio.client().put_object(Bucket=bucket, Key="a", Body=b"written by somebody else")
    reader = minio.client("sts").assume_role(
        RoleArn="arn:aws:iam::ignored:role/by-minio", RoleSessionName="reader", Policy=json.dumps(READ_ONLY)
    )["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", reader["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", reader["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", reader["SessionToken"])
    store = S3Store(bucket, endpoint_url=minio.endpoint_url)
    assert await store.get("a") == b"written by somebody else"
    assert await keys_of(store, "") == ["a"]
    for attempt in (store.put_if_absent("b", b"x"), store.put("a", b"x"), store.delete("a"), store.probe()):
        with pytest.raises(StoreRefused, match="may not do that") as refused:
            await attempt
        assert bucket in refused.value.message
        assert "s3:PutObject" in refused.value.hint
    assert await store.get("a") == b"written by somebody else"
    await store.aclose()


async def test_an_object_that_changed_behind_its_digest_is_not_returned(
    minio: MinioServer, bucket: str
) -> None:
    store = S3Store(bucket, endpoint_url=minio.endpoint_url)
    await store.put("a", b"as written")
    metadata = minio.client().head_object(Bucket=bucket, Key="a")["Metadata"]
    minio.client().put_object(Bucket=bucket, Key="a", Body=b"as forged", Metadata=metadata)
    with pytest.raises(ObjectCorrupt, match="does not match the digest"):
        await store.get("a")
    await store.aclose()


async def test_a_server_that_is_down_is_unavailable_and_named(aws_credentials: None) -> None:
    endpoint_url = f"http://127.0.0.1:{free_port()}"
    for raised in await every_verb(S3Store("bucket", endpoint_url=endpoint_url, attempts_max=1)):
        assert isinstance(raised, StoreUnavailable)
        assert endpoint_url in raised.message


async def test_a_server_that_was_killed_serves_again_what_it_confirmed(
    no_aws: pytest.MonkeyPatch,
) -> None:
    with start_on_free_port(MinioServer) as minio:
        no_aws.setenv("AWS_ACCESS_KEY_ID", minio.access_key)
        no_aws.setenv("AWS_SECRET_ACCESS_KEY", minio.secret_key)
        minio.client().create_bucket(Bucket="bucket")
        store = S3Store("bucket", endpoint_url=minio.endpoint_url, attempts_max=1)
        assert await store.put_if_absent("a", b"confirmed")
        minio.kill9()
        with pytest.raises(StoreUnavailable):
            await store.get("a")
        minio.start()
        assert await store.get("a") == b"confirmed"
        assert not await store.put_if_absent("a", b"second")
        with pytest.raises(ObjectMissing):
            await store.get("b")
        await store.aclose()
