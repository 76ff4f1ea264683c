"""Clients that look names up by themselves go through the proxy, and no further than it allows."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest
from tests.integration.engine.egress.name_server import name_server
from tests.integration.engine.egress.web_server import saying, tls_contexts, web_server

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
        ("GET http://public.example/ HTTP/1.1", b"405"),
        ("CONNECT public.example HTTP/1.1", b"405"),
        ("CONNECT public.example:443:443 HTTP/1.1", b"405"),
        ("CONNECT a b:443 HTTP/1.1", b"405"),
        ("CONNECT public.example:22 HTTP/1.1", b"403"),
        ("CONNECT public.example:99999 HTTP/1.1", b"403"),
        ("CONNECT :443 HTTP/1.1", b"405"),
    ],
)
async def test_it_does_nothing_but_connect(line: str, status: bytes) -> None:
    async def public(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34"]

    async with EgressProxy(Egress(resolve=public)).serving() as proxy:
        assert (await _ask(proxy, line)).split()[1] == status


async def test_it_serves_nobody_who_does_not_know_its_password() -> None:
    async with EgressProxy(Egress(LOOPBACK)).serving() as proxy:
        for header in ("x: y", "proxy-authorization: Basic eDp5", "proxy-authorization: Bearer x"):
            answer = await _ask(proxy, "CONNECT 127.0.0.1:1 HTTP/1.1", header)
            assert answer.startswith(b"HTTP/1.1 407")
        assert proxy._token not in repr(proxy)


async def _ask(proxy: EgressProxy, line: str, header: str | None = None) -> bytes:
    request = httpx.Request("GET", "http://x/")
    url = httpx.URL(proxy.url)
    if header is None:
        auth = httpx.BasicAuth(url.username, url.password)
        request = next(auth.sync_auth_flow(request))
        header = f"proxy-authorization: {request.headers['authorization']}"
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"{line}\r\n{header}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer
