"""Clients that look names up by themselves go through the proxy, and no further than it allows."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import httpx
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

from bulkhead.engine.egress import Egress, open_egress
from bulkhead.engine.egress.proxy import EgressProxy
from bulkhead.engine.settings import Settings

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"
LOOPBACK = open_egress(Settings()).allowed


async def at_127_0_0_1(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_a_client_reaches_what_is_allowed_with_tls_from_end_to_end() -> None:
    server, client = tls_contexts("bucket.example")
    egress = Egress(LOOPBACK, resolve=at_127_0_0_1)
    async with web_server(saying(OK), context=server) as port, EgressProxy(egress).serving() as it:
        async with httpx.AsyncClient(proxy=it.url, verify=client) as http:
            assert (await http.get(f"https://bucket.example:{port}/")).text == "hi"
        async with httpx.AsyncClient(proxy=it.url) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"https://bucket.example:{port}/")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "0",
        "127.1",
        "2130706433",
        "0x7f.1",
        "inside.example",
    ],
)
async def test_a_client_is_kept_from_everything_else(host: str) -> None:
    async def inside(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1"]

    async with EgressProxy(Egress(resolve=inside)).serving() as proxy:
        assert (await _ask(proxy, f"CONNECT {host}:443 HTTP/1.1")).startswith(b"HTTP/1.1 403")


async def test_a_name_is_looked_up_by_the_proxy_alone() -> None:
    async with name_server("10.0.0.1", "127.0.0.1") as names:
        egress = Egress(LOOPBACK, resolve=names.resolve)
        async with EgressProxy(egress).serving() as proxy:
            answer = await _ask(proxy, "CONNECT rebinding.example:443 HTTP/1.1")
        assert answer.startswith(b"HTTP/1.1 403")
        assert names.asked == ["rebinding.example."]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://public.example/ HTTP/1.1", b"403"),
        ("GET http://public.example:443/ HTTP/1.1", b"403"),
        ("GET http://user@127.0.0.1/ HTTP/1.1", b"403"),
        ("GET https://public.example/ HTTP/1.1", b"405"),
        ("GET ftp://public.example/ HTTP/1.1", b"405"),
        ("GET / HTTP/1.1", b"405"),
        ("OPTIONS http://public.example/ HTTP/1.1", b"405"),
        ("CONNECT public.example HTTP/1.1", b"405"),
        ("CONNECT public.example:443:443 HTTP/1.1", b"405"),
        ("CONNECT a b:443 HTTP/1.1", b"405"),
        ("CONNECT public.example:22 HTTP/1.1", b"403"),
        ("CONNECT public.example:99999 HTTP/1.1", b"403"),
        ("CONNECT :443 HTTP/1.1", b"405"),
    ],
)
async def test_it_does_nothing_else(line: str, status: bytes) -> None:
    async def public(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34"]

    async with EgressProxy(Egress(resolve=public)).serving() as proxy:
        assert (await _ask(proxy, line)).split()[1] == status


def echoing(seen: list[bytes]) -> Behave:
    """Answer a request with its whole text, and leave the connection open for more."""

    async def behave(reader: Reader, writer: Writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0] or b"0")
            seen.append(head + await reader.readexactly(length))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
            await writer.drain()

    return behave


async def test_a_plain_request_to_what_is_allowed_is_passed_on_without_the_password() -> None:
    seen: list[bytes] = []
    async with web_server(echoing(seen)) as port, EgressProxy(Egress(LOOPBACK)).serving() as proxy:
        async with httpx.AsyncClient(proxy=proxy.url) as http:
            for _ in range(2):
                url = f"http://127.0.0.1:{port}/a%20b?c=d"
                assert (await http.put(url, content=b"x" * 100_000)).text == "hi"
            assert (await http.get(f"http://127.0.0.1:{port}")).text == "hi"
        assert proxy._token not in str(seen)
    assert [each.split(b"\r\n")[0] for each in seen] == [
        b"PUT /a%20b?c=d HTTP/1.1",
        b"PUT /a%20b?c=d HTTP/1.1",
        b"GET / HTTP/1.1",
    ]
    assert all(b"proxy-" not in each.lower() for each in seen)
    assert all(each.endswith(b"x" * 100_000) for each in seen[:2])


async def test_what_comes_after_a_plain_request_is_passed_on_to_nobody() -> None:
    seen: list[bytes] = []
    async with web_server(echoing(seen)) as port, EgressProxy(Egress(LOOPBACK)).serving() as proxy:
        line = f"PUT http://127.0.0.1:{port}/ HTTP/1.1"
        more = f"\r\n\r\nbodyGET http://10.0.0.1/ HTTP/1.1\r\nproxy-authorization: {proxy._token}"
        await _ask(proxy, line, extra=f"content-length: 4{more}")
    assert len(seen) <= 1
    assert all(each.endswith(b"body") for each in seen)
    assert proxy._token not in str(seen)


async def test_a_plain_request_must_say_how_long_it_is() -> None:
    async with EgressProxy(Egress(LOOPBACK)).serving() as proxy:
        line = "PUT http://127.0.0.1:9/ HTTP/1.1"
        for header, status in {
            "transfer-encoding: chunked": b"411",
            "content-length: 1\r\ncontent-length: 2": b"411",
            "content-length: -1": b"400",
            "content-length: 1e3": b"400",
        }.items():
            assert (await _ask(proxy, line, extra=header)).split()[1] == status


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_more_than_was_agreed_does_not_come_back(scheme: str) -> None:
    server, client = tls_contexts("bucket.example")
    egress = Egress(LOOPBACK, resolve=at_127_0_0_1)

    async def endless(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    context = server if scheme == "https" else None
    async with (
        web_server(endless, context=context) as port,
        EgressProxy(egress, received_bytes_max=1_000_000).serving() as proxy,
        httpx.AsyncClient(proxy=proxy.url, verify=client) as http,
        http.stream("GET", f"{scheme}://bucket.example:{port}/") as answer,
    ):
        size = 0
        with suppress(httpx.TransportError):
            async for piece in answer.aiter_raw():
                size += len(piece)
    assert size <= 1_000_000


async def test_each_request_of_a_tunnel_may_be_answered_with_as_much() -> None:
    server, client = tls_contexts("bucket.example")
    tunnels = 0

    async def answering(reader: Reader, writer: Writer) -> None:
        nonlocal tunnels
        tunnels += 1
        with suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n" + b"x" * 600_000)
                await writer.drain()

    async with (
        web_server(answering, context=server) as port,
        EgressProxy(
            Egress(LOOPBACK, resolve=at_127_0_0_1), received_bytes_max=1_000_000
        ).serving() as proxy,
        httpx.AsyncClient(proxy=proxy.url, verify=client) as http,
    ):
        for _ in range(4):
            answer = await http.get(f"https://bucket.example:{port}/")
            assert len(answer.content) == 600_000
    assert tunnels == 1


async def test_it_serves_nobody_who_does_not_know_its_password() -> None:
    async with EgressProxy(Egress(LOOPBACK)).serving() as proxy:
        for header in ("x: y", "proxy-authorization: Basic eDp5", "proxy-authorization: Bearer x"):
            answer = await _ask(proxy, "CONNECT 127.0.0.1:1 HTTP/1.1", header)
            assert answer.startswith(b"HTTP/1.1 407")
        assert proxy._token not in repr(proxy)


async def _ask(
    proxy: EgressProxy, line: str, header: str | None = None, extra: str = "x: y"
) -> bytes:
    request = httpx.Request("GET", "http://x/")
    url = httpx.URL(proxy.url)
    if header is None:
        auth = httpx.BasicAuth(url.username, url.password)
        request = next(auth.sync_auth_flow(request))
        header = f"proxy-authorization: {request.headers['authorization']}"
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"{line}\r\n{header}\r\n{extra}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer
