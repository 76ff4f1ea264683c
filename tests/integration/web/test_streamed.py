"""Files over a real socket: passed on as they come, bounded, and never blamed on the wrong side."""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from tests.integration.web.raw import RawAnswer, send_raw
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.engine.errors import Conflict
from bulkhead.engine.settings import Settings
from bulkhead.http.bodies import DISCARD_BYTES_MAX, Streamed
from bulkhead.web.server import Mount, WebOptions, create_app
from bulkhead.web.serving import Serving, serving

HASTE_S = 1.0
"""Too long for a slow machine to be taken for a slow sender."""
SIZE_BYTES_MAX = 20_000_000
MEGABYTE = b"x" * 1_000_000
STREAMED = Streamed("POST", re.compile(r"/sample/files/\w+"), SIZE_BYTES_MAX)
router = APIRouter()
seen: list[int] = []
more = asyncio.Event()
gone = asyncio.Event()


@router.post("/files/{how}")
async def take(how: str, request: Request) -> dict[str, int]:
    if how == "refused":
        raise Conflict(reason="no room")
    if how == "asleep":
        await asyncio.sleep(1)
        raise Conflict(reason="asleep")
    size_bytes = 0
    try:
        async for piece in request.stream():
            size_bytes += len(piece)
            seen.append(len(piece))
            more.set()
            if how == "slowly" and len(seen) <= 3:
                await asyncio.sleep(HASTE_S / 2)
    except ClientDisconnect:
        gone.set()
        raise Conflict(reason="the client has left") from None
    return {"size_bytes": size_bytes}


@router.patch("/files/{how}")
async def change(how: str, body: dict[str, int]) -> dict[str, int]:
    return body


MOUNT = Mount("sample", "A sample", [router], streamed=(STREAMED,))


@pytest.fixture(scope="module")
async def web() -> AsyncIterator[Serving]:
    async with serving(create_app([MOUNT], Settings())) as running:
        yield running


@pytest.fixture(scope="module")
async def hasty() -> AsyncIterator[Serving]:
    """The same, but it waits for nobody."""
    app = create_app([MOUNT], Settings(), WebOptions(body_timeout_s=HASTE_S))
    async with serving(app) as running:
        yield running


@pytest.fixture
async def client(web: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.url, verify=TRUSTS_NOBODY) as client:
        yield client


def head(how: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST /sample/files/{how} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def code_of(answer: RawAnswer) -> str:
    found = re.search(r'"code":"(\w+)"', answer.text)
    return found[1] if found else answer.text


async def test_any_media_type_arrives_as_it_was_sent(client: httpx.AsyncClient) -> None:
    for kind in ("image/png", "text/html", "application/json", ""):
        body = b'{"a":1,"a":2}\0\xff'
        headers = {"content-type": kind}
        answer = await client.post("/sample/files/all", content=body, headers=headers)
        assert answer.json() == {"size_bytes": len(body)}


async def test_a_file_is_read_while_it_comes(web: Serving) -> None:
    seen.clear()
    more.clear()
    reader, writer = await asyncio.open_connection(web.host, web.port)
    writer.write(head("all", "Content-Length: 10", "Connection: close") + b"hello")
    async with asyncio.timeout(5):
        await more.wait()
        assert sum(seen) == 5
        writer.write(b"world")
        assert b'{"size_bytes":10}' in await reader.read()
    writer.close()


async def test_who_does_not_read_stops_who_sends(web: Serving) -> None:
    """The file waits with its sender, not in memory."""
    pieces = [MEGABYTE] * 18
    answer = await send_raw(web, head("asleep", "Content-Length: 18000000"), *pieces)
    assert answer.sent_bytes < 12_000_000, "what the sockets hold, and no more"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([f"Content-Length: {SIZE_BYTES_MAX + 1}"], "body_too_large"),
        (["Transfer-Encoding: chunked"], "body_unmeasured"),
        (["Content-Length: 5", "Content-Encoding: gzip"], "content_encoding_unsupported"),
    ],
)
async def test_what_is_not_taken_is_refused_before_it_is_sent(
    web: Serving, lines: list[str], code: str
) -> None:
    seen.clear()
    answer = await send_raw(web, head("all", *lines, "Expect: 100-continue"))
    assert code_of(answer) == code
    assert "100 Continue" not in answer.text
    assert seen == []


async def test_who_stops_sending_is_told_so(hasty: Serving) -> None:
    answer = await send_raw(hasty, head("all", "Content-Length: 10") + b"hello")
    assert (answer.status, code_of(answer)) == (408, "body_too_slow")


async def test_who_reads_slowly_does_not_blame_who_sends(hasty: Serving) -> None:
    seen.clear()
    async with httpx.AsyncClient(base_url=hasty.url, verify=TRUSTS_NOBODY) as client:
        answer = await client.post("/sample/files/slowly", content=MEGABYTE * 4)
    assert answer.json() == {"size_bytes": 4 * len(MEGABYTE)}
    assert len(seen) > 3, "a piece is no more than a buffer holds"


async def test_a_refusal_is_read_by_who_is_still_sending(client: httpx.AsyncClient) -> None:
    for size in (10, 1_000_000):
        answer = await client.post("/sample/files/refused", content=b"x" * size)
        assert answer.json()["code"] == "conflict"
        assert "connection" not in answer.headers, "the rest was read, and the connection is kept"


async def test_of_a_refused_file_that_is_large_the_rest_is_not_read(web: Serving) -> None:
    size = DISCARD_BYTES_MAX * 4
    answer = await send_raw(web, head("refused", f"Content-Length: {size}"), *[MEGABYTE] * 16)
    assert answer.sent_bytes < size
    assert "connection: close" in answer.text.lower() or answer.text == ""


async def test_who_leaves_is_noticed(web: Serving) -> None:
    gone.clear()
    more.clear()
    _, writer = await asyncio.open_connection(web.host, web.port)
    writer.write(head("all", "Content-Length: 1000000") + b"hello")
    async with asyncio.timeout(5):
        await more.wait()
        writer.transport.abort()
        await gone.wait()


async def test_other_requests_to_the_same_address_follow_the_usual_rules(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.patch("/sample/files/all", json={"a": 1})
    assert answer.json() == {"a": 1}
    answer = await client.patch("/sample/files/all", content=b"x")
    assert answer.json()["code"] == "content_type_unsupported"
    answer = await client.post("/sample/files/all/more", content=b"x")
    assert answer.json()["code"] == "content_type_unsupported"
