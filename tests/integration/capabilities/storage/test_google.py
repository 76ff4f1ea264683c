"""A bucket of Google Cloud Storage: its API's dialect, and what a key's file may not say."""

import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence

import httpx
import pytest
from tests.integration.capabilities.storage.google_server import GoogleGate, ServiceAccount
from tests.integration.capabilities.storage.s3_server import S3Server, s3_server

from bulkhead.capabilities.storage import (
    Bucket,
    Buckets,
    BucketUnknown,
    ObjectUnknown,
    StorageConfig,
    StorageConfigInvalid,
    StorageCredentialsRefused,
)
from bulkhead.capabilities.storage.bucket import PART_BYTES
from bulkhead.engine.egress import Egress

ACCOUNT = ServiceAccount()
HOSTS = (
    "token_uri",
    "auth_uri",
    "gcs_base_url",
    "universe_domain",
    "client_x509_cert_url",
    "auth_provider_x509_cert_url",
    "token_info_url",
    "service_account_impersonation_url",
)


async def google_is_there(host: str, port: int) -> Sequence[str]:
    return ["142.250.185.91"]


@pytest.fixture
def google() -> Iterator[S3Server]:
    with s3_server(kind=GoogleGate) as server:
        assert isinstance(server.gate, GoogleGate)
        server.gate.accounts[ACCOUNT.email] = ACCOUNT
        server.make_bucket("pictures")
        yield server


def config(google: S3Server, key: str, bucket: str = "pictures") -> StorageConfig:
    """As its owner connects it, but on loopback."""
    return dataclasses.replace(StorageConfig.google(bucket, key), endpoint=google.url)


@pytest.fixture
async def bucket(google: S3Server, buckets: Buckets) -> Bucket:
    return await buckets.open(config(google, ACCOUNT.to_json()))


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 65_536):
        yield body[at : at + 65_536]


@pytest.mark.parametrize("size", [0, 5, 2 * PART_BYTES + 1], ids=str)
async def test_what_is_put_is_read_listed_signed_and_deleted(
    google: S3Server, bucket: Bucket, size: int
) -> None:
    await bucket.probe("stores/1")
    body, key = bytes(range(250)) * (size // 250) + b"x" * (size % 250), "stores/1/Größe 1.png"
    stored = await bucket.put(key, pieces(body), size_bytes=size, content_type="image/png")
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
    assert google.objects("pictures") == {key: body}
    assert await bucket.read(key, size) == body
    assert (await bucket.head(key)).size_bytes == size
    assert [it.key for it in await bucket.list("stores/1")] == [key]
    url = await bucket.sign("GET", key, 60)
    # An address is signed for the one host that Google's storage has.
    async with httpx.AsyncClient(headers={"host": "storage.googleapis.com"}) as http:
        answer = await http.get(url)
        assert (answer.content, answer.headers["content-type"]) == (body, "image/png")
        assert (await http.get(url.replace("Expires=60", "Expires=600"))).status_code == 403
        google.gate.ahead_s = 61
        assert (await http.get(url)).status_code == 403
        google.gate.ahead_s = 0
    await bucket.delete(key)
    await bucket.delete(key)
    assert (google.objects("pictures"), google.uploads("pictures")) == ({}, 0)
    with pytest.raises(ObjectUnknown):
        await bucket.read(key, size)


async def test_what_was_put_at_a_signed_address_is_told_copied_and_read_in_parts(
    google: S3Server, bucket: Bucket
) -> None:
    url = await bucket.sign("PUT", "stores/uploads/1", 60)
    body, told = bytes(PART_BYTES + 1), 'attachment; filename="a.pdf"'
    headers = {"content-type": "application/pdf", "content-disposition": told}
    async with httpx.AsyncClient(headers={"host": "storage.googleapis.com"}) as http:
        assert (await http.put(url, content=body, headers=headers)).status_code == 200
        assert (await http.get(url)).status_code == 403
    await bucket.copy("stores/uploads/1", "stores/1")
    head = await bucket.head("stores/1")
    assert (head.size_bytes, head.content_type, head.disposition) == (
        len(body),
        "application/pdf",
        told,
    )
    assert b"".join([piece async for piece in bucket.pieces(head)]) == body
    assert await bucket.read_head("stores/1", 4) == body[:4]


async def test_another_key_another_account_and_another_bucket_are_told_apart(
    google: S3Server, buckets: Buckets
) -> None:
    forged = ServiceAccount()
    with pytest.raises(StorageCredentialsRefused, match="SignatureDoesNotMatch"):
        await (await buckets.open(config(google, forged.to_json()))).probe("stores/1")
    stranger = ServiceAccount("stranger@project-2.iam.gserviceaccount.com")
    with pytest.raises(StorageCredentialsRefused, match="AccessDenied"):
        await (await buckets.open(config(google, stranger.to_json()))).probe("stores/1")
    missing = config(google, ACCOUNT.to_json(), "nothing-here")
    with pytest.raises(BucketUnknown):
        await (await buckets.open(missing)).probe("stores/1")


async def test_the_file_of_a_key_says_nothing_of_hosts(google: S3Server, buckets: Buckets) -> None:
    evil = dict.fromkeys(HOSTS, "http://169.254.169.254/latest")
    key = json.dumps({**json.loads(ACCOUNT.to_json()), **evil, "disable_oauth": True})
    found = StorageConfig.google("pictures", key)
    assert found.endpoint == "https://storage.googleapis.com"
    assert "169.254" not in found.to_bytes().decode()
    bucket = await buckets.open(config(google, key))
    await bucket.probe("stores/1")
    async with Buckets(Egress(resolve=google_is_there)).serving() as public:
        url = await (await public.open(found)).sign("GET", "a", 60)
    assert url.startswith("https://storage.googleapis.com/pictures/a?")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "x" * 20_000,
        "[" * 10_000,
        '{"type": "authorized_user", "client_id": "x", "refresh_token": "y"}',
        '{"type": "external_account", "credential_source": {"url": "http://169.254.169.254"}}',
        ACCOUNT.to_json(type="external_account"),
        ACCOUNT.to_json(private_key="/etc/passwd"),
        ACCOUNT.to_json(private_key=""),
        ACCOUNT.to_json(client_email="x@169.254.169.254/#"),
        ACCOUNT.to_json(private_key_id="\n"),
    ],
)
def test_what_is_no_key_of_a_service_account_is_refused(text: str) -> None:
    with pytest.raises(StorageConfigInvalid):
        StorageConfig.google("pictures", text)


async def test_a_key_that_cannot_be_read_is_refused_and_not_repeated() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXRoaW5n\n-----END PRIVATE KEY-----\n"
    found = StorageConfig.google("pictures", ACCOUNT.to_json(private_key=pem))
    async with Buckets(Egress(resolve=google_is_there)).serving() as public:
        with pytest.raises(StorageConfigInvalid) as refused:
            await public.open(found)
    assert "c2VjcmV0" not in f"{refused.value!r} {refused.value.__cause__!r} {found!r}"
