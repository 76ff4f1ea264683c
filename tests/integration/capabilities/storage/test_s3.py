"""A bucket of a real server of the S3 protocol, which checks every signature."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from tests.integration.capabilities.storage.s3_server import REGION, Keys, S3Server, s3_server
from tests.integration.engine.drivers.tls_server import make_certificates
from tests.integration.engine.egress.web_server import server_context
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.capabilities.storage import (
    Bucket,
    Buckets,
    BucketUnknown,
    Disposition,
    ObjectChanged,
    ObjectMisframed,
    ObjectNameRefused,
    ObjectUnknown,
    StorageAnswerUnusable,
    StorageConfig,
    StorageCredentialsRefused,
    StorageKind,
    StorageUnreachable,
)
from bulkhead.capabilities.storage.bucket import PART_BYTES
from bulkhead.engine.egress import Egress, HostRefused, open_egress
from bulkhead.engine.errors import Invalid
from bulkhead.engine.settings import Settings

LOOPBACK = open_egress(Settings()).allowed


def config(s3: S3Server, keys: Keys | None = None, **other: Any) -> StorageConfig:
    keys = keys or s3.keys
    given: dict[str, Any] = {"bucket": "pictures", "endpoint": s3.url, **other}
    return StorageConfig.s3(
        given["bucket"],
        REGION,
        keys.access_key_id,
        keys.secret,
        endpoint=given["endpoint"],
        session_token=keys.token or "",
        kind=given.get("kind", StorageKind.AWS),
    )


@pytest.fixture
async def bucket(s3: S3Server, buckets: Buckets) -> Bucket:
    return await buckets.open(config(s3))


async def pieces(body: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def put(bucket: Bucket, key: str, body: bytes, **said: Any) -> Any:
    said = {"size_bytes": len(body), "content_type": "image/png", **said}
    return await bucket.put(key, pieces(body), **said)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES], ids=str)
async def test_what_is_put_is_read_listed_signed_and_deleted(
    s3: S3Server, bucket: Bucket, size: int
) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    key = "stores/1/Größe 図 (1)%20&?#.png"
    stored = await put(bucket, key, body, file_name="a.png", disposition=Disposition.INLINE)
    assert (stored.size_bytes, stored.sha256) == (size, hashlib.sha256(body).hexdigest())
    assert s3.objects("pictures") == {key: body}
    assert await bucket.read(key, size) == body
    assert (await bucket.head(key)).size_bytes == size
    assert [(it.key, it.size_bytes) for it in await bucket.list("stores/1/")] == [(key, size)]
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        answer = await http.get(await bucket.sign("GET", key, 60))
    assert (answer.content, answer.headers["content-type"]) == (body, "image/png")
    await bucket.delete(key)
    await bucket.delete(key)
    assert s3.objects("pictures") == {}
    with pytest.raises(ObjectUnknown):
        await bucket.read(key, size)
    with pytest.raises(ObjectUnknown):
        await bucket.head(key)


async def test_a_signed_address_allows_its_method_and_object_alone(
    s3: S3Server, bucket: Bucket
) -> None:
    await put(bucket, "a", b"a")
    await put(bucket, "b", b"b")
    url = await bucket.sign("PUT", "new", 60)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        assert (await http.put(url, content=b"new")).status_code == 200
        assert (await http.get(url)).status_code == 403
        url = await bucket.sign("GET", "a", 60)
        assert (await http.get(url)).status_code == 200
        assert (await http.get(url.replace("/a?", "/b?"))).status_code == 403
        s3.gate.ahead_s = 61
        assert (await http.get(url)).status_code == 403
    assert s3.objects("pictures")["new"] == b"new"
    for seconds in (0, -5, 7 * 86400 + 1):
        with pytest.raises(Invalid):
            await bucket.sign("GET", "a", seconds)


async def test_what_is_said_of_an_object_is_told(s3: S3Server, bucket: Bucket) -> None:
    digest = hashlib.sha256(b"hello").hexdigest()
    await put(bucket, "a", b"hello", file_name="a.png", sha256=digest)
    head = await bucket.head("a")
    assert (head.key, head.size_bytes, head.sha256) == ("a", 5, digest)
    assert (head.content_type, head.etag) == ("image/png", f'"{hashlib.md5(b"hello").hexdigest()}"')  # noqa: S324
    assert head.disposition.startswith('attachment; filename="a.png"')
    assert await bucket.read_head("a", 2) == b"he"
    assert await bucket.read_head("a", 100) == b"hello"


async def test_the_storage_copies_an_object_with_all_that_is_said_of_it(
    s3: S3Server, bucket: Bucket
) -> None:
    await put(bucket, "a/1", b"hello", content_type="image/gif", file_name="a.gif")
    await bucket.copy("a/1", "b/1")
    assert s3.objects("pictures") == {"a/1": b"hello", "b/1": b"hello"}
    one, other = await bucket.head("a/1"), await bucket.head("b/1")
    assert (one.content_type, one.disposition) == (other.content_type, other.disposition)
    assert ("PUT", "/pictures/b/1") in s3.gate.requests, "its bytes came from nowhere else"
    with pytest.raises(ObjectUnknown):
        await bucket.copy("nothing", "c")
    with pytest.raises(ObjectNameRefused):
        await bucket.copy("a/1", "../c")


async def test_what_is_replaced_while_it_is_read_does_not_mix(bucket: Bucket) -> None:
    body = bytes(2 * PART_BYTES + 1)
    await put(bucket, "a", body)
    head = await bucket.head("a")
    assert b"".join([piece async for piece in bucket.pieces(head)]) == body
    read = bucket.pieces(head)
    assert len(await anext(read)) == PART_BYTES
    await put(bucket, "a", b"x" * len(body))
    with pytest.raises(ObjectChanged):
        await anext(read)


async def test_lists_come_in_pages(bucket: Bucket) -> None:
    for name in ("x/1", "x/2", "x/3", "xy/4", "y"):
        await put(bucket, name, b"1")
    page = await bucket.list("x/", limit=2)
    assert [it.key for it in page] == ["x/1", "x/2"]
    assert [it.key for it in await bucket.list("x/", after="x/2", limit=2)] == ["x/3"]
    assert await bucket.list("x/", after="x/3") == []
    assert await bucket.list("nothing/") == []
    with pytest.raises(Invalid):
        await bucket.list("x/", limit=1001)


@pytest.mark.parametrize(
    ("size", "declared"),
    [(10, 9), (9, 10), (0, 1), (3 * PART_BYTES, 2 * PART_BYTES), (2 * PART_BYTES, 3 * PART_BYTES)],
)
async def test_a_body_of_another_length_leaves_nothing(
    s3: S3Server, bucket: Bucket, size: int, declared: int
) -> None:
    with pytest.raises(ObjectMisframed):
        await put(bucket, "a", b"x" * size, size_bytes=declared)
    assert (s3.objects("pictures"), s3.uploads("pictures")) == ({}, 0)


async def test_a_body_that_fails_leaves_nothing_and_says_why(s3: S3Server, bucket: Bucket) -> None:
    class TornError(Exception):
        pass

    async def torn(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 65_536):
            yield b"x" * 65_536
        raise TornError

    for size in (100_000, 2 * PART_BYTES):
        with pytest.raises(TornError):
            await bucket.put("a", torn(size), size_bytes=size + 1, content_type="image/png")
    assert (s3.objects("pictures"), s3.uploads("pictures")) == ({}, 0)


async def test_a_larger_object_than_expected_is_not_read(bucket: Bucket) -> None:
    await put(bucket, "a", b"x" * 100_000)
    with pytest.raises(StorageAnswerUnusable):
        await bucket.read("a", 99_999)


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "a/../b", "./a", "..", "a\0b", "a\nb", "a\\b", "ü" * 513]
)
async def test_a_key_that_others_read_differently_is_refused(
    s3: S3Server, bucket: Bucket, key: str
) -> None:
    with pytest.raises(ObjectNameRefused):
        await put(bucket, key, b"x")
    with pytest.raises(ObjectNameRefused):
        await bucket.read(key, 1)
    with pytest.raises(ObjectNameRefused):
        await bucket.delete(key)
    with pytest.raises(ObjectNameRefused):
        await bucket.sign("GET", key, 60)
    assert s3.gate.requests == []


async def test_a_trial_needs_all_that_is_needed_and_leaves_nothing(
    s3: S3Server, buckets: Buckets
) -> None:
    await (await buckets.open(config(s3))).probe("stores/1")
    assert [method for method, _ in s3.gate.requests] == ["PUT", "GET", "DELETE"]
    for missing in ("PUT", "GET", "DELETE"):
        methods = frozenset({"PUT", "GET", "DELETE"} - {missing})
        keys = s3.add_user(Keys(f"AKIANO{missing}", "x", methods))
        with pytest.raises(StorageCredentialsRefused, match="AccessDenied"):
            await (await buckets.open(config(s3, keys))).probe("stores/1")
    assert len(s3.objects("pictures")) == 1, "what may not be deleted stays"


async def test_wrong_keys_and_buckets_are_told_apart_and_nothing_is_repeated(
    s3: S3Server, buckets: Buckets
) -> None:
    owner = s3.keys
    needs_token = s3.add_user(Keys("AKIATOKEN", "secret-three", token="right"))  # noqa: S106
    cases = [
        (Keys(owner.access_key_id, "secret-one"), "pictures", "SignatureDoesNotMatch"),
        (Keys("AKIANOBODY", "secret-two"), "pictures", "InvalidAccessKeyId"),
        (Keys("AKIATOKEN", "secret-three"), "pictures", "InvalidToken"),
        (Keys("AKIATOKEN", "secret-three", token="secret-four"), "pictures", "InvalidToken"),  # noqa: S106
    ]
    for keys, name, code in cases:
        with pytest.raises(StorageCredentialsRefused, match=code) as refused:
            await (await buckets.open(config(s3, keys, bucket=name))).probe("stores/1")
        told = f"{refused.value.to_json()} {refused.value!r} {refused.value.__cause__!r}"
        assert "secret-" not in told
    with pytest.raises(BucketUnknown):
        await (await buckets.open(config(s3, bucket="nothing-here"))).probe("stores/1")
    await (await buckets.open(config(s3, needs_token))).probe("stores/1")


async def test_secrets_of_a_connection_are_in_no_representation(s3: S3Server) -> None:
    keys = Keys("AKIATOKEN", "secret-one", token="secret-two")  # noqa: S106
    found = config(s3, keys)
    assert "secret-" not in f"{found!r} {found.shown}"
    assert StorageConfig.from_bytes(found.to_bytes()) == found


async def test_supabase_is_reached_by_its_path(s3: S3Server, buckets: Buckets) -> None:
    """The S3 protocol of Supabase Storage stands below a path, and signatures cover it."""
    endpoint = f"{s3.url}/storage/v1/s3"
    s3.gate.prefix = "/storage/v1/s3"
    bucket = await buckets.open(config(s3, endpoint=endpoint, kind=StorageKind.SUPABASE))
    await bucket.probe("stores/1")
    await put(bucket, "a b", b"x" * (PART_BYTES + 5))
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        answer = await http.get(await bucket.sign("GET", "a b", 60))
    assert len(answer.content) == PART_BYTES + 5
    assert all(path.startswith("/storage/v1/s3/pictures") for _, path in s3.gate.requests)


async def test_by_https_the_certificate_must_be_right() -> None:
    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    files = make_certificates("bucket.example")
    with s3_server(server_context(files)) as s3:
        s3.make_bucket("pictures")
        port = s3.url.rpartition(":")[2]
        egress = Egress(LOOPBACK, resolve=here)
        trusted = config(s3, endpoint=f"https://bucket.example:{port}")
        async with Buckets(egress, files["ca.crt"]).serving() as buckets:
            bucket = await buckets.open(trusted)
            await bucket.probe("stores/1")
            await put(bucket, "large", b"x" * (3 * PART_BYTES))
            assert await bucket.sign("GET", "large", 60) != ""
            other = config(s3, endpoint=f"https://other.example:{port}")
            with pytest.raises(StorageUnreachable):
                await (await buckets.open(other)).probe("stores/1")
        async with Buckets(egress).serving() as buckets:
            with pytest.raises(StorageUnreachable):
                await (await buckets.open(trusted)).probe("stores/1")


async def test_a_name_that_leads_elsewhere_later_is_not_followed() -> None:
    answers = iter(["127.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1"])

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return [next(answers, "10.0.0.1")]

    files = make_certificates("bucket.example")
    with s3_server(server_context(files)) as s3:
        s3.make_bucket("pictures")
        port = s3.url.rpartition(":")[2]
        found = config(s3, endpoint=f"https://bucket.example:{port}")
        async with Buckets(Egress(LOOPBACK, resolve=rebinding), files["ca.crt"]).serving() as it:
            bucket = await it.open(found)
            with pytest.raises(StorageUnreachable):
                await bucket.probe("stores/1")
        assert s3.gate.requests == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "https://169.254.169.254/latest",
        "https://10.0.0.1",
        "https://[::ffff:10.0.0.1]",
        "https://2130706433",
        "https://0x7f000001",
        "https://localhost",
        "http://s3.amazonaws.com",
        "https://metadata.google.internal",
    ],
)
async def test_a_host_inside_is_refused(endpoint: str) -> None:
    async def inside(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1" if host != "s3.amazonaws.com" else "52.216.0.1"]

    keys = Keys("AKIA", "x")
    async with Buckets(Egress(resolve=inside)).serving() as buckets:
        with pytest.raises(HostRefused):
            await buckets.open(
                StorageConfig.s3("pictures", REGION, "AKIA", keys.secret, endpoint=endpoint)
            )


async def test_the_platforms_own_environment_is_not_for_customers(
    s3: S3Server, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_SESSION_TOKEN": "platform-token",
        "AWS_ACCESS_KEY_ID": "PLATFORM",
        "AWS_SECRET_ACCESS_KEY": "platform-secret",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/platform",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_REQUEST_PAYER": "true",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    await (await buckets.open(config(s3))).probe("stores/1")
    assert s3.gate.headers
    assert "platform" not in str(s3.gate.headers).lower()
