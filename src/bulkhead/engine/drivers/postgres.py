"""Any PostgreSQL server that a DSN leads to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from bulkhead.engine.drivers.bootstrap import (
    ensure_contents,
    ensure_database,
    ensure_roles,
    find_database,
    quote_name,
    render,
    verify_ours,
)
from bulkhead.engine.drivers.endpoint import Endpoint, Session, open_connection, parse_dsn
from bulkhead.engine.drivers.errors import FAILURES, DatabaseMissing, translate
from bulkhead.engine.drivers.probe import probe_database
from bulkhead.engine.drivers.protocol import Capabilities, DatabaseSpec, Dialect, Login
from bulkhead.engine.drivers.roles import mark, read_state
from bulkhead.engine.drivers.secret import Secret

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 120.0
"""For the administrator's statements; the slowest of them copies a template."""
END_SESSIONS = """
select pg_terminate_backend(pid)
from pg_stat_activity
where datname = $1
  and pg_has_role(usesysid, 'member')
"""


class PostgresDriver:
    """A server that somebody else runs; implements `Driver`.

    The DSN's login needs CREATEROLE and CREATEDB, but need not be a superuser as long as a role
    `service_role` with BYPASSRLS exists that it may grant. Passwords of our logins follow from
    `secret`. Opens connections of its own for each task and keeps none.
    """

    def __init__(self, dsn: str | Endpoint, secret: bytes | Secret) -> None:
        """Raises ConfigurationInvalid for a DSN that is not acceptable."""
        self.endpoint = parse_dsn(dsn) if isinstance(dsn, str) else dsn
        self._secret = secret if isinstance(secret, Secret) else Secret(secret)

    @property
    def server(self) -> str:
        """Host and port."""
        return self.endpoint.name

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    async def start(self) -> None:
        """Check that the server answers; raises ServerUnreachable, LoginRefused, TlsRequired."""
        async with self._administer(None):
            pass

    async def stop(self) -> None:
        """Do nothing: the server is not ours."""

    async def ensure_database(self, spec: DatabaseSpec) -> None:
        """Create what is missing of the database, its roles, grants, schemas and shims."""
        async with self._administer(None, spec) as admin:
            state = await ensure_roles(admin, self.server, spec, self._secret)
            complete = await ensure_database(admin, self.server, spec, self._secret, state.version)
        if not complete:
            async with self._administer(spec.name, spec) as admin:
                await ensure_contents(admin, self.server, spec)

    async def close_maintenance(self) -> None:
        """On a server of our own: let nobody but administrators into the server's databases."""
        async with self._administer(None) as admin:
            for row in await admin.fetch(render("open_maintenance.sql")):
                await admin.execute(f"revoke all on database {quote_name(row['name'])} from public")

    async def seal_template(self, spec: DatabaseSpec, *, sealed: bool = True) -> None:
        """Let nobody connect, so that clones never have to wait; or let them connect again."""
        async with self._administer(None, spec) as admin:
            state = await find_database(admin, spec)
            if state is None:
                raise DatabaseMissing(server=self.server, database=spec.name)
            verify_ours(state, self.server, spec, self._secret)
            await admin.execute(
                f"alter database {quote_name(spec.name)} with allow_connections {not sealed}"
            )
            if sealed:
                await admin.execute(END_SESSIONS, spec.name)

    async def drop_database(self, spec: DatabaseSpec) -> None:
        """Drop the database, and its roles unless another database needs them."""
        async with self._administer(None, spec) as admin:
            state = await find_database(admin, spec)
            if state is not None:
                verify_ours(state, self.server, spec, self._secret)
                await admin.execute(f"drop database if exists {quote_name(spec.name)} with (force)")
            roles = (await read_state(admin, spec)).roles
            own = {f"{spec.name}_{word}" for word in ("client", "service", "owner")}
            for name in sorted(own & roles.keys()):
                if roles[name].mark == mark(self._secret):
                    await _drop_role(admin, name)

    async def probe(self, spec: DatabaseSpec) -> Capabilities:
        """Try what the database can do; takes about a tenth of a second."""
        async with (
            self._administer(spec.name, spec) as admin,
            self._administer(spec.name, spec) as other,
        ):
            client = await self.connect(spec, Login.CLIENT, timeout_s=CONNECT_TIMEOUT_S)
            try:
                return await probe_database(admin, other, client, spec)
            finally:
                client.terminate()

    async def connect(self, spec: DatabaseSpec, login: Login, *, timeout_s: float) -> Any:  # noqa: ANN401
        """Open an asyncpg connection; json and jsonb travel as text, numeric as Decimal.

        Raises ServerUnreachable, LoginRefused, DatabaseMissing, TooManyConnections, TlsRequired.
        """
        return await open_connection(self.endpoint, self.session(spec, login), timeout_s=timeout_s)

    def url(self, spec: DatabaseSpec, login: Login) -> str:
        """A libpq URL for other programs; holds the password."""
        return self.endpoint.url(self.session(spec, login))

    def session(self, spec: DatabaseSpec, login: Login) -> Session:
        """Who `login` is in the database, with the password."""
        if login is Login.ADMIN:
            return self.endpoint.administrator(spec.name, verified=spec.verified_tls)
        role = spec.login(login)
        return Session(role, self._secret.password(role), spec.name, spec.verified_tls)

    @asynccontextmanager
    async def _administer(
        self, database: str | None, spec: DatabaseSpec | None = None
    ) -> AsyncIterator[Any]:
        """A connection of the administrator, None meaning the maintenance database."""
        verified = spec is not None and spec.verified_tls
        connection = await open_connection(
            self.endpoint,
            self.endpoint.administrator(database, verified=verified),
            timeout_s=CONNECT_TIMEOUT_S,
            command_timeout_s=COMMAND_TIMEOUT_S,
        )
        try:
            yield connection
        except FAILURES as error:
            raise translate(error) from error
        finally:
            connection.terminate()


async def _drop_role(admin: Any, name: str) -> None:  # noqa: ANN401
    try:
        await admin.execute(f"drop role if exists {quote_name(name)}")
    except asyncpg.DependentObjectsStillExistError:
        return  # A clone still uses it.
