"""What does a file of a store cost, against the same client putting the same bytes into the bucket?

Ours: bytes held in the plan, put, noted in the store's database, counted. With the API on top: over
HTTP on a socket, signed in, the call counted. Bare is the client of the bucket alone, with all the
bytes in memory. The storage is a process of its own that reads and forgets, at once and nearby; of
the time of a real one, tens of milliseconds, what we add is a smaller part.

    python benches/media.py [--rounds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from time import perf_counter
from uuid import UUID

import httpx
import obstore
import uvloop
from shop import median

from bulkhead.apps.store_platform.application import APPLICATION
from bulkhead.apps.store_platform.fleet import FLEET, Platform
from bulkhead.apps.store_platform.master.stores.model import StoreBody
from bulkhead.apps.store_platform.master.stores.service import create_store
from bulkhead.apps.store_platform.store.media.model import NewFile
from bulkhead.capabilities.identity import create_user, sign_in_as
from bulkhead.capabilities.storage import StorageConfig
from bulkhead.capabilities.storage.bucket import PART_BYTES, PARTS_AT_ONCE
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.fleet.model import ServerKind, TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import ProvisioningRequest
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system
from bulkhead.web.compose import compose
from bulkhead.web.logs import configure_logs
from bulkhead.web.serving import serving

SIZES = {"10 kB": 10_000, "1 MB": 1_000_000, "20 MB": 20_000_000}
PIECE = 65_536
EMAIL = "owner@example.com"


async def sink() -> None:
    """Speak as much of S3 as an upload needs, and print the port."""
    kept: dict[bytes, bytes] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            method, path, _ = head.split()
            length = 0
            while (line := await reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            body = await reader.readexactly(length)
            if length < PIECE and method == b"PUT":
                kept[path] = body
            answer = kept.get(path, b"") if method == b"GET" else b""
            if method == b"POST":
                root = b"InitiateMultipartUploadResult" * path.endswith(b"?uploads")
                root = root or b"CompleteMultipartUploadResult"
                answer = b"<%s><UploadId>1</UploadId><ETag>e</ETag></%s>" % (root, root)
            told = (
                b'HTTP/1.1 200 OK\r\netag: "e"\r\nlast-modified: %s\r\ncontent-length: %d\r\n\r\n'
            )
            writer.write(told % (b"Thu, 01 Jan 2026 00:00:00 GMT", len(answer)) + answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=PIECE)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """As a body comes in."""
    for at in range(0, len(body), PIECE):
        yield body[at : at + PIECE]


async def open_store(system: System, port: str) -> tuple[Platform, UUID, str]:
    """A store with a database and a bucket, and a token of its owner."""
    platform: Platform = system.outside.platform(system)
    assert APPLICATION.people is not None, "the platform has users"
    people = APPLICATION.people(system)
    await create_user(people, email=EMAIL, password="long and odd", app_metadata={})  # noqa: S106
    session = await sign_in_as(people, EMAIL)
    store = new_id()
    async with platform.master.transaction(SERVICE) as tx:
        owner = await tx.fetchval("select id from users limit 1")
        await create_store(tx, store, owner, StoreBody(name="Bench"), now())
        await tx.execute("update subscriptions set max_storage_gb = null")
        await tx.execute("update subscriptions set max_api_calls_per_month = null")
    await platform.prepare()
    request = ProvisioningRequest(TenantId(store), FLEET, "bench", ServerKind.POSTGRESQL)
    await platform.provisioning.start(request)
    await platform.provisioning.run_once()
    endpoint = f"http://127.0.0.1:{port}"
    config = StorageConfig.s3("bench", "us-east-1", "AKIA", "secret", endpoint=endpoint)
    await platform.media.storages.connect(store, config, actor=None)
    return platform, store, session.access_token


async def measure(
    rounds: int, ways: Mapping[str, Callable[[], Awaitable[object]]]
) -> dict[str, float]:
    """Median milliseconds of each way, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started_s = perf_counter()
            await way()
            taken[name].append((perf_counter() - started_s) * 1000)
    return {name: median(times) for name, times in taken.items()}


async def main(rounds: int) -> None:
    """Run everything."""
    storage = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--sink", stdout=asyncio.subprocess.PIPE
    )
    assert storage.stdout is not None, "it is a pipe"
    port = (await storage.stdout.readline()).decode().strip()
    try:
        with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
            Path(folder).chmod(0o755)
            settings = Settings(home=Path(folder), log_level="error")
            configure_logs(settings, sys.stderr)
            async with open_system(APPLICATION, settings) as system:
                await system.vault.unlock()
                await run(system, settings, port, rounds)
    finally:
        storage.kill()
        await storage.wait()


async def run(system: System, settings: Settings, port: str, rounds: int) -> None:
    """Measure each size."""
    platform, store, token = await open_store(system, port)
    bucket = await platform.media.storages.open(store)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/zip"}
    composed = compose([system], settings)
    print(f"one file after another, medians of {rounds}", flush=True)
    async with serving(composed.app) as web, httpx.AsyncClient(headers=headers) as http:
        url = f"{web.url}/store_platform/stores/{store}/media?file_name=a.zip"
        for name, size in SIZES.items():
            body = b"x" * size

            async def ours(body: bytes = body) -> None:
                file = NewFile("a.zip", "application/zip", len(body))
                await platform.media.upload(store, new_id(), file, pieces(body))

            async def over_http(body: bytes = body) -> None:
                (await http.post(url, content=body)).raise_for_status()

            async def bare(body: bytes = body) -> None:
                await obstore.put_async(
                    bucket.store, "bare", body, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
                )

            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "bare": bare,
                "ours": ours,
                "over HTTP": over_http,
            }
            await measure(3, ways)
            found = await measure(rounds if size < PART_BYTES else max(rounds // 3, 3), ways)
            print(
                f"{name:>6}  bare {found['bare']:8.2f} ms   ours {found['ours']:8.2f} ms"
                f" ({found['ours'] / found['bare']:.2f}x)   over HTTP {found['over HTTP']:8.2f} ms"
                f" ({found['over HTTP'] / found['bare']:.2f}x)",
                flush=True,
            )
    await platform.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sink", action="store_true", help="be the storage")
    given = parser.parse_args()
    uvloop.run(sink() if given.sink else main(given.rounds))
