"""Servers that speak as much of PostgreSQL's protocol as it takes to do harm."""

import asyncio
import base64
import hashlib
import hmac
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
SSL_REQUEST = 80877103


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def request(code: int, body: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!i", code) + body)


OK = request(0)
READY = message(b"Z", b"I")
SASL = request(10, b"SCRAM-SHA-256\0\0")


@dataclass(slots=True)
class Heard:
    """All that clients have said to a rogue."""

    data: bytearray = field(default_factory=bytearray)
    connections: int = 0


Behave = Callable[[Reader, Writer], Awaitable[None]]


@asynccontextmanager
async def rogue(behave: Behave, *, address: str = "127.0.0.1") -> AsyncIterator[tuple[int, Heard]]:
    """Serve `behave` after the start-up packet; yields the port and what was heard."""
    heard = Heard()

    async def serve(reader: Reader, writer: Writer) -> None:
        heard.connections += 1
        listening = _Listening(reader, heard)
        try:
            code = await read_start(listening)
            if code == SSL_REQUEST:
                writer.write(b"N")
                await read_start(listening)
            await behave(listening, writer)
            await writer.drain()
            while await listening.read(65536):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


async def read_start(reader: Reader) -> int:
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    body = await reader.readexactly(length - 4)
    return int(struct.unpack("!i", body[:4])[0])


async def read_message(reader: Reader) -> bytes:
    head = await reader.readexactly(5)
    return await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


async def scram_first(reader: Reader) -> str:
    """What the client begins SCRAM with: its nonce."""
    body = await read_message(reader)
    return body.partition(b"r=")[2].decode()


def server_first(nonce: str, *, iterations: int = 4096, salt: bytes = b"0123456789abcdef") -> bytes:
    text = f"r={nonce}rogue,s={base64.b64encode(salt).decode()},i={iterations}"
    return request(11, text.encode())


class _Listening(asyncio.StreamReader):
    """A reader that keeps all that passes."""

    def __init__(self, reader: Reader, heard: Heard) -> None:
        super().__init__()
        self._reader = reader
        self._heard = heard

    async def readexactly(self, n: int) -> bytes:
        data = await self._reader.readexactly(n)
        self._heard.data += data
        return data

    async def read(self, n: int = -1) -> bytes:
        data = await self._reader.read(n)
        self._heard.data += data
        return data


async def log_in(
    reader: Reader, writer: Writer, password: str, *, settings: Mapping[str, str] | None = None
) -> None:
    """Do SCRAM as a real server does: the customer who runs it knows the password."""
    writer.write(SASL)
    bare = (await read_message(reader)).partition(b"n,,")[2]
    nonce = bare.partition(b"r=")[2].decode()
    first = server_first(nonce)
    writer.write(first)
    final = await read_message(reader)
    without_proof = final.rpartition(b",p=")[0]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b"0123456789abcdef", 4096)
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    told = b",".join([bare, first[9:], without_proof])
    signature = base64.b64encode(hmac.digest(server_key, told, "sha256"))
    writer.write(request(12, b"v=" + signature) + OK)
    known = {"server_version": "18.6", "client_encoding": "UTF8", "integer_datetimes": "on"}
    for name, value in {**known, **(settings or {})}.items():
        writer.write(message(b"S", f"{name}\0{value}\0".encode()))
    writer.write(message(b"K", struct.pack("!ii", 1, 2)) + READY)
    await writer.drain()
