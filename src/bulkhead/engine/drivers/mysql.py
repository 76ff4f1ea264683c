"""Any MySQL or MariaDB server that a DSN leads to; tested on MariaDB 10.11.

There are no templates to clone, no roles for the time of a transaction and no policies: each
database has two accounts of its own instead, and capabilities say the rest.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bulkhead.engine.drivers.endpoint import Endpoint, Session
from bulkhead.engine.drivers.errors import (
    DatabaseMissing,
    LoginRefused,
    ServerUnreachable,
    TemplateUnusable,
)
from bulkhead.engine.drivers.mysql_bootstrap import (
    RIGHTS,
    TIMEOUT_S,
    Accounts,
    DatabaseFacts,
    administering,
    mark_of,
    read_database,
    server_lock,
    verify_mark,
    write_mark,
)
from bulkhead.engine.drivers.mysql_connection import MysqlConnection, open_connection
from bulkhead.engine.drivers.mysql_endpoint import parse_mysql_dsn, render_mysql_dsn
from bulkhead.engine.drivers.mysql_errors import LOCKED, error_number
from bulkhead.engine.drivers.mysql_probe import probe_database
from bulkhead.engine.drivers.mysql_sql import account_of, quote_name
from bulkhead.engine.drivers.mysql_wire import Target
from bulkhead.engine.drivers.protocol import Capabilities, DatabaseSpec, Dialect, Login
from bulkhead.engine.drivers.secret import Secret

CONNECT_TIMEOUT_S = 10.0
COLLATIONS = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin", "utf8mb4_bin")
"""MariaDB's and MySQL's that compare as PostgreSQL does; the last one ignores spaces at the end."""


class MysqlDriver:
    """A server that somebody else runs; implements `Driver`.

    The DSN's user administers it: it creates databases and users. Passwords of our accounts follow
    from `secret`. Opens connections of its own for each task and keeps none.
    """

    def __init__(
        self, dsn: str | Endpoint, secret: bytes | Secret, *, ca_pem: str | None = None
    ) -> None:
        """Raises ConfigurationInvalid for a DSN that is not acceptable.

        `ca_pem` holds certificates to trust instead of the system's, where no file does.
        """
        self.endpoint = parse_mysql_dsn(dsn) if isinstance(dsn, str) else dsn
        self._secret = secret if isinstance(secret, Secret) else Secret(secret)
        self._ca_pem = ca_pem

    @property
    def server(self) -> str:
        """Host and port, or the path of the socket."""
        return self.target().name

    @property
    def dialect(self) -> Dialect:
        """MySQL's."""
        return Dialect.MYSQL

    async def start(self) -> None:
        """Check that the server answers and is new enough.

        Raises ServerUnreachable, LoginRefused, TlsRequired, CapabilityMissing.
        """
        async with self._administer():
            pass

    async def stop(self) -> None:
        """Do nothing: the server is not ours."""

    async def ensure_database(self, spec: DatabaseSpec) -> None:
        """Create what is missing of the database, its mark, its accounts and their rights."""
        if spec.template is not None:
            raise TemplateUnusable(
                database=spec.name, template=spec.template, reason="MySQL cannot clone databases"
            )
        async with self._administer(spec) as admin, server_lock(admin):
            accounts = Accounts(admin, self.server, spec, self._secret)
            known = await accounts.find(self._has_our_password)
            database = await read_database(admin, spec.name)
            self._verify_ours(spec, database, known)
            tls = spec.verified_tls and not self.endpoint.is_local
            await accounts.create(known, tls=tls)
            async with administering(self.server):
                if not database.exists:
                    await _create_database(admin, spec.name)
                if database.mark is None:
                    await write_mark(admin, spec.name, mark_of(self._secret))
            await accounts.grant(spec.name)

    async def drop_database(self, spec: DatabaseSpec) -> None:
        """Drop the database and its accounts; nothing happens when there are none."""
        async with self._administer(spec) as admin, server_lock(admin):
            accounts = Accounts(admin, self.server, spec, self._secret)
            known = await accounts.find(self._has_our_password)
            database = await read_database(admin, spec.name)
            self._verify_ours(spec, database, known)
            if database.exists:
                await accounts.end_sessions(spec.name)
                async with administering(self.server):
                    await admin.execute(
                        f"drop database if exists {quote_name(spec.name)}",
                        (),
                        timeout_s=TIMEOUT_S,
                    )
            await accounts.drop(known)

    async def seal_template(self, spec: DatabaseSpec, *, sealed: bool = True) -> None:
        """Let nobody but administrators in, or let them in again."""
        async with self._administer(spec) as admin:
            database = await read_database(admin, spec.name)
            if not database.exists:
                raise DatabaseMissing(server=self.server, database=spec.name)
            verify_mark(database, self.server, spec.name, mark_of(self._secret))
            accounts = Accounts(admin, self.server, spec, self._secret)
            await accounts.lock(locked=sealed)
            if sealed:
                await accounts.end_sessions(spec.name)

    async def probe(self, spec: DatabaseSpec) -> Capabilities:
        """Try what the database can do."""
        async with (
            self._administer(spec, spec.name) as admin,
            self._administer(spec, spec.name) as other,
            administering(self.server),
        ):
            return await probe_database(admin, other)

    async def connect(
        self, spec: DatabaseSpec, login: Login, *, timeout_s: float
    ) -> MysqlConnection:
        """Open a `ServerConnection`.

        Raises ServerUnreachable, LoginRefused, DatabaseMissing, TooManyConnections, TlsRequired,
        ServerSuspicious.
        """
        return await open_connection(
            self.target(verified=spec.verified_tls),
            self.session(spec, login),
            timeout_s=timeout_s,
            is_bounded=login is not Login.ADMIN,
        )

    def target(self, *, verified: bool = False) -> Target:
        """How the server is reached when a database asks for `verified` TLS."""
        return Target.of(self.endpoint, verified=verified, ca_pem=self._ca_pem)

    def url(self, spec: DatabaseSpec, login: Login) -> str:
        """A URL in the form of MySQL's own programs; holds the password."""
        return render_mysql_dsn(self.endpoint, self.session(spec, login))

    def session(self, spec: DatabaseSpec, login: Login) -> Session:
        """Who `login` is in the database, with the password."""
        if login is Login.ADMIN:
            return self.endpoint.administrator(spec.name, verified=spec.verified_tls)
        account = account_of(spec, login)
        return Session(account, self._secret.password(account), spec.name, spec.verified_tls)

    def _verify_ours(
        self, spec: DatabaseSpec, database: DatabaseFacts, known: Mapping[Login, bool]
    ) -> None:
        """Raise DatabaseForeign, unless there is none, or it is ours, or we left it half made.

        Nobody but us makes both accounts, with our passwords, before a database that is empty.
        """
        left_by_us = len(known) == len(RIGHTS) and all(known.values())
        half_made = database.mark is None and not database.tables and left_by_us
        if database.exists and not half_made:
            verify_mark(database, self.server, spec.name, mark_of(self._secret))

    async def _has_our_password(self, account: str) -> bool:
        """Whether the server lets us in as `account`, or would if it were not locked."""
        session = Session(account, self._secret.password(account), "")
        target = self.target()
        try:
            connection = await open_connection(target, session, timeout_s=CONNECT_TIMEOUT_S)
        except LoginRefused:
            return False
        except ServerUnreachable as error:
            if error_number(error) in LOCKED:
                return True
            raise
        connection.terminate()
        return True

    @asynccontextmanager
    async def _administer(
        self, spec: DatabaseSpec | None = None, database: str = ""
    ) -> AsyncIterator[MysqlConnection]:
        """A connection of the administrator, to no database unless one is named."""
        verified = spec is not None and spec.verified_tls
        connection = await open_connection(
            self.target(verified=verified),
            Session(self.endpoint.user, self.endpoint.password, database, verified),
            timeout_s=CONNECT_TIMEOUT_S,
            is_bounded=False,
        )
        try:
            yield connection
        finally:
            connection.terminate()


async def _create_database(admin: MysqlConnection, name: str) -> None:
    rows = await admin.fetch(
        "select collation_name as name from information_schema.collations "
        "where collation_name in (%s, %s, %s)",
        COLLATIONS,
        timeout_s=TIMEOUT_S,
    )
    known = {row["name"] for row in rows}
    collation = next(name for name in COLLATIONS if name in known)
    await admin.execute(
        f"create database if not exists {quote_name(name)} "
        f"character set utf8mb4 collate {collation}",
        (),
        timeout_s=TIMEOUT_S,
    )
