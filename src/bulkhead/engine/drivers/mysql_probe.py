"""What a MySQL server can do, found out by doing it: whatever is made for it is dropped again.

Proxies, MariaDB, and servers that only speak the protocol differ more than their versions tell.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bulkhead.engine.drivers.errors import LockTimeout, SqlError
from bulkhead.engine.drivers.mysql_connection import MysqlConnection
from bulkhead.engine.drivers.mysql_wire import parse_version
from bulkhead.engine.drivers.pooler import Pooling
from bulkhead.engine.drivers.protocol import Capabilities

TIMEOUT_S = 10.0
PROBE_TABLE = "_bulkhead_probe_"


async def probe_database(admin: MysqlConnection, other: MysqlConnection) -> Capabilities:
    """Try everything with two connections of somebody who may create tables in the database.

    What MySQL has no words for is tried all the same: a server that speaks its protocol may know
    them.
    """
    attempt = _Attempts(admin, other, PROBE_TABLE + secrets.token_hex(4))
    version = str((await attempt.fetch("select version() as version"))[0]["version"])
    await attempt.run(f"create table {attempt.name} (id integer primary key) engine = innodb")
    try:
        return Capabilities(
            server_version=version,
            version_number=parse_version(version),
            transactional_ddl=await _succeeds(attempt.transactional_ddl),
            row_level_security=await _succeeds(attempt.row_level_security),
            policy_subquery=False,
            template_clone=await _succeeds(attempt.template_clone),
            listen_notify=await _succeeds(attempt.listen_notify),
            advisory_locks=await _succeeds(attempt.advisory_locks),
            snapshot_export=await _succeeds(attempt.snapshot_export),
            skip_locked=await _succeeds(attempt.skip_locked),
            set_role=await _succeeds(attempt.set_role),
            pooling=await attempt.pooling(),
            tls=await _succeeds(attempt.tls),
        )
    finally:
        if not admin.is_closed():
            await attempt.run(f"drop table if exists {attempt.name}, {attempt.name}_ddl")


async def _succeeds(attempt: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await attempt()
    except SqlError:
        return False


class _Attempts:
    def __init__(self, admin: MysqlConnection, other: MysqlConnection, name: str) -> None:
        self.admin = admin
        self.other = other
        self.name = name

    async def fetch(self, sql: str, *args: object) -> Sequence[Mapping[str, Any]]:
        return await self.admin.fetch(sql, args, timeout_s=TIMEOUT_S)

    async def run(self, sql: str) -> None:
        await self.admin.execute(sql, (), timeout_s=TIMEOUT_S)

    async def transactional_ddl(self) -> bool:
        await self.admin.begin(read_only=False, timeout_s=TIMEOUT_S)
        try:
            await self.run(f"create table {self.name}_ddl (id integer primary key)")
        finally:
            await self.admin.rollback(timeout_s=TIMEOUT_S)
        found = await self.fetch(
            "select 1 as one from information_schema.tables "
            "where table_schema = database() and table_name = %s",
            f"{self.name}_ddl",
        )
        return not found

    async def row_level_security(self) -> bool:
        await self.run(f"alter table {self.name} enable row level security")
        return True

    async def template_clone(self) -> bool:
        """Needs no clean-up where it fails, which is everywhere."""
        await self.run(f"create database {self.name} template {self.name}_none")
        await self.run(f"drop database {self.name}")
        return True

    async def listen_notify(self) -> bool:
        await self.run(f"listen {self.name}")
        return True

    async def advisory_locks(self) -> bool:
        """A session's lock keeps others out."""
        key = self.name
        await self.fetch("select get_lock(%s, 0) as got", key)
        rows = await self.other.fetch(
            "select is_free_lock(%s) as free", (key,), timeout_s=TIMEOUT_S
        )
        released = (await self.fetch("select release_lock(%s) as done", key))[0]["done"]
        return bool(released) and not rows[0]["free"]

    async def snapshot_export(self) -> bool:
        await self.fetch("select pg_export_snapshot() as snapshot")
        return True

    async def skip_locked(self) -> bool:
        """Rows that another transaction holds are passed over, not waited for."""
        await self.run(f"insert into {self.name} (id) values (1), (2)")
        select = f"select id from {self.name} where id {{}} for update skip locked"
        await self.admin.begin(read_only=False, timeout_s=TIMEOUT_S)
        await self.other.begin(read_only=False, timeout_s=TIMEOUT_S)
        try:
            await self.run(select.format("= 1"))
            rows = await self.other.fetch(select.format("> 0"), (), timeout_s=TIMEOUT_S)
            return [row["id"] for row in rows] == [2]
        except LockTimeout:
            return False
        finally:
            await self.other.rollback(timeout_s=TIMEOUT_S)
            await self.admin.rollback(timeout_s=TIMEOUT_S)

    async def set_role(self) -> bool:
        """A role for one transaction, as PostgreSQL has it; MySQL's last for the session."""
        await self.admin.begin(read_only=True, timeout_s=TIMEOUT_S)
        try:
            await self.run("set local role none")
        finally:
            await self.admin.rollback(timeout_s=TIMEOUT_S)
        return True

    async def pooling(self) -> Pooling:
        """Whether every statement reaches the thread that greeted, or at least always the same."""
        seen = {(await self.fetch("select connection_id() as id"))[0]["id"] for _ in range(3)}
        if seen == {self.admin.id}:
            return Pooling.NONE
        return Pooling.SESSION if len(seen) == 1 else Pooling.TRANSACTION

    async def tls(self) -> bool:
        rows = await self.fetch("show session status like 'Ssl_cipher'")
        return bool(rows and rows[0]["Value"])
