"""What every database of ours on MySQL has: a mark, two accounts, and their rights.

Accounts are made first and the mark follows the database at once, so that a database that was left
half made is empty and stands beside accounts with our passwords. A lock of the server lets several
processes do this at once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    DatabaseForeign,
    LockTimeout,
    PermissionDenied,
    RoleForeign,
    SqlError,
)
from bulkhead.engine.drivers.mysql_connection import MysqlConnection
from bulkhead.engine.drivers.mysql_errors import error_number
from bulkhead.engine.drivers.mysql_sql import (
    account_of,
    native_hash,
    quote_account,
    quote_name,
    quote_pattern,
    quote_text,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.drivers.secret import Secret

TIMEOUT_S = 60.0
LOCK = "bulkhead"
LOCK_S = 30
MARK_TABLE = "_bulkhead"
MARK_NAME = "database"
RIGHTS: Mapping[Login, str] = {
    Login.CLIENT: "select, show view",
    Login.SERVICE: "select, insert, update, delete, execute, show view, lock tables, "
    "create temporary tables",
}
"""There are no roles for the time of a transaction, and no policies: a client only reads."""
ADMINISTRATION = "the rights of an administrator"
GRANT_REMEDY = "Run: grant all privileges on *.* to <the user of the DSN> with grant option;"
NO_SUCH_THREAD = 1094

Verify = Callable[[str], Awaitable[bool]]
"""Whether one can log in to an account with our password."""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What there is of a database."""

    exists: bool
    mark: str | None
    tables: int


async def read_database(admin: MysqlConnection, name: str) -> DatabaseFacts:
    """Read whether a database is there, what mark it has, and how many tables besides."""
    rows = await admin.fetch(
        "select s.schema_name as name, t.table_name as table_name "
        "from information_schema.schemata s "
        "left join information_schema.tables t on t.table_schema = s.schema_name "
        "where s.schema_name = %s",
        (name,),
        timeout_s=TIMEOUT_S,
    )
    tables = {row["table_name"] for row in rows} - {None}
    mark = await read_mark(admin, name) if MARK_TABLE in tables else None
    return DatabaseFacts(bool(rows), mark, len(tables - {MARK_TABLE}))


async def read_mark(connection: MysqlConnection, name: str) -> str | None:
    """Whose database it is, by its mark."""
    rows = await connection.fetch(
        f"select mark from {quote_name(name)}.{MARK_TABLE} where name = %s",
        (MARK_NAME,),
        timeout_s=TIMEOUT_S,
    )
    return str(rows[0]["mark"]) if rows else None


async def write_mark(connection: MysqlConnection, name: str, mark: str) -> None:
    """Mark a database, unless it is marked already."""
    table = f"{quote_name(name)}.{MARK_TABLE}"
    await connection.execute(
        f"create table if not exists {table} (name varchar(64) primary key, "
        "mark varchar(200) not null, made_at datetime(6) not null default current_timestamp(6)) "
        "engine = innodb character set ascii",
        (),
        timeout_s=TIMEOUT_S,
    )
    await connection.execute(
        f"insert ignore into {table} (name, mark) values (%s, %s)",
        (MARK_NAME, mark),
        timeout_s=TIMEOUT_S,
    )


def mark_of(secret: Secret) -> str:
    """The mark of databases that were made with this secret."""
    return f"bulkhead {secret.fingerprint}"


def verify_mark(facts: DatabaseFacts, server: str, database: str, mark: str) -> None:
    """Pass for a database with `mark`; raises DatabaseForeign."""
    if facts.mark == mark:
        return
    reason = "something else made it"
    if facts.mark is not None and facts.mark.startswith("bulkhead "):
        reason = "it was made with another secret.key"
    raise DatabaseForeign(server=server, database=database, reason=reason)


@asynccontextmanager
async def administering(server: str) -> AsyncIterator[None]:
    """Say what the administrator lacks when the server refuses."""
    try:
        yield
    except PermissionDenied as error:
        raise CapabilityMissing(
            server=server, capability=ADMINISTRATION, remedy=GRANT_REMEDY
        ) from error


