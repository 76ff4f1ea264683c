"""PostgreSQL from PyPI, run by ourselves: no installation, no administrator, one folder.

One process owns the server of a folder, by a lock that ends with the process. Others attach to
it, and if the owner dies without stopping it, the next one takes the running server over.
"""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.embedded_home import (
    SUPERUSER,
    Address,
    DataUnusable,
    Home,
    HomeEmpty,
    ensure_data,
    remove_socket_directory,
)
from bulkhead.engine.drivers.embedded_install import (
    CACHE,
    InstallationUnusable,
    choose_account,
    installation_for,
)
from bulkhead.engine.drivers.embedded_process import POLL_S, ServerProcess
from bulkhead.engine.drivers.embedded_server import (
    start_server,
    stop_server,
)
from bulkhead.engine.drivers.endpoint import Endpoint, open_connection
from bulkhead.engine.drivers.errors import LoginRefused, ServerUnreachable
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import Capabilities, DatabaseSpec, Dialect, Login
from bulkhead.engine.drivers.secret import Secret, SecretUnusable

ATTACH_TIMEOUT_S = 60.0
CHECK_TIMEOUT_S = 5.0
DYING_S = 0.1
"""A process that was killed is still there for a moment."""


class EmbeddedDriver:
    """A server of our own in the folder `home`; implements `Driver`.

    With `durable=False`, for tests, nothing is synced to disk.
    """

    def __init__(self, home: Path, *, durable: bool = True, cache: Path = CACHE) -> None:
        """Nothing is touched before `start`. `cache` holds programs copied for another account."""
        self.home = Home(home.absolute())
        self._durable = durable
        self._cache = cache
        self._lock: int | None = None
        self._starting = asyncio.Lock()
        self._postmaster: ServerProcess | None = None
        self._address: Address | None = None
        self._inner: PostgresDriver | None = None

    @property
    def server(self) -> str:
        """The folder."""
        return f"embedded:{self.home.path}"

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    @property
    def owns_server(self) -> bool:
        """Whether `stop` will stop the server."""
        return self._postmaster is not None

    @property
    def postmaster_pid(self) -> int | None:
        """The server's first process, where this driver owns it."""
        return self._postmaster.pid if self._postmaster else None

    def program(self, name: str) -> Path:
        """A program of the server's version, such as `pg_dump`."""
        account = choose_account(self.home.data, self.home.path)
        return installation_for(account, cache=self._cache).program(name)

    def verify_made(self) -> None:
        """Pass where a server was made before; raises HomeEmpty. Touches nothing."""
        if not self.home.data.exists():
            raise HomeEmpty(path=str(self.home.path))

    async def start(self) -> None:
        """Start the server, take an orphaned one over, or attach to one that another owns.

        May be repeated: a server that has died meanwhile is started again. Raises ServerFailed,
        DataUnusable, SecretUnusable, InstallationUnusable.
        """
        if fcntl is None:
            raise InstallationUnusable(reason="Windows is not supported; use WSL or a server URL")
        async with self._starting:
            self.home.create()
            await self._own_or_attach()

    async def stop(self) -> None:
        """Stop the server if this driver owns it."""
        try:
            if self._postmaster is not None:
                await stop_server(self._postmaster)
                assert self._address is not None, "a server that runs has an address"
                remove_socket_directory(self._address)
        finally:
            self._postmaster = None
            self._inner = None
            self._release_lock()

    async def ensure_database(self, spec: DatabaseSpec) -> None:
        """Create what is missing of the database, its roles, grants, schemas and shims."""
        await self._driver.ensure_database(spec)

    async def seal_template(self, spec: DatabaseSpec, *, sealed: bool = True) -> None:
        """Let nobody connect, so that clones never have to wait; or let them connect again."""
        await self._driver.seal_template(spec, sealed=sealed)

    async def drop_database(self, spec: DatabaseSpec) -> None:
        """Drop the database, and its roles unless another database needs them."""
        await self._driver.drop_database(spec)

    async def probe(self, spec: DatabaseSpec) -> Capabilities:
        """Try what the database can do."""
        return await self._driver.probe(spec)

    async def connect(self, spec: DatabaseSpec, login: Login, *, timeout_s: float) -> Any:  # noqa: ANN401
        """Open a connection over the Unix socket; starts our own server again if it has died."""
        try:
            return await self._driver.connect(spec, login, timeout_s=timeout_s)
        except ServerUnreachable:
            if self._postmaster is None or not await self._postmaster.wait(DYING_S):
                raise
        await self.start()
        return await self._driver.connect(spec, login, timeout_s=timeout_s)

    def url(self, spec: DatabaseSpec, login: Login) -> str:
        """A libpq URL over TCP for other programs; holds the password."""
        session = self._driver.session(spec, login)
        return replace(self._driver.endpoint, host="127.0.0.1").url(session)

    @property
    def _driver(self) -> PostgresDriver:
        if self._inner is None:
            raise ServerUnreachable(server=self.server, reason="it was not started")
        return self._inner

    async def _own_or_attach(self) -> None:
        deadline_s = monotonic_s() + ATTACH_TIMEOUT_S
        while True:
            if self._take_lock():
                await self._own()
                return
            if await self._attach():
                return
            if monotonic_s() > deadline_s:
                raise ServerUnreachable(
                    server=self.server, reason="another process owns it, but it does not answer"
                )
            await asyncio.sleep(POLL_S)

    async def _own(self) -> None:
        """Bring the server up under our lock, which is given back when nothing runs after all."""
        try:
            await self._bring_up()
        except BaseException:
            if self._postmaster is None or not self._postmaster.is_alive:
                self._postmaster = None
                self._release_lock()
            raise

    async def _bring_up(self) -> None:
        secret = self.home.ensure_secret()
        account = choose_account(self.home.data, self.home.path)
        installation = installation_for(account, cache=self._cache)
        # Not in a thread: a cancelled start must not leave initdb running without our lock.
        ensure_data(self.home, installation, account, secret, durable=self._durable)

        async def check(address: Address) -> None:
            await self._check(address, secret)

        self._postmaster, address = await start_server(
            self.home, installation, account, check, self._postmaster
        )
        self._use(address, secret)
        await self._driver.close_maintenance()

    async def _attach(self) -> bool:
        """Use the server of the process that holds the lock; False while it is not ready."""
        address = self.home.find_address()
        secret = Secret.load(self.home.secret)
        if address is None or secret is None:
            return False
        try:
            await self._check(address, secret)
        except ServerUnreachable:
            return False
        self._use(address, secret)
        return True

    async def _check(self, address: Address, secret: Secret) -> None:
        """Connect once; raises ServerUnreachable, or SecretUnusable for a wrong secret."""
        endpoint = _endpoint(address, secret)
        try:
            connection = await open_connection(
                endpoint, endpoint.administrator(), timeout_s=CHECK_TIMEOUT_S
            )
        except LoginRefused as error:
            raise SecretUnusable(
                path=str(self.home.secret), reason="it is not the one the data was made with"
            ) from error
        connection.terminate()

    def _use(self, address: Address, secret: Secret) -> None:
        self._address = address
        self._inner = PostgresDriver(_endpoint(address, secret), secret)

    def _take_lock(self) -> bool:
        if self._lock is not None:
            return True
        try:
            descriptor = self.home.open_file(self.home.lock, 0)
        except OSError as error:
            raise DataUnusable(
                path=str(self.home.path),
                reason=f"{error.strerror}",
                remedy="Use the account that the folder belongs to, or another BULKHEAD_HOME.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _endpoint(address: Address, secret: Secret) -> Endpoint:
    return Endpoint(address.socket, address.port, SUPERUSER, secret.password(SUPERUSER))
