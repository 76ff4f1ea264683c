"""Storages that do not behave: slow, endless, redirecting, talking nonsense."""

import itertools
import resource
from collections.abc import AsyncIterator, Awaitable, Sequence

import pytest
from tests.integration.engine.drivers.tls_server import make_certificates
from tests.integration.engine.egress.web_server import (
    Behave,
    Reader,
    Writer,
    saying,
    server_context,
    web_server,
)

from bulkhead.capabilities.storage import (
    Bucket,
    Buckets,
    StorageAnswerUnusable,
    StorageConfig,
    StorageCredentialsRefused,
    StorageUnreachable,
)
from bulkhead.capabilities.storage import buckets as opening
from bulkhead.engine.egress import Egress, open_egress
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.settings import Settings

LOOPBACK = open_egress(Settings()).allowed
SECRET = "very-secret-key"  # noqa: S105
MEGABYTES = 2**20


def reply(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def opened(port: int, scheme: str = "http", host: str = "127.0.0.1") -> StorageConfig:
    endpoint = f"{scheme}://{host}:{port}"
    return StorageConfig.s3("pictures", "eu-central-1", "AKIA", SECRET, endpoint=endpoint)


async def pieces() -> AsyncIterator[bytes]:
    yield b"hello"


async def put(bucket: Bucket) -> None:
    await bucket.put("a", pieces(), size_bytes=5, content_type="image/png")


async def ask_all(bucket: Bucket) -> dict[str, BulkheadError]:
    """What each kind of request ends with, of those that fail; any other error fails the test."""
    asks: dict[str, Awaitable[object]] = {
        "put": put(bucket),
        "read": bucket.read("a", 100),
        "head": bucket.head("a"),
        "list": bucket.list("a/"),
        "delete": bucket.delete("a"),
    }
    failures = {}
    for name, ask in asks.items():
        try:
            await ask
        except BulkheadError as error:
            told = f"{error.to_json()} {error!r} {error.__cause__!r}"
            assert SECRET not in told
            assert "<script>" not in told
            failures[name] = error
    return failures


EVERY = {"put", "read", "head", "list", "delete"}
NONSENSE = {
    "no-http": b"\x00\xff\x00 nonsense\r\n\r\n",
    "cut-off": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    "page": reply("418 Teapot", b"<html><script>x</script>" + SECRET.encode()),
    "empty-404": reply("400 Bad Request"),
    "broken-xml": reply("400 Bad Request", b"<Error><Code>\x00\xff"),
    "long-code": reply("400 Bad Request", b"<Code>" + b"x" * 5000 + b"</Code>"),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_is_an_error_of_ours(buckets: Buckets, answer: bytes) -> None:
    async with web_server(saying(answer)) as port:
        failures = await ask_all(await buckets.open(opened(port)))
    assert set(failures) >= {"read", "list"}
    assert all(
        isinstance(it, StorageAnswerUnusable | StorageUnreachable) for it in failures.values()
    )


async def test_a_listing_that_is_no_xml_is_an_error_of_ours(buckets: Buckets) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "cc">]><ListBucketResult>&b;</ListBucketResult>'
    for body in (b"", b"<a><b", b"{}", bomb, b"<ListBucketResult><Contents/></ListBucketResult>"):
        async with web_server(saying(reply("200 OK", body))) as port:
            bucket = await buckets.open(opened(port))
            with pytest.raises(StorageAnswerUnusable):
                await bucket.list("a/")


async def test_a_storage_that_breaks_is_tried_a_few_times(buckets: Buckets) -> None:
    asked = 0

    async def breaking(reader: Reader, writer: Writer) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>"))

    async with web_server(breaking) as port:
        with pytest.raises(StorageUnreachable, match="SlowDown"):
            await put(await buckets.open(opened(port)))
    assert asked == 1 + opening.RETRIES_MAX


async def test_a_storage_that_hangs_is_given_up(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(opening, "REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(opening, "RETRIES_MAX", 1)

    async def hanging(reader: Reader, writer: Writer) -> None:
        await reader.read(-1)

    async with web_server(hanging) as port:
        failures = await ask_all(await buckets.open(opened(port)))
    assert set(failures) == EVERY
    assert all(isinstance(it, StorageUnreachable) for it in failures.values())


async def test_nobody_listens(buckets: Buckets) -> None:
    async with web_server(saying(b"")) as port:
        pass
    failures = await ask_all(await buckets.open(opened(port)))
    assert set(failures) == EVERY
    assert all(isinstance(it, StorageUnreachable) for it in failures.values())


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_leads_nowhere_that_is_not_allowed(buckets: Buckets, status: str) -> None:
    reached: list[bytes] = []

    async def secret_place(reader: Reader, writer: Writer) -> None:
        reached.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply("200 OK", b"metadata", 'etag: "x"'))

    # Another address of loopback stands for one that must not be reached.
    async with web_server(secret_place, address="127.0.0.2") as inside:
        target = f"location: http://127.0.0.2:{inside}/latest/meta-data"
        async with web_server(saying(reply(status, b"", target))) as port:
            narrow = Egress(tuple(it for it in LOOPBACK if it.version == 4))
            async with Buckets(narrow).serving() as opener:
                assert set(await ask_all(await opener.open(opened(port)))) == EVERY
            assert set(await ask_all(await buckets.open(opened(port)))) == EVERY
    assert reached == []


async def test_by_https_a_redirect_is_checked_like_any_host() -> None:
    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1" if host == "bucket.example" else "10.0.0.1"]

    files = make_certificates("bucket.example")
    for target in ("https://inside.example/", "https://169.254.169.254/", "http://127.0.0.1:1/"):
        behave = saying(reply("307 Temporary", b"", f"location: {target}"))
        async with web_server(behave, context=server_context(files)) as port:
            egress = Egress(LOOPBACK, resolve=here)
            async with Buckets(egress, files["ca.crt"]).serving() as opener:
                bucket = await opener.open(opened(port, "https", "bucket.example"))
                assert set(await ask_all(bucket)) == EVERY


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    def endless(head: bytes) -> Behave:
        async def behave(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()

        return behave

    monkeypatch.setattr(opening, "ANSWERS_BYTES_MAX", 8 * MEGABYTES)
    files = make_certificates("bucket.example")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    heads = (b"HTTP/1.1 400 Bad\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n<a>")
    for scheme, head in itertools.product(("https", "http"), heads):
        context = server_context(files) if scheme == "https" else None
        async with (
            web_server(endless(head), context=context) as port,
            Buckets(Egress(LOOPBACK, resolve=here), files["ca.crt"]).serving() as opener,
        ):
            failures = await ask_all(await opener.open(opened(port, scheme, "bucket.example")))
        assert set(failures) >= {"read", "list"}
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 200 * 1024


async def test_an_answer_to_a_put_needs_no_more_than_to_be_one(buckets: Buckets) -> None:
    """A storage that confirms what it did not store is found out by a trial."""
    async with web_server(saying(reply("200 OK", b"", 'etag: "x"'))) as port:
        bucket = await buckets.open(opened(port))
        await put(bucket)
        with pytest.raises(StorageAnswerUnusable):
            await bucket.probe("stores/1")


async def test_a_clock_that_is_wrong_is_told_by_its_code(buckets: Buckets) -> None:
    answer = reply("403 Forbidden", b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
    async with web_server(saying(answer)) as port:
        with pytest.raises(StorageCredentialsRefused, match="RequestTimeTooSkewed"):
            await put(await buckets.open(opened(port)))


async def test_buckets_are_opened_once_and_anew_after_a_while(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await buckets.open(opened(9))
    assert await buckets.open(opened(9)) is first
    assert await buckets.open(opened(10)) is not first
    monkeypatch.setattr(opening, "OPEN_S_MAX", -1.0)
    await buckets.close()
    second = await buckets.open(opened(9))
    assert second is not first
    assert await buckets.open(opened(9)) is not second
    for port in range(100, 100 + opening.OPEN_MAX + 5):
        await buckets.open(opened(port))
    assert len(buckets._open) == opening.OPEN_MAX
