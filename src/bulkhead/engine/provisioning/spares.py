"""Databases that no tenant has yet: a template for each schema, and some that are kept ready.

Each has a row in the registry before it is made, so that one that was left half-made is found and
dropped. A template is sealed once it is complete and never changed: another schema has another one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import DatabaseForeign, UniqueViolated
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, Driver
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import ServerKind, ServerRow, TenantId
from bulkhead.engine.fleet.parallel import in_parallel
from bulkhead.engine.fleet.registry import list_servers
from bulkhead.engine.ids import new_id
from bulkhead.engine.ongoing import SETTLED_S, claimed
from bulkhead.engine.provisioning.schema import FleetSchema, MigrationCall
from bulkhead.engine.provisioning.tables import make_all
from bulkhead.engine.provisioning.target import managed_target

QUERIES = load_queries(__package__, "spares.sql")
LEASE_S = 300.0
DROPS_MAX = 20
DROPS_AT_ONCE = 4
"""Each waits for a checkpoint of its server, which those that come at once share."""
NAME_CHARACTERS = 7
NOBODY: Final = TenantId(UUID(int=0))

NOTED: Final = failpoints.register("provisioning.spares:noted")
MADE: Final = failpoints.register("provisioning.spares:made")
FILLED: Final = failpoints.register("provisioning.spares:filled")
SEALED: Final = failpoints.register("provisioning.spares:sealed")
DROPPED: Final = failpoints.register("provisioning.spares:dropped")

log = logging.getLogger(__name__)


def physical_name(fleet: str, identifier: UUID) -> str:
    """A name that nobody else has, short enough for the logins of MySQL."""
    return f"{fleet[:NAME_CHARACTERS].rstrip('_')}_{identifier.hex[-16:]}"


def spec_of_tenant(
    schema: FleetSchema, dialect: Dialect, name: str, template: str | None = None
) -> DatabaseSpec:
    """A database of the fleet with logins of its own; its objects belong to the fleet's owner."""
    prefix = schema.fleet if dialect is Dialect.POSTGRESQL else None
    return DatabaseSpec(name, template=template, role_prefix=prefix, login_prefix=name)


def can_clone(server: ServerRow) -> bool:
    """Whether databases are made from a template there: on PostgreSQL, unless `clone` is `no`.

    An operator labels so a server that speaks PostgreSQL but refuses to copy databases.
    """
    return server.kind is ServerKind.POSTGRESQL and server.labels.get("clone") != "no"


@dataclass(frozen=True, slots=True)
class Left:
    """What there is of the spares of a fleet on a server."""

    count: int
    busy_until: dt.datetime | None
    """How long somebody may make or drop some of them, None when nobody does."""


