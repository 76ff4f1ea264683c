"""Nothing of one transaction's session is there for the next one, whoever that is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import ANON, SERVICE, Claims, Role, user
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import PermissionDenied, SqlError
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import derive_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.testing import TestServers
from bulkhead.engine.topology import Database, Table, Topology

HERE = Path(__file__).parent
NOTES = Application(
    "notes", "Notes", Topology("notes", (Database("notes", (Table("notes"),), HERE / "notes"),))
)
ADA, BOB = (user(derive_id("test", name)) for name in ("ada", "bob"))
LEASES = {"ada": ADA, "bob": BOB, "anon": ANON, "service": SERVICE}

LEAVING = {
    "a note": "insert into notes (body) values ('mine')",
    "a setting": "select set_config('my.secret', 'left behind', false)",
    "other claims": "select set_config('request.jwt.claims', '{\"sub\":\"left behind\"}', false)",
    "another name": "select set_config('request.jwt.claim.sub', gen_random_uuid()::text, false)",
    "another role's name": "select set_config('request.jwt.claim.role', 'service_role', false)",
    "a whole claim": "select set_config('request.jwt.claim', '{\"sub\":\"left behind\"}', false)",
    "a role": "set role anon",
    "another role": "set role authenticated",
    "its own role": "reset role",
    "an advisory lock": "select pg_advisory_lock(4711)",
    "a shared advisory lock": "select pg_advisory_lock_shared(4711)",
    "an ear": "listen left_behind",
    "a cursor": "declare left_behind cursor with hold for select 'left behind'",
    "a statement": "prepare left_behind as select 'left behind'",
    "a hidden statement": "do $$ begin execute 'PRE' || 'PARE hidden as select 1'; end $$",
    "no statements": "deallocate all",
    "a path": "set search_path = pg_catalog",
    "a time-out": "set statement_timeout = '1ms'",
    "a mode": "set session characteristics as transaction read only",
    "another mode": "set default_transaction_read_only = on",
    "a name": "set application_name = 'left behind'",
    "row security": "set row_security = off",
    "a local setting": "set local my.secret = 'left behind'",
    "nothing": "select 1",
}
"""What a careless or injected statement may leave in a session."""

REMAINS = """
select
  current_setting('role') as role,
  current_setting('request.jwt.claims', true) as claims,
  auth.uid() as uid,
  auth.role() as auth_role,
  auth.email() as email,
  auth.jwt() as jwt,
  nullif(current_setting('my.secret', true), '') as secret,
  current_setting('application_name') as name,
  current_setting('search_path') as path,
  current_setting('row_security') as row_security,
  current_setting('default_transaction_read_only') as read_only,
  current_setting('statement_timeout') as statement_timeout,
  (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
  (select count(*) from pg_listening_channels()) as ears,
  (select count(*) from pg_cursors where is_holdable) as cursors,
  (select array_agg(name) from pg_prepared_statements where from_sql) as statements
"""

ending = st.sampled_from(["commit", "error", "refusal", "cancel"])
lease = st.tuples(
    st.sampled_from(sorted(LEASES)), st.sampled_from(sorted(LEAVING)), ending, st.booleans()
)


@pytest.fixture(scope="module")
async def notes(servers: TestServers) -> AsyncIterator[OpenDatabase]:
    """One connection for all users, one for the service."""
    async with servers.system(NOTES, Settings(pool_size=1)) as system:
        yield system.database("notes")


async def remains(
    database: OpenDatabase, claims: Claims, *, read_only: bool = False
) -> dict[str, Any]:
    """What a transaction finds in its session before it has done anything."""
    async with database.transaction(claims, read_only=read_only) as tx:
        row = await tx.fetchrow(REMAINS)
    assert row is not None
    return dict(row)


async def leave(
    database: OpenDatabase, claims: Claims, statement: str, end: str, *, read_only: bool = False
) -> None:
    """A transaction that leaves something behind and ends somehow."""
    async with database.transaction(claims, read_only=read_only) as tx:
        await tx.execute(statement)
        if end == "error":
            await tx.execute("select 1 / 0")
        if end == "refusal":
            raise PermissionDenied(sqlstate="42501")
        if end == "cancel":
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.002, task.cancel)
            await tx.execute("select pg_sleep(0.05)")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lease, min_size=1, max_size=6))
async def test_a_session_is_new_for_every_lease(
    notes: OpenDatabase, leases: list[tuple[str, str, str, bool]]
) -> None:
    fresh = {name: await remains(notes, claims) for name, claims in LEASES.items()}
    for name, what, end, reads in leases:
        left = leave(notes, LEASES[name], LEAVING[what], end, read_only=reads)
        task = asyncio.create_task(left)
        await asyncio.wait([task])
        if not task.cancelled():
            assert isinstance(task.exception(), BulkheadError | None)
        for other, claims in LEASES.items():
            found = await remains(notes, claims, read_only=reads)
            assert found == fresh[other], f"{other} after {name}: {what}"
    for pool in notes.pools.values():
        assert pool.stats.in_use == 0
        assert pool.size <= 1


async def test_a_statement_whose_caller_has_gone_does_not_keep_its_locks(
    notes: OpenDatabase,
) -> None:
    async def hold() -> None:
        async with notes.transaction(ADA) as tx:
            await tx.execute("select pg_advisory_xact_lock(4712)")
            held.set()
            await tx.execute("select pg_sleep(7)")

    held = asyncio.Event()
    task = asyncio.create_task(hold())
    await held.wait()
    task.cancel()
    await asyncio.wait([task])
    async with notes.transaction(ADA) as tx:
        await tx.execute("set local lock_timeout = '4s'; select pg_advisory_xact_lock(4712)")


async def test_what_a_fresh_session_looks_like(notes: OpenDatabase) -> None:
    for name, claims in LEASES.items():
        found = await remains(notes, claims)
        assert found["role"] == claims.role
        assert found["claims"] == claims.json, name
        assert not found["secret"]
        assert (found["locks"], found["ears"], found["cursors"], found["statements"]) == (
            0, 0, 0, None
        )  # fmt: skip


@pytest.mark.parametrize("rounds", [20])
async def test_users_who_take_turns_see_their_own_rows_only(
    notes: OpenDatabase, rounds: int
) -> None:
    async def write_and_read(claims: Claims, number: int) -> None:
        for turn in range(rounds):
            async with notes.transaction(claims) as tx:
                await tx.execute("insert into notes (body) values ($1)", f"{number} {turn}")
            async with notes.transaction(claims, read_only=True) as tx:
                rows = await tx.fetch("select user_id, body from notes")
            assert {row["user_id"] for row in rows} == {claims.subject}
            assert len(rows) == turn + 1
            with pytest.raises(PermissionDenied):
                async with notes.transaction(ANON) as tx:
                    await tx.fetch("select body from notes")

    users = [user(derive_id("test", "turns", number)) for number in range(6)]
    async with asyncio.TaskGroup() as group:
        for number, claims in enumerate(users):
            group.create_task(write_and_read(claims, number))
    async with notes.transaction(SERVICE) as tx:
        written = "select count(*) from notes where user_id = any($1)"
        assert await tx.fetchval(written, [each.subject for each in users]) == 6 * rounds


@pytest.mark.parametrize("claims", [ADA, ANON, SERVICE], ids=["ada", "anon", "service"])
async def test_nobody_makes_temporary_tables(notes: OpenDatabase, claims: Claims) -> None:
    with pytest.raises(PermissionDenied):
        async with notes.transaction(claims) as tx:
            await tx.execute("create temp table left_behind (secret text)")


@pytest.mark.parametrize("role", ["service_role", "postgres", "{owner}", "{service}", "pg_monitor"])
@pytest.mark.parametrize("claims", [ADA, ANON], ids=["ada", "anon"])
async def test_no_client_becomes_more_than_a_client(
    notes: OpenDatabase, claims: Claims, role: str
) -> None:
    name = role.format(owner=notes.spec.owner, service=f"{notes.spec.role_prefix}_service")
    for statement in (
        f'set local role "{name}"',
        f'reset role; set role "{name}"',
        f"select set_config('role', '{name}', false)",
        f'set session authorization "{name}"',
    ):
        with pytest.raises(SqlError):
            async with notes.transaction(claims) as tx:
                await tx.execute(statement)


async def test_the_service_becomes_nobody_else(notes: OpenDatabase) -> None:
    for role in (Role.ANON, Role.AUTHENTICATED):
        with pytest.raises(PermissionDenied):
            async with notes.transaction(SERVICE) as tx:
                await tx.execute(f"set local role {role.value}")


async def test_the_server_hears_how_long_a_statement_may_take(
    servers: TestServers, tmp_path: Path
) -> None:
    limit = "select current_setting('statement_timeout')"
    async with servers.system(NOTES, Settings(home=tmp_path, statement_timeout_s=20.0)) as system:
        database = system.database("notes")
        for claims in (ANON, ADA, SERVICE, ADA):
            async with database.transaction(claims, read_only=True) as tx:
                assert await tx.fetchval(limit) == "20s"
        snapshot = "set transaction isolation level repeatable read"
        async with database.transaction(ADA, read_only=True, first=snapshot) as tx:
            assert await tx.fetchval("show transaction_isolation") == "repeatable read"
