"""Logical replication between two PostgreSQL servers of a fleet, in steps that can be repeated."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.errors import CapabilityMissing, DatabaseMissing
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.errors import BulkheadError, Conflict, Unavailable
from bulkhead.engine.fleet.owner import Managed
from bulkhead.engine.fleet.rows import TenantTable
from bulkhead.engine.fleet.schema_dump import SCHEMAS, dump_schema

QUERIES: Final = load_queries(__package__, "replication.sql")
VERSION_MIN: Final = 160000
"""PostgreSQL 16: changes that arrived by replication can be kept from going back."""
_OWNER: Final = re.compile(r'^ALTER .* OWNER TO ("(?:[^"]|"")+"|\w+);$', re.MULTILINE)
_SETTING: Final = re.compile(r"^SET (\w+) = [^\n]*;$", re.MULTILINE)
DROP_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.002
COPY_POLL_S: Final = 0.1


class TableWithoutKey(Conflict):
    """Rows of {tables} cannot be told apart, so that changes of them cannot be followed."""

    code = "table_without_key"
    hint = "Give each table a primary key, or set its replica identity to full."


class ReplicationStuck(Unavailable):
    """Replication of database '{database}' does not arrive: {reason}."""

    code = "replication_stuck"
    retry_after_s = 60
    hint = "See the log of the server that it goes to."


class SlotInUse(BulkheadError):
    """Replication slot '{slot}' is still read from."""

    code = "slot_in_use"
    status = 503


async def verify_able(managed: Managed) -> None:
    """Pass for a server that can send and follow; raises CapabilityMissing."""
    async with managed.administer() as admin:
        row = await admin.fetchrow(QUERIES.find_limits)
    needed = {
        "PostgreSQL 16 or later": row["version"] >= VERSION_MIN,
        "wal_level = logical": row["is_logical"],
        "a superuser as administrator": row["is_superuser"],
    }
    missing = [name for name, is_there in needed.items() if not is_there]
    if missing:
        raise CapabilityMissing(
            server=managed.driver.server,
            capability=f"for moves, {' and '.join(missing)}",
            remedy="Change that, or give the rows to a tenant elsewhere: bulkhead tenant clone.",
        )


async def list_moved(managed: Managed) -> tuple[TenantTable, ...]:
    """Every table that moves; raises TableWithoutKey."""
    async with managed.administer() as admin:
        rows = await admin.fetch(QUERIES.list_moved)
    without = [f"{row['schema']}.{row['name']}" for row in rows if not row["is_distinct"]]
    if without:
        raise TableWithoutKey(tables=", ".join(without))
    return tuple(
        TenantTable(row["schema"], row["name"], tuple(row["columns"]), (), frozenset())
        for row in rows
    )


async def copy_schema(source: Managed, target: Managed) -> None:
    """Make the database on `target` anew, empty, with the schema of `source`.

    Raises CapabilityMissing when `target` cannot send and follow.
    """
    text = await dump_schema(source.driver, source.spec)
    async with source.administer() as admin:
        extensions = [row["name"] for row in await admin.fetch(QUERIES.list_extensions)]
    await target.driver.drop_database(target.spec)
    await target.driver.ensure_database(target.spec)
    await verify_able(target)
    async with target.administer() as admin:
        settings = {row["name"] for row in await admin.fetch(QUERIES.list_settings)}
        text = render_for(settings, text)
        had = {row["name"] for row in await admin.fetch(QUERIES.list_extensions)}
        text = _owned_by(text, {row["name"] for row in await admin.fetch(QUERIES.list_roles)})
        async with admin.transaction():
            for name in extensions:
                if name not in had:
                    await admin.execute(f"create extension {identifier(name)} schema extensions")
            for schema in SCHEMAS:
                await admin.execute(f"drop schema if exists {identifier(schema)} cascade")
            await admin.execute(text)
    # What depended on the schemas that were replaced.
    await target.driver.ensure_database(target.spec)


def render_for(settings: Collection[str], text: str) -> str:
    """A dump for a server that has only these `settings`.

    pg_dump begins with what its own release can be set to, such as `transaction_timeout`, which
    came with PostgreSQL 17; below that there may be text of functions.
    """
    head, first, rest = text.partition("\n-- Name: ")
    head = _SETTING.sub(lambda found: found[0] if found[1] in settings else "", head)
    return head + first + rest


def _owned_by(text: str, roles: set[str]) -> str:
    """A dump without owners that are not among `roles`: what the administrator made is its own."""
    return _OWNER.sub(lambda found: found[0] if _unquoted(found[1]) in roles else "", text)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


async def publish(managed: Managed, name: str, tables: Sequence[TenantTable]) -> None:
    """Have a publication of `tables`."""
    async with managed.administer() as admin:
        if not await admin.fetchval(QUERIES.has_publication, name):
            names = ", ".join(table.quoted for table in tables)
            await admin.execute(f"create publication {identifier(name)} for table {names}")


async def subscribe(target: Managed, source: Managed, name: str, *, copying: bool) -> None:
    """Have `target` follow `source`; with `copying`, from empty tables and through a new slot.

    Rows are written as the administrator, not as the owner of their table, because forced row level
    security holds for owners. Triggers do not fire; what else runs with a row is of our migrations.
    One that is there is enabled again: it was disabled when `source` was restarted, after which it
    may have another port.
    """
    url = source.driver.url(source.spec, Login.ADMIN)
    async with target.administer() as admin:
        if await admin.fetchrow(QUERIES.find_subscription, name) is not None:
            quoted = identifier(name)
            await admin.execute(f"alter subscription {quoted} connection {literal(url)}")
            await admin.execute(f"alter subscription {quoted} enable")
            return
        if copying:
            await drop_slot(source, name)
            tables = ", ".join(
                f"{identifier(row['schema'])}.{identifier(row['name'])}"
                for row in await admin.fetch(QUERIES.list_moved)
            )
            await admin.execute(f"truncate {tables}")
        word = "true" if copying else "false"
        await admin.execute(
            f"create subscription {identifier(name)} connection {literal(url)}"
            f" publication {identifier(name)} with (slot_name = {literal(name)},"
            f" create_slot = {word}, copy_data = {word}, origin = none, disable_on_error = true,"
            " run_as_owner = true)"
        )


async def wait_copied(
    target: Managed,
    source: Managed,
    name: str,
    *,
    lag_bytes_max: int,
    timeout_s: float = float("inf"),
) -> None:
    """Return once every table is copied and little is left to follow; raises ReplicationStuck."""
    deadline_s = monotonic_s() + timeout_s
    async with target.administer() as there, source.administer() as here:
        while True:
            row = await there.fetchrow(QUERIES.find_subscription, name)
            if row is None or not row["enabled"]:
                raise ReplicationStuck(database=target.spec.name, reason="a change was refused")
            slot = await here.fetchrow(QUERIES.find_slot, name)
            if not row["copying"] and slot is not None and slot["lag_bytes"] <= lag_bytes_max:
                return
            if monotonic_s() > deadline_s:
                raise ReplicationStuck(database=target.spec.name, reason="too much is left")
            await asyncio.sleep(COPY_POLL_S)


async def wait_arrived(
    admin: Any,  # noqa: ANN401 - asyncpg.Connection
    follower: Any,  # noqa: ANN401
    database: str,
    slot: str,
    *,
    timeout_s: float,
) -> None:
    """Return once all that was written on `admin`'s server until now is on `follower`'s disk.

    Nobody writes any more. Raises ReplicationStuck.
    """
    deadline_s = monotonic_s() + timeout_s
    place = (await admin.fetchrow(QUERIES.find_place))["place"]
    while not await admin.fetchval(QUERIES.has_confirmed, slot, place):
        if monotonic_s() > deadline_s:
            raise ReplicationStuck(database=database, reason=f"not within {timeout_s:g} s")
        # A commit brings what was applied to the disk; news from here has that told.
        await follower.execute(QUERIES.bring_to_disk)
        await admin.fetchrow(QUERIES.find_place)
        await asyncio.sleep(POLL_S)


async def make_slot(managed: Managed, name: str) -> None:
    """Have a slot to follow from."""
    async with managed.administer() as admin:
        await admin.execute(QUERIES.make_slot, name)


async def follow(managed: Managed, name: str) -> None:
    """Enable the subscription, if there is one: a repeat may have stopped it, or an error."""
    async with managed.administer() as admin:
        row = await admin.fetchrow(QUERIES.find_subscription, name)
        if row is not None and not row["enabled"]:
            await admin.execute(f"alter subscription {identifier(name)} enable")


async def kept_bytes(managed: Managed, slot: str) -> int:
    """How much of its log the server keeps for a slot; 0 where there is none."""
    with suppress(DatabaseMissing):
        async with managed.administer() as admin:
            row = await admin.fetchrow(QUERIES.find_slot, slot)
        return int(row["kept_bytes"]) if row is not None else 0
    return 0


async def is_following(managed: Managed, name: str) -> bool:
    """Whether the database has a subscription, be it enabled or not."""
    async with managed.administer() as admin:
        return await admin.fetchrow(QUERIES.find_subscription, name) is not None


async def stop_following(managed: Managed, name: str) -> None:
    """Disable the subscription, so that nothing arrives any more."""
    async with managed.administer() as admin:
        if await admin.fetchrow(QUERIES.find_subscription, name) is not None:
            await admin.execute(f"alter subscription {identifier(name)} disable")


async def unsubscribe(managed: Managed, name: str) -> None:
    """Have no subscription; its slot stays, because the other server may not answer.

    A database that is gone has none.
    """
    quoted = identifier(name)
    with suppress(DatabaseMissing):
        async with managed.administer() as admin:
            if await admin.fetchrow(QUERIES.find_subscription, name) is not None:
                await admin.execute(f"alter subscription {quoted} disable")
                await admin.execute(f"alter subscription {quoted} set (slot_name = none)")
                await admin.execute(f"drop subscription {quoted}")


async def unpublish(managed: Managed, name: str) -> None:
    """Have neither publication nor slot, those for the first copy neither.

    A database that is gone has none: it cannot be dropped while it has a slot.
    """
    with suppress(DatabaseMissing):
        await drop_slot(managed, name)
        async with managed.administer() as admin:
            rows = await admin.fetch(QUERIES.list_copy_slots)
        for row in rows:
            await drop_slot(managed, row["name"])
        async with managed.administer() as admin:
            await admin.execute(f"drop publication if exists {identifier(name)}")


async def drop_slot(managed: Managed, name: str) -> None:
    """Have no slot, also when somebody reads from it; raises SlotInUse."""
    deadline_s = monotonic_s() + DROP_TIMEOUT_S
    async with managed.administer() as admin:
        while await admin.fetchrow(QUERIES.find_slot, name) is not None:
            await admin.execute(QUERIES.stop_slot, name)
            with suppress(asyncpg.ObjectInUseError):
                await admin.execute(QUERIES.drop_slot, name)
            if monotonic_s() > deadline_s:
                raise SlotInUse(slot=name)
            await asyncio.sleep(POLL_S)
