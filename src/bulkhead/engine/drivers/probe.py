"""What a server can do, found out by doing it: every attempt is undone.

The vendor's name and version say little about a pooler in between or a reimplementation of
PostgreSQL, and behaviour must not depend on a guess.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from bulkhead.engine.drivers.bootstrap import quote_name
from bulkhead.engine.drivers.pooler import probe_pooling
from bulkhead.engine.drivers.protocol import Capabilities, DatabaseSpec

NOTIFY_TIMEOUT_S = 2.0
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


async def probe_database(
    admin: Any,  # noqa: ANN401
    other: Any,  # noqa: ANN401
    client: Any,  # noqa: ANN401
    spec: DatabaseSpec,
    connect: Callable[[], Awaitable[Any]],
) -> Capabilities:
    """Try everything with three connections to the database: two administrators and a client.

    `connect` opens one more for the client, where that is needed to tell.
    """
    attempt = _Attempts(admin, other, client, spec, f"bulkhead_probe_{secrets.token_hex(4)}")
    return Capabilities(
        server_version=await admin.fetchval("show server_version"),
        version_number=int(await admin.fetchval("show server_version_num")),
        transactional_ddl=await _succeeds(attempt.transactional_ddl),
        row_level_security=await _succeeds(attempt.row_level_security),
        policy_subquery=await _succeeds(attempt.policy_subquery),
        template_clone=await _succeeds(attempt.template_clone),
        listen_notify=await _succeeds(attempt.listen_notify),
        advisory_locks=await _succeeds(attempt.advisory_locks),
        snapshot_export=await _succeeds(attempt.snapshot_export),
        skip_locked=await _succeeds(attempt.skip_locked),
        set_role=await _succeeds(attempt.set_role),
        pooling=await probe_pooling(client, connect),
        tls=await _succeeds(attempt.tls),
        extensions=frozenset(
            row["name"] for row in await admin.fetch("select name from pg_available_extensions")
        ),
    )


async def _succeeds(attempt: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await attempt()
    except _FAILURES:
        return False


class _Attempts:
    def __init__(
        self,
        admin: Any,  # noqa: ANN401
        other: Any,  # noqa: ANN401
        client: Any,  # noqa: ANN401
        spec: DatabaseSpec,
        name: str,
    ) -> None:
        self.admin = admin
        self.other = other
        self.client = client
        self.spec = spec
        self.name = name

    async def transactional_ddl(self) -> bool:
        undo = self.admin.transaction()
        await undo.start()
        try:
            await self._create_table()
        finally:
            await undo.rollback()
        left: str | None = await self.admin.fetchval("select to_regclass($1)::text", self.name)
        return left is None

    async def row_level_security(self) -> bool:
        return await self._rows_seen_under("id = 1") == [1]

    async def policy_subquery(self) -> bool:
        return await self._rows_seen_under("id = (select 2)") == [2]

    async def skip_locked(self) -> bool:
        undo = self.admin.transaction()
        await undo.start()
        try:
            await self._create_table()
            rows = await self.admin.fetch(f"select id from {self.name} for update skip locked")
            return len(rows) == 2  # noqa: PLR2004
        finally:
            await undo.rollback()

    async def template_clone(self) -> bool:
        """Needs no transaction, and cannot stand in one; the clone is dropped."""
        try:
            await self.admin.execute(
                f"create database {self.name} owner {quote_name(self.spec.owner)} "
                "template template0 strategy wal_log"
            )
        finally:
            await self.admin.execute(f"drop database if exists {self.name}")
        return True

    async def listen_notify(self) -> bool:
        heard = asyncio.Event()
        await self.other.add_listener(self.name, lambda *_: heard.set())
        try:
            await self.admin.execute("select pg_notify($1, '')", self.name)
            async with asyncio.timeout(NOTIFY_TIMEOUT_S):
                await heard.wait()
        finally:
            await self.other.reset()
        return True

    async def advisory_locks(self) -> bool:
        """A session's lock is there for others after its transaction has ended."""
        key = secrets.randbits(62)
        await self.admin.execute("select pg_advisory_lock($1)", key)
        free: bool = await self.other.fetchval("select pg_try_advisory_lock($1)", key)
        released: bool = await self.admin.fetchval("select pg_advisory_unlock($1)", key)
        return released and not free

    async def snapshot_export(self) -> bool:
        async with self.admin.transaction(isolation="repeatable_read"):
            snapshot = await self.admin.fetchval("select pg_export_snapshot()")
            async with self.other.transaction(isolation="repeatable_read"):
                await self.other.execute(f"set transaction snapshot '{snapshot}'")
        return True

    async def set_role(self) -> bool:
        """The client can take on a role and claims for one transaction, and loses them after it."""
        async with self.client.transaction():
            await self.client.execute(
                'set local role authenticated; set local request.jwt.claims = \'{"role":"x"}\''
            )
            inside = await self.client.fetchrow(
                "select current_user::text as role, auth.role() as claim"
            )
        outside: bool = await self.client.fetchval("select current_user = session_user")
        return (inside["role"], inside["claim"]) == ("authenticated", "x") and outside

    async def tls(self) -> bool:
        """On the wire that begins here, and on that of a pooler, which may be a Unix socket."""
        row = await self.client.fetchrow(
            "select ssl, client_addr is null as is_socket "
            "from pg_stat_ssl join pg_stat_activity using (pid) where pid = pg_backend_pid()"
        )
        here = self.client._transport.get_extra_info("ssl_object") is not None  # noqa: SLF001
        return here and (row["ssl"] is True or row["is_socket"])

    async def _create_table(self) -> None:
        await self.admin.execute(
            f"set local role {quote_name(self.spec.owner)}; "
            f"create table {self.name} (id integer primary key); "
            f"insert into {self.name} (id) values (1), (2)"
        )

    async def _rows_seen_under(self, policy: str) -> list[int]:
        """The rows that the owner, to whom policies are made to apply, can see."""
        undo = self.admin.transaction()
        await undo.start()
        try:
            await self._create_table()
            await self.admin.execute(
                f"alter table {self.name} enable row level security; "
                f"alter table {self.name} force row level security; "
                f"create policy probe on {self.name} to current_user using ({policy})"
            )
            return [row["id"] for row in await self.admin.fetch(f"select id from {self.name}")]
        finally:
            await undo.rollback()
