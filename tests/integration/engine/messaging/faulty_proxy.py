"""A server's address that can be switched off, and that can swallow the reply to a commit."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit, urlunsplit

from quiet_port import quiet_port

from bulkhead.engine.connections.router import Placement
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.system import System, build_system


@dataclass
class FaultyProxy:
    """Forwards connections to a port of this machine."""

    target_port: int
    port: int = field(default_factory=quiet_port)
    commits_to_lose: int = 0
    """The reply to so many of the next commits is not forwarded; the connection breaks instead."""
    commits_to_pass: int = 0
    """So many commits get their reply before that."""
    lost: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Refuse connections and break those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.target_port)
            await self._forward((reader, writer), upstream)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _forward(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        committing = asyncio.Event()

        async def requests() -> None:
            while data := await client[0].read(65536):
                if self.commits_to_lose and b"commit;" in data:
                    if self.commits_to_pass:
                        self.commits_to_pass -= 1
                    else:
                        self.commits_to_lose -= 1
                        committing.set()
                server[1].write(data)

        async def replies() -> None:
            while data := await server[0].read(65536):
                if committing.is_set():
                    self.lost += 1
                    return
                client[1].write(data)

        tasks = [asyncio.create_task(requests()), asyncio.create_task(replies())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait(tasks)
            server[1].transport.abort()


def proxy_for(system: System, database: str) -> FaultyProxy:
    """A proxy to the server on which `database` lives; not open yet."""
    placement = _placement(system, database)
    port = urlsplit(placement.driver.url(placement.spec, Login.ADMIN)).port
    assert port is not None
    return FaultyProxy(port)


def through_proxy(system: System, database: str, proxy: FaultyProxy) -> System:
    """The same system, which reaches `database` through `proxy` only."""
    placement = _placement(system, database)
    assert isinstance(placement.driver, EmbeddedDriver)
    parts = urlsplit(placement.driver.url(placement.spec, Login.ADMIN))
    netloc = parts.netloc.replace(f":{parts.port}", f":{proxy.port}")
    secret = Secret.load(placement.driver.home.secret)
    assert secret is not None
    driver = PostgresDriver(urlunsplit(parts._replace(netloc=netloc)), secret)
    return build_system(
        system.application,
        system.settings,
        [
            replace(each, driver=driver) if each.database == database else each
            for each in system.router.placements
        ],
    )


def _placement(system: System, database: str) -> Placement:
    return next(each for each in system.router.placements if each.database == database)