@asynccontextmanager
async def server_lock(admin: MysqlConnection, name: str = LOCK) -> AsyncIterator[None]:
    """Be the only one who makes or drops databases on the server; raises LockTimeout."""
    args = (name, LOCK_S)
    rows = await admin.fetch("select get_lock(%s, %s) as got", args, timeout_s=TIMEOUT_S)
    if rows[0]["got"] != 1:
        raise LockTimeout(sqlstate="55P03")
    try:
        yield
    finally:
        if not admin.is_closed():
            await admin.fetch("select release_lock(%s) as released", (name,), timeout_s=TIMEOUT_S)


class Accounts:
    """The two accounts of a database."""

    def __init__(
        self, admin: MysqlConnection, server: str, spec: DatabaseSpec, secret: Secret
    ) -> None:
        """Work on those of `spec`, as `admin`."""
        self.admin = admin
        self.server = server
        self.secret = secret
        self.names = {login: account_of(spec, login) for login in RIGHTS}

    async def find(self, verify: Verify) -> dict[Login, bool]:
        """Those that exist, and whether they have our password."""
        rows = await self._fetch(
            "select user as name, authentication_string as stored from mysql.user "
            "where user in (%s, %s) and host = '%%'",
            tuple(self.names.values()),
        )
        stored = {str(row["name"]): str(row["stored"]) for row in rows}
        found = {}
        for login, name in self.names.items():
            if name in stored:
                ours = stored[name] == native_hash(self.secret.password(name))
                found[login] = ours or await verify(name)
        return found

    async def create(self, found: Mapping[Login, bool], *, tls: bool) -> None:
        """Make those that are not `found`; raises RoleForeign for one that is not ours."""
        for login, is_ours in found.items():
            if not is_ours:
                raise RoleForeign(
                    server=self.server, role=self.names[login], reason="it has another password"
                )
        for login in self.names.keys() - found.keys():
            name = self.names[login]
            password = self.secret.password(name)
            how = (
                f"identified via mysql_native_password using {quote_text(native_hash(password))}"
                if self.admin.is_mariadb
                # MySQL itself keeps what stands here out of its logs.
                else f"identified with caching_sha2_password by {quote_text(password)}"
            )
            require = " require ssl" if tls else ""
            await self._execute(f"create user if not exists {quote_account(name)} {how}{require}")

    async def grant(self, database: str) -> None:
        """Give them their rights in `database`, and nowhere else."""
        for login, name in self.names.items():
            await self._execute(
                f"grant {RIGHTS[login]} on {quote_pattern(database)}.* to {quote_account(name)}"
            )

    async def lock(self, *, locked: bool) -> None:
        """Let nobody log in any more, or let them again."""
        for name in self.names.values():
            word = "lock" if locked else "unlock"
            await self._execute(f"alter user {quote_account(name)} account {word}")

    async def drop(self, found: Mapping[Login, bool]) -> None:
        """Drop those of `found` that are ours."""
        for login, is_ours in found.items():
            if is_ours:
                await self._execute(f"drop user if exists {quote_account(self.names[login])}")

    async def end_sessions(self, database: str) -> None:
        """End all sessions of ours in `database`, and of the accounts anywhere."""
        rows = await self._fetch(
            "select id as id from information_schema.processlist "
            "where (db = %s or user in (%s, %s)) and id <> connection_id()",
            (database, *self.names.values()),
        )
        for row in rows:
            try:
                await self._execute(f"kill {int(row['id'])}")
            except SqlError as error:
                if error_number(error) != NO_SUCH_THREAD:
                    raise

    async def _fetch(self, sql: str, args: Sequence[object]) -> Sequence[Mapping[str, Any]]:
        async with administering(self.server):
            return await self.admin.fetch(sql, args, timeout_s=TIMEOUT_S)

    async def _execute(self, sql: str) -> None:
        async with administering(self.server):
            await self.admin.execute(sql.replace("%", "%%"), (), timeout_s=TIMEOUT_S)
