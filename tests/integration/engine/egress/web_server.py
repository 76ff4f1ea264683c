"""Web servers on loopback that behave as a test needs it."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.integration.engine.drivers.tls_server import make_certificates

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Behave = Callable[[Reader, Writer], Awaitable[None]]


@asynccontextmanager
async def web_server(
    behave: Behave, *, context: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Serve `behave` after the head of a request; yields the port."""

    async def serve(reader: Reader, writer: Writer) -> None:
        try:
            await behave(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def saying(answer: bytes) -> Behave:
    async def behave(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return behave


def tls_contexts(host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server with a certificate for `host`, and for a client that trusts it."""
    files = make_certificates(host)
    return server_context(files), ssl.create_default_context(cadata=files["ca.crt"].decode())


def server_context(files: Mapping[str, bytes]) -> ssl.SSLContext:
    """For a server with what `make_certificates` made."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        context.load_cert_chain(Path(folder) / "server.crt", Path(folder) / "server.key")
    return context
