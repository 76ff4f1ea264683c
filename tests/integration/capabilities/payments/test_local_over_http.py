"""The local payment company beside a real web server, and in a process that is killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from bulkhead.capabilities.payments.local import LocalProvider
from bulkhead.capabilities.payments.post import post

KEY = "the harbour master"
TEN = Decimal("10.00")

CHARGE_AND_WAIT = """
import asyncio, sys
from decimal import Decimal
from pathlib import Path
from bulkhead.capabilities.payments.local import LocalProvider

async def main():
    provider = LocalProvider(Path(sys.argv[1]), "the harbour master")
    await provider.charge("order-1", Decimal("10.00"), "EUR", "tok_visa")
    await provider.charge("order-2", Decimal("10.00"), "EUR", "tok_pending")
    print("charged", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass
class WebServer:
    """Answers each request with the next of `statuses`, then with 204."""

    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    address: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.strip().split("\r\n")
        headers = dict(text.split(": ", 1) for text in lines)
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((line, headers, body))
        status = self.statuses.pop(0) if self.statuses else 204
        writer.write(f"HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    server = WebServer()
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        server.address = f"http://127.0.0.1:{port}/commerce/webhooks/payments?from=local"
        yield server


async def test_a_webhook_arrives_signed(server: WebServer, tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "payments.sqlite", KEY, server.address)
    await provider.charge("order-1", TEN, "EUR", "tok_visa")
    assert await provider.drain_webhooks() == 1
    line, headers, body = server.requests[0]
    assert line == "POST /commerce/webhooks/payments?from=local HTTP/1.1"
    event = provider.verify_webhook(headers, body)
    assert (event.charge_key, event.amount, event.sequence) == ("order-1", TEN, 1)
    provider.close()


async def test_a_failing_server_is_told_again(server: WebServer, tmp_path: Path) -> None:
    server.statuses = [500]
    provider = LocalProvider(tmp_path / "payments.sqlite", KEY, server.address)
    await provider.charge("order-1", TEN, "EUR", "tok_visa")
    assert await provider.drain_webhooks() == 1
    assert [body for _, _, body in server.requests] == [server.requests[0][2]] * 2
    provider.close()


async def test_a_server_that_is_not_there_costs_nothing_but_time(
    server: WebServer, tmp_path: Path
) -> None:
    provider = LocalProvider(tmp_path / "payments.sqlite", KEY, "http://127.0.0.1:1/")
    await provider.charge("order-1", TEN, "EUR", "tok_visa")
    assert await provider.drain_webhooks() == 0
    provider.webhook_url = server.address
    assert await provider.drain_webhooks() == 1
    provider.close()


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/", "/hook", "http://"])
async def test_only_a_web_server_is_posted_to(address: str) -> None:
    with pytest.raises(ValueError, match="not an address of a web server"):
        await post(address, {}, b"")


async def test_charges_and_webhooks_survive_the_death_of_the_process(
    server: WebServer, tmp_path: Path
) -> None:
    path = tmp_path / "payments.sqlite"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHARGE_AND_WAIT, str(path),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": "src"},  # noqa: TID251
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"charged\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    provider = LocalProvider(path, KEY, server.address)
    assert (await provider.charge("order-1", TEN, "EUR", "tok_visa")).provider_ref is not None
    assert await provider.drain_webhooks() == 2
    provider.close()
