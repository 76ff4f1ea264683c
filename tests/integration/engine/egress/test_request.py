import asyncio
from collections.abc import Sequence

import pytest
from tests.integration.engine.egress.name_server import name_server
from tests.integration.engine.egress.web_server import (
    Behave,
    Reader,
    Writer,
    saying,
    tls_contexts,
    web_server,
)

from bulkhead.engine.egress import Egress, HostRefused, open_egress
from bulkhead.engine.egress.address import parse_network
from bulkhead.engine.egress.guard import HostUnreachable, Service
from bulkhead.engine.egress.request import AnswerUnusable, Bounds, Request, send
from bulkhead.engine.errors import Invalid
from bulkhead.engine.settings import Settings

LOOPBACK = open_egress(Settings()).allowed
HERE = Egress(LOOPBACK)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nhi"


async def at_127_0_0_1(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_a_request_arrives_whole_and_its_answer_comes_back() -> None:
    heard = bytearray()

    async def behave(reader: Reader, writer: Writer) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        heard.extend(await reader.readexactly(4))
        writer.write(OK)

    async with web_server(behave) as port:
        url = f"http://127.0.0.1:{port}/a b/\u00fc?q=1&r=\u00fc#part".replace(" ", "%20")
        answer = await send(HERE, Request("post", url, (("x-key", "1"),), b"body"))
    assert (answer.status, answer.body, answer.header("x-a")) == (200, b"hi", "b")
    assert answer.header("x-c") is None
    head = bytes(heard).decode()
    assert head.startswith("POST /a%20b/%C3%BC?q=1&r=%C3%BC HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{port}\r\n" in head.lower()
    assert head.endswith("\r\n\r\nbody")


async def test_a_certificate_is_verified_for_the_name_not_for_the_address() -> None:
    server, client = tls_contexts("hook.example")
    async with web_server(saying(OK), context=server) as port:
        egress = Egress(LOOPBACK, resolve=at_127_0_0_1)
        url = f"https://hook.example:{port}/"
        answer = await send(egress, Request("GET", url), context=client)
        assert answer.status == 200
        for wrong, context in ((f"https://other.example:{port}/", client), (url, None)):
            with pytest.raises(AnswerUnusable, match=r"certificate|mismatch|issuer|self"):
                await send(egress, Request("GET", wrong), context=context)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    asked = 0

    async def secret(reader: Reader, writer: Writer) -> None:
        nonlocal asked
        asked += 1

    async with web_server(secret, address="127.0.0.2") as other:
        head = f"HTTP/1.1 {status} Moved\r\nlocation: http://127.0.0.2:{other}/\r\n"
        answer = saying(f"{head}content-length: 0\r\n\r\n".encode())
        async with web_server(answer) as port:
            found = await send(HERE, Request("GET", f"http://127.0.0.1:{port}/"))
    assert found.status == status
    assert asked == 0


async def test_a_name_that_is_rebound_between_check_and_connection_gains_nothing() -> None:
    """The name server answers with an allowed address first and with a forbidden one ever after."""
    asked = 0

    async def secret(reader: Reader, writer: Writer) -> None:
        nonlocal asked
        asked += 1

    async with web_server(secret) as port, name_server("127.0.0.3", "127.0.0.1") as names:
        egress = Egress((parse_network("127.0.0.3"),), resolve=names.resolve)
        bounds = Bounds(timeout_s=30)
        with pytest.raises((HostUnreachable, AnswerUnusable)):
            await send(egress, Request("GET", f"https://rebinding.example:{port}/"), bounds)
        assert names.asked == ["rebinding.example."]
        assert await names.resolve("rebinding.example", port) == ["127.0.0.1"]
        with pytest.raises(HostRefused):
            await send(egress, Request("GET", f"https://rebinding.example:{port}/"), bounds)
        for service in (Service.POSTGRESQL, Service.MYSQL):
            with pytest.raises(HostRefused):
                await egress.check("rebinding.example", port, service)
    assert asked == 0


async def endless(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_head(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-a: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (endless, "larger than"),
        (endless_head, "not HTTP"),
        (saying(b"SSH-2.0-OpenSSH\r\n\r\n"), "not HTTP"),
        (saying(b""), "not HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi"), "not HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), "not HTTP"),
        (saying(b"HTTP/1.1 100 Continue\r\n\r\n"), "not HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n" + b"x" * 2**21), "larger"),
    ],
)
async def test_an_answer_that_is_none_costs_little(behave: Behave, words: str) -> None:
    async with web_server(behave) as port:
        with pytest.raises(AnswerUnusable, match=words):
            await send(HERE, Request("GET", f"http://127.0.0.1:{port}/"), Bounds(timeout_s=5))


async def test_a_server_that_hangs_costs_the_time_that_was_given() -> None:
    async def hang(reader: Reader, writer: Writer) -> None:
        while await reader.read(100):
            pass

    async with web_server(hang) as port:
        async with asyncio.timeout(30):
            with pytest.raises(AnswerUnusable, match=r"not complete within 0\.3 s"):
                await send(HERE, Request("GET", f"http://127.0.0.1:{port}/"), Bounds(timeout_s=0.3))


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET / HTTP/1.1\r\nx: y", ()),
        ("GET", (("x-a", "b\r\nx-c: d"),)),
        ("GET", (("x a", "b"),)),
        ("GET", (("Host", "other.example"),)),
        ("GET", (("transfer-encoding", "chunked"),)),
    ],
)
async def test_a_request_cannot_be_split(method: str, headers: tuple[tuple[str, str], ...]) -> None:
    heard = asyncio.Event()

    async def behave(reader: Reader, writer: Writer) -> None:
        if await reader.read(1):
            heard.set()

    async with web_server(behave) as port:
        with pytest.raises(Invalid):
            await send(HERE, Request(method, f"http://127.0.0.1:{port}/", headers))
    assert not heard.is_set()
