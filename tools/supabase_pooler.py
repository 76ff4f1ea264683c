"""A stand-in for Supabase's pooler in session mode: passes sessions on to the project they name.

A login there is called `ROLE.REFERENCE`. It keeps no sessions, so that what one leaves behind in
another's is not shown by it.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from supabase_cloud import POOLER, Cloud

SSL_REQUEST = 80877103
PROTOCOL = 196608


@asynccontextmanager
async def open_pooler(cloud: Cloud) -> AsyncIterator[None]:
    """The pooler of every project, on an address of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _serve(cloud, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, POOLER, cloud.machines.port)
    try:
        yield
    finally:
        server.close()


async def _serve(cloud: Cloud, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    fields = await _read_startup(reader, writer)
    role, _, ref = fields["user"].rpartition(".")
    project = cloud.projects.get(ref)
    if project is None or project.cluster is None:
        writer.write(_refusal("Tenant or user not found"))
        await writer.drain()
        return
    cluster = project.cluster
    there, back = await asyncio.open_connection(cluster.address, cluster.port)
    back.write(_startup({**fields, "user": role}))
    async with asyncio.TaskGroup() as group:
        group.create_task(_pass_on(reader, back))
        group.create_task(_pass_on(there, writer))


async def _read_startup(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> dict[str, str]:
    while True:
        size, code = struct.unpack("!II", await reader.readexactly(8))
        if code == SSL_REQUEST:
            writer.write(b"N")
            continue
        words = (await reader.readexactly(size - 8)).split(b"\0")
        pairs = zip(words[::2], words[1::2], strict=False)
        return {name.decode(): value.decode() for name, value in pairs if name}


def _startup(fields: dict[str, str]) -> bytes:
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in fields.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, PROTOCOL) + body


def _refusal(message: str) -> bytes:
    body = f"SFATAL\0VFATAL\0CXX000\0M{message}\0\0".encode()
    return b"E" + struct.pack("!I", len(body) + 4) + body


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    writer.close()
