"""Any PostgreSQL server that a DSN leads to, with a pooler in front of it or without."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg

from bulkhead.engine.clock import monotonic_s
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
from bulkhead.engine.drivers.errors import (
    FAILURES,
    DatabaseMissing,
    PoolerInBetween,
    ServerUnreachable,
    translate,
)
from bulkhead.engine.drivers.pooler import Pooling, keeps_statements, probe_pooling
from bulkhead.engine.drivers.probe import probe_database
from bulkhead.engine.drivers.protocol import Capabilities, DatabaseSpec, Dialect, Driver, Login
from bulkhead.engine.drivers.roles import mark, read_state
from bulkhead.engine.drivers.scram import ITERATIONS_OF_KEYS
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.errors import BulkheadError

CONNECT_TIMEOUT_S = 10.0
POOLER_SHARE = 0.7
"""How much of the time to connect the pooler has; the rest is for asking the server why not."""
LOOK_EVERY_S = 300.0
"""How often a pooler is asked whether it has learned to keep prepared statements apart."""
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

    With a `pooler` the client and service logins connect there, and may be given another session
    for each transaction; whatever needs a session of its own goes to the server itself.
    """

    def __init__(
        self, dsn: str | Endpoint, secret: bytes | Secret, *, pooler: str | Endpoint | None = None
    ) -> None:
        """Raises ConfigurationInvalid for a DSN that is not acceptable."""
        self.endpoint = parse_dsn(dsn) if isinstance(dsn, str) else dsn
        self.pooler = parse_dsn(pooler) if isinstance(pooler, str) else pooler
        self._secret = secret if isinstance(secret, Secret) else Secret(secret)
        self._keeps_statements = False
        self._looked_at_s = -LOOK_EVERY_S

    @property
    def server(self) -> str:
        """Host and port."""
        return self.endpoint.name

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRESQL

    async def start(self) -> None:
        """Check that the server answers, and that its sessions stay what they are.

        Raises ServerUnreachable, LoginRefused, TlsRequired, PoolerInBetween.
        """
        async with self._administer(None) as admin:
            if await probe_pooling(admin, self._open_maintenance) is Pooling.TRANSACTION:
                raise PoolerInBetween(server=self.server)

    async def stop(self) -> None:
        """Do nothing: the server is not ours."""

    async def ensure_database(self, spec: DatabaseSpec) -> None:
        """Create what is missing of the database, its roles, grants, schemas and shims."""
        async with self._administer(None, spec) as admin:
            state = await ensure_roles(admin, self.server, spec, self._secret, ITERATIONS_OF_KEYS)
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

            async def connect() -> Any:  # noqa: ANN401
                return await self.connect(spec, Login.CLIENT, timeout_s=CONNECT_TIMEOUT_S)

            client = await connect()
            try:
                return await probe_database(admin, other, client, spec, connect)
            finally:
                client.terminate()

    async def connect(self, spec: DatabaseSpec, login: Login, *, timeout_s: float) -> Any:  # noqa: ANN401
        """Open an asyncpg connection; json and jsonb travel as text, numeric as Decimal.

        Raises ServerUnreachable, LoginRefused, DatabaseMissing, TooManyConnections, TlsRequired.
        """
        if self.pooler is None or login is Login.ADMIN:
            return await self.connect_directly(spec, login, timeout_s=timeout_s)
        deadline_s = monotonic_s() + timeout_s
        share_s = timeout_s * POOLER_SHARE
        try:
            session = self.pooled_session(self.pooler, spec, login)
            return await self._connect_pooled(self.pooler, session, timeout_s=share_s)
        except ServerUnreachable as error:
            left_s = max(deadline_s - monotonic_s(), timeout_s - share_s)
            await self._explain(spec, login, error, timeout_s=left_s)
            raise

    async def _connect_pooled(self, pooler: Endpoint, session: Session, *, timeout_s: float) -> Any:  # noqa: ANN401
        """Connect, with statements to be prepared where the pooler keeps them apart.

        That is looked at anew each time before any is: the pooler may have been configured anew.
        """
        keeps = self._keeps_statements
        raw = await open_connection(pooler, session, timeout_s=timeout_s, pooled=not keeps)
        if not keeps and monotonic_s() - self._looked_at_s < LOOK_EVERY_S:
            return raw
        try:
            found = await keeps_statements(raw, timeout_s=timeout_s)
        except BaseException as error:
            raw.terminate()
            if isinstance(error, FAILURES):
                raise translate(error) from error
            raise
        self._keeps_statements, self._looked_at_s = found, monotonic_s()
        if found is keeps:
            return raw
        raw.terminate()
        return await open_connection(pooler, session, timeout_s=timeout_s, pooled=not found)

    async def _explain(
        self, spec: DatabaseSpec, login: Login, error: ServerUnreachable, *, timeout_s: float
    ) -> None:
        """Raise what the server itself refuses; a pooler only lets its clients wait."""
        try:
            raw = await self.connect_directly(spec, login, timeout_s=timeout_s)
        except BulkheadError as refusal:
            raise refusal from error
        raw.terminate()

    async def connect_directly(self, spec: DatabaseSpec, login: Login, *, timeout_s: float) -> Any:  # noqa: ANN401
        """As `connect`, past the pooler: a session that stays the same, to LISTEN for example."""
        return await open_connection(self.endpoint, self.session(spec, login), timeout_s=timeout_s)

    def url(self, spec: DatabaseSpec, login: Login) -> str:
        """A libpq URL for other programs, of the server itself; holds the password."""
        return self.endpoint.url(self.session(spec, login))

    def session(self, spec: DatabaseSpec, login: Login) -> Session:
        """Who `login` is in the database, with the password."""
        if login is Login.ADMIN:
            return self.endpoint.administrator(spec.name, verified=spec.verified_tls)
        role = spec.login(login)
        return Session(role, self._secret.password(role), spec.name, spec.verified_tls)

    def pooled_session(self, pooler: Endpoint, spec: DatabaseSpec, login: Login) -> Session:
        """Who `login` is for the pooler.

        One that serves many projects, as Supavisor does, takes the name of the project behind that
        of the user: where it does so for the administrator, it does for the others.
        """
        session = self.session(spec, login)
        project = pooler.user.removeprefix(self.endpoint.user)
        return replace(session, user=session.user + project) if project[:1] == "." else session

    @asynccontextmanager
    async def _administer(
        self, database: str | None, spec: DatabaseSpec | None = None
    ) -> AsyncIterator[Any]:
        """A connection of the administrator, None meaning the maintenance database."""
        connection = await self._open(database, verified=spec is not None and spec.verified_tls)
        try:
            yield connection
        except FAILURES as error:
            raise translate(error) from error
        finally:
            connection.terminate()

    async def _open_maintenance(self) -> Any:  # noqa: ANN401
        return await self._open(None, verified=False)

    async def _open(self, database: str | None, *, verified: bool) -> Any:  # noqa: ANN401
        return await open_connection(
            self.endpoint,
            self.endpoint.administrator(database, verified=verified),
            timeout_s=CONNECT_TIMEOUT_S,
            command_timeout_s=COMMAND_TIMEOUT_S,
        )


def is_pooled(driver: Driver) -> bool:
    """Whether its client and service logins are given another session for each transaction."""
    return isinstance(driver, PostgresDriver) and driver.pooler is not None


async def _drop_role(admin: Any, name: str) -> None:  # noqa: ANN401
    try:
        await admin.execute(f"drop role if exists {quote_name(name)}")
    except asyncpg.DependentObjectsStillExistError:
        return  # A clone still uses it.