@dataclass(slots=True, eq=False)
class Spares:
    """The spares of one fleet."""

    databases: Databases
    schema: FleetSchema
    warm: int = 0
    """How many databases are kept ready on each server."""
    lease_s: float = LEASE_S
    _templates: dict[str, str] = field(default_factory=dict)
    """By server, as they were last found; one that is gone is noticed when it is cloned."""
    _building: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    async def claim_warm(self, tx: Transaction, server: ServerRow) -> str | None:
        """Take a ready database out of the pool; it is the transaction's if that commits."""
        found: str | None = await tx.fetchval(
            QUERIES.claim_warm, server.name, self.schema.fleet, self._fingerprint(server)
        )
        return found

    async def template(self, server: ServerRow) -> str | None:
        """The template on a server, made when there is none; None where nothing can be cloned."""
        if not can_clone(server):
            return None
        if (known := self._templates.get(server.name)) is not None:
            return known
        async with self._building[server.name]:
            found = await self._find_template(server) or await self._make(server, "template")
        if found is not None:
            self._templates[server.name] = found
        return found

    async def another_template(self, server: ServerRow, unusable: str) -> str | None:
        """A template instead of one that could not be cloned: it is being replaced, or gone."""
        if self._templates.get(server.name) == unusable:
            del self._templates[server.name]
        async with self.databases.registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.condemn_spare, unusable, 0.0)
        return await self.template(server)

    async def refill(self) -> int:
        """Make what the pools lack, one after another, and return how many that was."""
        made = 0
        for server in await self._servers() if self.warm else ():
            try:
                while server.draining_at is None and await self._make(server, "warm") is not None:
                    made += 1
            except BulkheadError as error:
                log.warning("the pool of server %s is not filled: %s", server.name, error)
        return made

    async def sweep(self) -> int:
        """Drop what was left half-made, or is of an older schema; return how many that was."""
        left = await claimed(self._claim_condemned(), self._leave)
        away: set[str] = set()

        async def drop(row: tuple[str, str]) -> bool:
            name, server = row
            if server not in away:
                try:
                    await self._drop(name, server)
                except BulkheadError as error:
                    log.warning("spare database %s stays for now: %s", name, error)
                    away.add(server)
                else:
                    del left[name]
                    return True
            await self._release(name)
            del left[name]
            return False

        try:
            return sum(await in_parallel(drop, list(left.items()), DROPS_AT_ONCE))
        except asyncio.CancelledError:
            await self._leave(left)
            raise

    async def left_at(self, server: str) -> Left:
        """What there is of spares on a server."""
        async with self.databases.registry.transaction(SERVICE, read_only=True) as tx:
            row = await tx.fetchrow(QUERIES.left_at, server, self.schema.fleet)
        assert row is not None, "an aggregate has a row"
        return Left(**row)

    async def abandon(self, server: str) -> int:
        """Forget what there is on a server that is gone; return how many databases that was."""
        async with self.databases.registry.transaction(SERVICE) as tx:
            rows = await tx.fetch(QUERIES.forget_spares, server, self.schema.fleet)
        return len(rows)

    async def _servers(self) -> tuple[ServerRow, ...]:
        async with self.databases.registry.transaction(SERVICE, read_only=True) as tx:
            servers = await list_servers(tx)
        return tuple(server for server in servers if server.kind is not ServerKind.SUPABASE)

    async def _find_template(self, server: ServerRow) -> str | None:
        async with self.databases.registry.transaction(SERVICE, read_only=True) as tx:
            found: str | None = await tx.fetchval(
                QUERIES.find_template, server.name, self.schema.fleet, self._fingerprint(server)
            )
        return found

    async def _make(self, server: ServerRow, purpose: str) -> str | None:
        """Make a spare; None when none is wanted any more."""
        driver = await self.databases.driver(server)
        if purpose == "warm" and not await self._lacks_warm(server):
            return None
        if server.name not in self.databases.drivers:
            # A server that is away must not gather notes of what was never made there.
            await driver.start()
        name = physical_name(self.schema.fleet, new_id())
        if not await claimed(self._note(server, purpose, name), self._leave):
            return None
        try:
            await failpoints.reach(NOTED)
            if await self._build(server, driver, purpose, name):
                return name
        except BulkheadError:
            self._templates.pop(server.name, None)  # It may be what failed.
            await self._discard(name, server.name)
            raise
        except asyncio.CancelledError:
            await self._leave([name])
            raise
        await self._discard(name, server.name)
        return await self._find_template(server) if purpose == "template" else None

    async def _build(self, server: ServerRow, driver: Driver, purpose: str, name: str) -> bool:
        """Make what was noted; False when another one was faster, or it took too long."""
        template = await self.template(server) if purpose == "warm" else None
        spec = spec_of_tenant(self.schema, driver.dialect, name, template)
        await driver.ensure_database(spec)
        await failpoints.reach(MADE)
        if template is None:
            await self._fill(driver, spec)
        else:
            # The first session in a database takes several times as long as those after it.
            async with managed_target(NOBODY, driver, spec).as_tenant():
                pass
        await failpoints.reach(FILLED)
        if purpose == "template":
            await driver.seal_template(spec)
        await failpoints.reach(SEALED)
        return await self._finish(name)

    async def _lacks_warm(self, server: ServerRow) -> bool:
        wanted = (server.name, self.schema.fleet, self._fingerprint(server))
        async with self.databases.registry.transaction(SERVICE, read_only=True) as tx:
            return int(await tx.fetchval(QUERIES.count_warm, *wanted)) < self.warm

    async def _claim_condemned(self) -> dict[str, str]:
        """Names of spares to be dropped by this process, and their servers."""
        fingerprints = list({self._fingerprint(server) for server in await self._servers()})
        fleet, version = self.schema.fleet, self.schema.version
        async with self.databases.registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.condemn_spares, fleet, version, fingerprints)
            rows = await tx.fetch(QUERIES.claim_condemned, fleet, DROPS_MAX, self.lease_s)
        return {row["name"]: row["server"] for row in rows}

    async def _note(self, server: ServerRow, purpose: str, name: str) -> list[str]:
        """Note a spare that is to be made; nothing when none is wanted any more."""
        fleet, fingerprint = self.schema.fleet, self._fingerprint(server)
        async with self.databases.registry.transaction(SERVICE) as tx:
            is_drained = await tx.fetchval(QUERIES.lock_server, server.name)
            if purpose == "warm":
                if is_drained is not False:  # Since it was looked at; None once it is removed.
                    return []
                ready = await tx.fetchval(QUERIES.count_warm, server.name, fleet, fingerprint)
                if ready >= self.warm:
                    return []
            version = self.schema.version
            await tx.execute(
                QUERIES.add_spare,
                *(name, server.name, fleet, purpose, version, fingerprint, self.lease_s),
            )
        return [name]

    async def _fill(self, driver: Driver, spec: DatabaseSpec) -> None:
        target = managed_target(NOBODY, driver, spec)
        async with target.as_owner() as connection:
            await make_all(connection, self.schema.extracted(driver.dialect, client_roles=True))
            await self.schema.migrate(MigrationCall(connection.raw, spec, is_fresh=True))

    async def _finish(self, name: str) -> bool:
        try:
            async with self.databases.registry.transaction(SERVICE) as tx:
                return await tx.fetchrow(QUERIES.finish_spare, name) is not None
        except UniqueViolated:
            return False

    async def _discard(self, name: str, server: str) -> None:
        """Drop one that is of no use; what cannot be dropped now, `sweep` drops later."""
        try:
            async with self.databases.registry.transaction(SERVICE) as tx:
                await tx.execute(QUERIES.condemn_spare, name, self.lease_s)
            await self._drop(name, server)
        except BulkheadError as error:
            log.warning("spare database %s stays for now: %s", name, error)
            with suppress(BulkheadError):
                await self._release(name)
        except asyncio.CancelledError:
            await self._leave([name])
            raise

    async def _release(self, name: str, after_s: float = 0.0) -> None:
        async with self.databases.registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.release_spare, name, after_s)

    async def _leave(self, names: Iterable[str]) -> None:
        """Leave to others what is half made or half dropped; else they wait for its lease."""
        with suppress(BulkheadError):
            for name in list(names):
                await self._release(name, SETTLED_S)

    async def _drop(self, name: str, server: str) -> None:
        driver = await self.databases.driver(await self.databases.server(server))
        await drop_own(driver, spec_of_tenant(self.schema, driver.dialect, name))
        await failpoints.reach(DROPPED)
        async with self.databases.registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.remove_spare, name)

    def _fingerprint(self, server: ServerRow) -> str:
        is_mysql = server.kind is ServerKind.MYSQL
        return self.schema.fingerprint(Dialect.MYSQL if is_mysql else Dialect.POSTGRESQL)


async def drop_own(driver: Driver, spec: DatabaseSpec) -> None:
    """Drop a database and its logins; one that something else made stays."""
    try:
        await driver.drop_database(spec)
    except DatabaseForeign as error:
        log.warning("not dropped: %s", error)
