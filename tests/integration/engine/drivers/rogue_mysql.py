"""Servers that speak as much of MySQL's protocol as it takes to do harm."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

SALT = b"0123456789abcdefghij"
CAPABILITIES = 0x0028A20F  # Protocol 4.1, plugins, with a database, transactions.
WITH_TLS = 0x800
OK = b"\0\0\0\2\0\0\0"
VERSION = b"8.0.36"
COM_QUIT = b"\1"


def greeting(
    plugin: bytes = b"mysql_native_password",
    *,
    version: bytes = VERSION,
    capabilities: int = CAPABILITIES,
) -> bytes:
    """What a server says first."""
    return (
        b"\x0a"
        + version
        + b"\0"
        + struct.pack("<I", 7)
        + SALT[:8]
        + b"\0"
        + struct.pack("<H", capabilities & 0xFFFF)
        + b"\x2d"
        + struct.pack("<HH", 2, capabilities >> 16)
        + bytes([len(SALT) + 1])
        + bytes(10)
        + SALT[8:]
        + b"\0"
        + plugin
        + b"\0"
    )


def switch(plugin: bytes, data: bytes = SALT + b"\0") -> bytes:
    """The wish that the client prove itself in another way."""
    return b"\xfe" + plugin + b"\0" + data


@dataclass(slots=True)
class Talk:
    """One conversation with a client, and all that the client has said in any."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: bytearray
    number: int = 0
    tls: ssl.SSLObject | None = None
    incoming: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    outgoing: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)

    async def say(self, payload: bytes) -> None:
        """Send one packet."""
        header = struct.pack("<I", len(payload))[:3] + bytes([self.number])
        if self.tls is not None:
            self.tls.write(header + payload)
            self.writer.write(self.outgoing.read())
        else:
            self.writer.write(header + payload)
        self.number = (self.number + 1) % 256
        await self.writer.drain()

    async def hear(self) -> bytes:
        """Receive one packet."""
        header = await self._receive(4)
        payload = await self._receive(int.from_bytes(header[:3], "little"))
        self.number = header[3] + 1
        self.heard += payload
        return payload

    async def log_in(self) -> None:
        """Let anybody in, and answer what a session begins with."""
        await self.say(greeting())
        await self.hear()
        await self.say(OK)
        await self.hear()
        await self.say(OK)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Answer the wish for TLS."""
        await self.hear()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        await self._until(self.tls.do_handshake)

    async def _receive(self, size: int) -> bytes:
        if self.tls is None:
            return await self.reader.readexactly(size)
        received = b""
        while len(received) < size:
            received += await self._until(partial(self.tls.read, size - len(received)))
        return received

    async def _until(self, act: Callable[[], Any]) -> Any:
        """Streams would read what belongs to TLS before they are told of it."""
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self.writer.write(self.outgoing.read())
                data = await self.reader.read(65536)
                if not data:
                    raise asyncio.IncompleteReadError(b"", 1) from None
                self.incoming.write(data)
            finally:
                self.writer.write(self.outgoing.read())


Behave = Callable[[Talk], Awaitable[None]]


@dataclass(slots=True)
class Rogue:
    """A running server, and what it has heard."""

    port: int
    heard: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def rogue_mysql(behave: Behave) -> AsyncIterator[Rogue]:
    """Serve `behave` to each client, and listen on until it goes."""
    heard = bytearray()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await behave(Talk(reader, writer, heard))
            while data := await reader.read(65536):
                heard.extend(data)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Rogue(server.sockets[0].getsockname()[1], heard)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks) if tasks else None
