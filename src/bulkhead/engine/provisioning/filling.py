"""The steps within the database: whose it is, its tables, its first rows, and that all is well."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.compare import SchemaDiffers
from bulkhead.engine.extract.model import Catalogue, Key, Kind
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.provisioning.job import JobId, JobMode, JobState
from bulkhead.engine.provisioning.mark import (
    SCOPE,
    SEEDED,
    DatabaseOfAnother,
    adopt_parts,
    find_mark,
    list_parts,
    note_parts,
    take_mark,
    take_new,
    verify_mark,
)
from bulkhead.engine.provisioning.schema import IDENTITY, NOTES, MigrationCall, Newcomer
from bulkhead.engine.provisioning.store import QUERIES
from bulkhead.engine.provisioning.tables import part_of
from bulkhead.engine.provisioning.target import CONNECT_TIMEOUT_S, verify_version
from bulkhead.engine.provisioning.work import Work

_CREATING = (30, 70)
"""The progress, in per cent, with none and with all of the tables."""


async def verify_server(work: Work) -> None:
    """The server is new enough, and lets the tenant in; raises CapabilityMissing."""
    target, connection = await work.target(), await work.tenant()
    if not target.is_managed:  # Elsewhere whoever made the database has looked.
        await verify_version(target, connection)


async def list_tables(work: Work) -> None:
    """Count the tables, and mark the database as the tenant's; a clone is marked when it is seeded.

    Raises DatabaseOfAnother, SchemaDiffers, RightsMissing, before anything is changed.
    """
    building = await work.building()
    total = len(building.schema.catalogue.tables)
    if not work.is_made_of_statements:
        work.tables = (total, total)
        return
    connection = await work.owner()
    earlier = await find_mark(connection)
    difference, existing = await building.look(connection)
    difference.verify_compatible()
    work.tables = (total - len(difference.missing_tables), total)
    if earlier is None:
        await _verify_unowned(work, connection, existing)
    await building.mark(connection)
    if earlier is not None and earlier.job != work.job.id:
        await _adopt(work, connection, earlier.job)


async def take_back(work: Work) -> None:
    """Undo what was made in a database that its owner keeps; others are dropped as a whole."""
    if work.job.mode is JobMode.CONNECT and work.job.database is not None:
        building = await work.building()
        await building.take_back(await work.owner())


async def create_tables(work: Work) -> None:
    """Make the tables, indexes, references and policies that are missing."""
    building = await work.building()
    total = work.tables[1]

    async def tell(there: int) -> None:
        work.tables = (there, total)
        work.share = _CREATING[0] + (_CREATING[1] - _CREATING[0]) * there // max(total, 1)
        await work.tell(f"Creating tables ({there} of {total})")

    await building.make(await work.owner(), tell)


async def has_tables(work: Work) -> bool:
    """Whether they came with the database, from its template."""
    return not work.is_made_of_statements


async def is_current(work: Work) -> bool:
    """Whether the database came with the newest version of the schema, from its template.

    Whoever goes on with what another process began may have a newer schema than that one.
    """
    return not work.is_made_of_statements and work.job.attempts <= 1


async def migrate(work: Work) -> None:
    """Bring the database to the newest version of the schema."""
    target = await work.target()
    connection = await work.owner()
    if not work.is_made_of_statements:
        call = MigrationCall(connection.raw, target.spec, is_fresh=False, is_clone=True)
        await work.schema.migrate(call)
        return
    is_fresh = await _has_made_all(work, connection)
    await _note_notes(work, connection)
    await work.schema.migrate(MigrationCall(connection.raw, target.spec, is_fresh=is_fresh))


async def seed(work: Work) -> None:
    """Write whose database it is, and the first rows where all tables are new; once for all.

    Raises DatabaseOfAnother, JobLost.
    """
    connection, newcomer = await work.tenant(), Newcomer(work.job.tenant, work.job.label)
    async with connection.transaction():
        if not work.is_made_of_statements:
            if await take_new(connection, work.job):
                await work.schema.seed(connection, newcomer)
                return
            await take_mark(connection, work.job, (await work.target()).database)
        elif connection.dialect is Dialect.POSTGRESQL:
            await connection.execute(SCOPE)
        await verify_mark(connection, work.job)
        await _identify(work, connection)
        if await _has_made_all(work, connection) and SEEDED not in await list_parts(
            connection, work.job
        ):
            await work.schema.seed(connection, newcomer)
            await note_parts(connection, work.job, [SEEDED])


async def verify(work: Work) -> None:
    """The database says whose it is, and has the schema; raises IdentityMismatch, SchemaDiffers."""
    if not work.is_made_of_statements and work.job.attempts <= 1:
        return  # A clone is what its template was, which was verified, and was named just now.
    connection = await work.tenant()
    await connection.raw.verify_identity(work.job.tenant, timeout_s=CONNECT_TIMEOUT_S)
    building = await work.building()
    difference, _ = await building.look(await work.owner())
    difference.verify_compatible()
    if difference.missing:
        missing = ", ".join(str(each.object.key) for each in difference.missing)
        raise SchemaDiffers(differing=f"there is no {missing}")


async def _note_notes(work: Work, connection: TenantConnection) -> None:
    """Note that the tables of migrations are the job's own to take back, where there are none."""
    building = await work.building()
    _, existing = await building.look(connection)
    keys = [Key(Kind.TABLE, name, "") for name in NOTES]
    parts = [part_of(key) for key in keys if key not in existing.objects]
    async with connection.transaction():
        await verify_mark(connection, work.job)
        await note_parts(connection, work.job, parts)


async def _verify_unowned(work: Work, connection: TenantConnection, existing: Catalogue) -> None:
    """A database without a mark may still say whose it is: one that was copied, for example."""
    if Key(Kind.TABLE, IDENTITY, "") not in existing.objects:
        return
    found = await _list_identities(work, connection)
    if found and found != [work.job.tenant]:
        raise DatabaseOfAnother(database=work.job.database)


async def _identify(work: Work, connection: TenantConnection) -> None:
    found = await _list_identities(work, connection)
    if not found:
        identity = work.schema.identity
        await connection.execute(identity.insert().values(tenant_id=work.job.tenant))
    elif found != [work.job.tenant]:
        raise DatabaseOfAnother(database=work.job.database)


async def _list_identities(work: Work, connection: TenantConnection) -> list[TenantId]:
    column: sa.Column[Any] = work.schema.identity.c.tenant_id
    return [TenantId(row["tenant_id"]) for row in await connection.fetch(sa.select(column))]


async def _adopt(work: Work, connection: TenantConnection, earlier: JobId) -> None:
    """Take over what a job left that failed; what one made that ended well has its own life."""
    async with work.shop.registry.transaction(SERVICE, read_only=True) as tx:
        row = await tx.fetchrow(QUERIES.find_job, earlier)
    if row is not None and row["state"] in (JobState.FAILED, JobState.CANCELLED):
        async with connection.transaction():
            await adopt_parts(connection, work.job, earlier)


async def _has_made_all(work: Work, connection: TenantConnection) -> bool:
    """Whether no table was there before, so that there can be no rows of anybody's."""
    if not work.is_made_of_statements:
        return True
    building = await work.building()
    made = await list_parts(connection, work.job)
    tables = building.schema.catalogue.tables
    return all(part_of(Key(Kind.TABLE, table, "")) in made for table in tables)
