"""The mark in a database that says for whom it is made and by which job, and what the job made.

The table `_provisioning` is the first thing that a job makes and the last that it takes back. A job
goes on only with a database that its own tenant's jobs have marked, or that nobody has. The row of
the mark carries the fence of the worker that came last, so that one that slept through its lease
does nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import UniqueViolated
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import Conflict
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.provisioning.job import JobId, JobLost, ProvisioningJob

NAME: Final = "_provisioning"
ITSELF: Final = ""
SEEDED: Final = "seed"

QUERIES: Final = load_queries(__package__, "database.sql")
MAKE: Final = {
    Dialect.POSTGRESQL: (QUERIES.make_marks_postgresql, QUERIES.secure_marks_postgresql),
    Dialect.MYSQL: (QUERIES.make_marks_mysql,),
}
DROP: Final = {
    Dialect.POSTGRESQL: QUERIES.drop_marks_postgresql,
    Dialect.MYSQL: QUERIES.drop_marks_mysql,
}
SCOPE: Final = QUERIES.scope_postgresql

_FIND: Final = {
    Dialect.POSTGRESQL: QUERIES.find_marks_postgresql,
    Dialect.MYSQL: QUERIES.find_marks_mysql,
}


def _marks(schema: str | None) -> sa.TableClause:
    return sa.table(
        NAME,
        sa.column("part", sa.String),
        sa.column("tenant_id", sa.Uuid),
        sa.column("job_id", sa.Uuid),
        sa.column("fence", sa.Integer),
        schema=schema,
    )


_MARKS: Final = {Dialect.POSTGRESQL: _marks("public"), Dialect.MYSQL: _marks(None)}


class DatabaseOfAnother(Conflict):
    """The database '{database}' belongs to another tenant."""

    code = "database_of_another"
    hint = "Name another database. Nothing in this one was changed."


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose the database is, and who has worked on it last."""

    tenant: TenantId
    job: JobId
    fence: int


async def find_mark(connection: TenantConnection, *, lock: bool = False) -> Mark | None:
    """The mark of the database at hand; None when nobody has marked it."""
    if not await connection.fetch_value(_FIND[connection.dialect]):
        return None
    marks = _MARKS[connection.dialect]
    statement = sa.select(marks.c.tenant_id, marks.c.job_id, marks.c.fence)
    statement = statement.where(marks.c.part == ITSELF)
    row = await connection.fetch_one(statement.with_for_update() if lock else statement)
    if row is None:
        return None
    return Mark(TenantId(row["tenant_id"]), JobId(row["job_id"]), row["fence"])


async def drop_unused(connection: TenantConnection) -> None:
    """Drop a table of marks that was made and never written to, as a crash on MySQL leaves it.

    Nobody else is at it: whoever may change a schema there has the lock.
    """
    marks = _MARKS[connection.dialect]
    if await connection.fetch_value(_FIND[connection.dialect]) and not await connection.fetch(
        sa.select(marks.c.part).limit(1)
    ):
        await connection.execute(DROP[connection.dialect])


async def take_mark(connection: TenantConnection, job: ProvisioningJob, database: str) -> None:
    """Mark the database for the job, within a transaction that has the table already.

    Raises DatabaseOfAnother, and JobLost when a later worker of the job was here.
    """
    marks = _MARKS[connection.dialect]
    mark = await find_mark(connection, lock=True)
    if mark is None:
        values = {"part": ITSELF, "tenant_id": job.tenant, "job_id": job.id, "fence": job.fence}
        try:
            await connection.execute(marks.insert().values(values))
        except UniqueViolated as error:
            raise DatabaseOfAnother(database=database) from error
        return
    if mark.tenant != job.tenant:
        raise DatabaseOfAnother(database=database)
    if mark.job == job.id and mark.fence > job.fence:
        raise JobLost(job=job.id)
    if (mark.job, mark.fence) != (job.id, job.fence):
        values = {"job_id": job.id, "fence": job.fence}
        await connection.execute(marks.update().where(marks.c.part == ITSELF).values(values))


async def take_new(connection: TenantConnection, job: ProvisioningJob) -> bool:
    """Mark a clone, name its tenant, and note its first rows, which the transaction has to write.

    All in one statement, and nothing of it where anybody was before: then it returns False, as it
    does on MySQL.
    """
    if connection.dialect is not Dialect.POSTGRESQL:
        return False
    args = [job.tenant, job.id, job.fence, [ITSELF, SEEDED]]
    return bool(await connection.fetch_value(QUERIES.take_new_postgresql, args))


async def verify_mark(connection: TenantConnection, job: ProvisioningJob) -> None:
    """Pass while the mark is this worker's; locks it for the transaction. Raises JobLost."""
    mark = await find_mark(connection, lock=True)
    if mark is None or (mark.tenant, mark.job, mark.fence) != (job.tenant, job.id, job.fence):
        raise JobLost(job=job.id)


async def note_parts(
    connection: TenantConnection, job: ProvisioningJob, parts: Sequence[str]
) -> None:
    """Note that the job makes these, also those that an earlier job has noted."""
    marks = _MARKS[connection.dialect]
    known = await _list_makers(connection)
    rows = [
        {"part": part, "tenant_id": job.tenant, "job_id": job.id, "fence": job.fence}
        for part in parts
        if part not in known
    ]
    await connection.execute_many(marks.insert(), rows)
    again = [part for part in parts if known.get(part, job.id) != job.id]
    if again:
        chosen = marks.c.part.in_(again)
        await connection.execute(marks.update().where(chosen).values(job_id=job.id))


async def adopt_parts(connection: TenantConnection, job: ProvisioningJob, ended: JobId) -> None:
    """Take over what a job has noted that failed and could not take it back."""
    marks = _MARKS[connection.dialect]
    noted = sa.and_(marks.c.job_id == ended, marks.c.part != ITSELF)
    await connection.execute(marks.update().where(noted).values(job_id=job.id))


async def list_parts(connection: TenantConnection, job: ProvisioningJob) -> frozenset[str]:
    """What the job has noted as made by it; what earlier ones of the tenant made has its rows."""
    known = await _list_makers(connection)
    return frozenset(part for part, maker in known.items() if maker == job.id)


async def _list_makers(connection: TenantConnection) -> dict[str, JobId]:
    marks = _MARKS[connection.dialect]
    statement = sa.select(marks.c.part, marks.c.job_id).where(marks.c.part != ITSELF)
    return {row["part"]: JobId(row["job_id"]) for row in await connection.fetch(statement)}
