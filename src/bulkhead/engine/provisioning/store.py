"""The jobs in the registry database; functions of a transaction, as the registry's own are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantState
from bulkhead.engine.fleet.registry import TenantChanged, find_tenant
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import (
    STEPS_VERSION,
    JobEnded,
    JobId,
    JobLost,
    JobMode,
    JobState,
    JobUnknown,
    ProvisioningCancelled,
    ProvisioningJob,
    ProvisioningRequest,
    ProvisioningUnderway,
    StepName,
    TenantProvisioned,
)

QUERIES = load_queries(__package__, "jobs.sql")
CHANNEL = "bulkhead_provisioning"
PAGE_MAX = 200
TRIES_MAX = 5
"""How often another job of the tenant may end while one is started."""
MESSAGE_CHARACTERS_MAX = 1000
WAITING = "Waiting for its turn"
STEP_NAMES = frozenset(step.value for step in StepName)
SOON = "set local synchronous_commit to off"
"""For leases and progress: what a crash of the server makes forgotten is done again."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a job's database will be, and what is told of it meanwhile."""

    server: str | None
    database: str
    source: str
    progress: int
    message: str


def new_job_id() -> JobId:
    """The id of a new job: a connection is sealed for it before the job is written."""
    return JobId(new_id())


async def add_job(
    tx: Transaction, request: ProvisioningRequest, *, job: JobId, sealed_config: bytes | None
) -> ProvisioningJob:
    """Start a job, or find the one that was started by the same request.

    However many ask at once, there is one job for one tenant, and whoever asks while it ends gets
    the same answer as just after. The job that is found cannot end before `tx` does. Raises
    ProvisioningUnderway for another request while one is open, and TenantProvisioned for a tenant
    that has a database.
    """
    for _ in range(TRIES_MAX):
        row = await tx.fetchrow(
            QUERIES.add_job,
            job,
            request.tenant,
            request.fleet,
            request.mode.value,
            request.kind.value,
            request.label,
            json.dumps(dict(request.labels)),
            request.hash,
            sealed_config,
            WAITING,
            STEPS_VERSION,
        )
        if row is not None:
            # Only now: before, a job could have ended between this look and the new row.
            tenant = await find_tenant(tx, request.tenant)
            if tenant is None or tenant.state is TenantState.PROVISIONING:
                return job_of(row)
            await tx.execute(QUERIES.take_back_job, job)
        found = await tx.fetchrow(QUERIES.lock_last_job, request.tenant)
        last = None if found is None else job_of(found)
        if last is not None and last.state not in (JobState.FAILED, JobState.CANCELLED):
            if last.request_hash == request.hash:
                return last
            if not last.has_ended:
                raise ProvisioningUnderway(tenant=request.tenant, job=last.id)
        if row is not None or (last is not None and last.state is JobState.ACTIVE):
            break
        # The open job that was in the way has been taken back meanwhile.
    raise TenantProvisioned(tenant=request.tenant)


async def get_job(tx: Transaction, job: JobId) -> ProvisioningJob:
    """The job; raises JobUnknown."""
    row = await tx.fetchrow(QUERIES.find_job, job)
    if row is None:
        raise JobUnknown(job=job)
    return job_of(row)


async def find_last_job(tx: Transaction, tenant: TenantId) -> ProvisioningJob | None:
    """The job of the tenant that was started last, None when there was none."""
    row = await tx.fetchrow(QUERIES.find_last_job, tenant)
    return job_of(row) if row is not None else None


async def list_jobs(
    tx: Transaction,
    *,
    fleet: str | None = None,
    state: JobState | None = None,
    limit: int = PAGE_MAX,
) -> tuple[ProvisioningJob, ...]:
    """Jobs, the newest first."""
    rows = await tx.fetch(QUERIES.list_jobs, fleet, state and state.value, min(limit, PAGE_MAX))
    return tuple(job_of(row) for row in rows)


async def cancel_job(tx: Transaction, job: JobId) -> ProvisioningJob:
    """Have an open job taken back; one that was cancelled before stays so.

    Raises JobUnknown, and JobEnded when it is too late.
    """
    row = await tx.fetchrow(QUERIES.cancel_job, job)
    found = await get_job(tx, job)
    if row is None and found.state not in (JobState.UNDOING, JobState.CANCELLED):
        raise JobEnded(job=job, state=found.state.value)
    return found


async def claim_jobs(
    tx: Transaction, fleets: Sequence[str], owner: str, *, lease_s: float, limit: int
) -> list[ProvisioningJob]:
    """Take over jobs that are due, but those that a newer release has taken up."""
    tx.at_commit(SOON)
    rows = await tx.fetch(QUERIES.claim_jobs, list(fleets), owner, lease_s, limit, STEPS_VERSION)
    return [job_of(row) for row in rows]


async def renew_lease(tx: Transaction, job: ProvisioningJob, lease_s: float) -> bool:
    """Keep a job for longer; whether it is to be cancelled. Raises JobLost."""
    tx.at_commit(SOON)
    row = await tx.fetchrow(QUERIES.renew_lease, job.id, job.fence, lease_s)
    if row is None:
        raise JobLost(job=job.id)
    return bool(row["cancelling"])


async def note_place(tx: Transaction, job: ProvisioningJob, opening: Opening) -> None:
    """Note where the database of a job that runs will be.

    Raises JobLost, and ProvisioningCancelled when somebody wishes so.
    """
    place = (opening.server, opening.database, opening.source)
    told = (StepName.OPEN.value, opening.progress, opening.message[:MESSAGE_CHARACTERS_MAX])
    row = await tx.fetchrow(QUERIES.note_place, job.id, job.fence, *place, *told)
    if row is None:
        raise JobLost(job=job.id)
    if row["cancelling"]:
        raise ProvisioningCancelled


async def begin_undo(
    tx: Transaction, job: ProvisioningJob, error: Mapping[str, Any], step: StepName | None
) -> None:
    """From here the job is only taken back, because of `error` at `step`; raises JobLost."""
    message = f"Taking it back: {error['message']}"[:MESSAGE_CHARACTERS_MAX]
    text = json.dumps(error)
    reached = step and step.value
    if await tx.fetchrow(QUERIES.begin_undo, job.id, job.fence, text, message, reached) is None:
        raise JobLost(job=job.id)


async def claim_unswept(
    tx: Transaction, fleets: Sequence[str], *, age_s: float, lease_s: float, limit: int
) -> list[ProvisioningJob]:
    """Take up jobs that were taken back longer ago than any worker can have slept."""
    rows = await tx.fetch(QUERIES.claim_unswept, age_s, list(fleets), limit, lease_s)
    return [job_of(row) for row in rows]


async def postpone_job(tx: Transaction, job: ProvisioningJob, pause_s: float, message: str) -> None:
    """Give a job back, to be tried again after `pause_s`; nothing when somebody else has it."""
    text = message[:MESSAGE_CHARACTERS_MAX]
    await tx.execute(QUERIES.postpone_job, job.id, job.fence, pause_s, text)


async def wait_job(tx: Transaction, job: ProvisioningJob, pause_s: float, message: str) -> None:
    """As `postpone_job` where nothing failed: another system takes its time, or this one stops."""
    text = message[:MESSAGE_CHARACTERS_MAX]
    await tx.execute(QUERIES.wait_job, job.id, job.fence, pause_s, text)


async def activate_tenant(
    tx: Transaction, job: ProvisioningJob, version: int, fingerprint: str, message: str
) -> None:
    """Serve the tenant, whose schema is noted, and end the job.

    Raises JobLost, ProvisioningCancelled when somebody wishes so, and TenantChanged.
    """
    tables = (job.tables_created, job.total_tables)
    row = await tx.fetchrow(
        QUERIES.activate,
        *(job.id, job.fence, job.tenant, version, fingerprint, message, *tables),
    )
    if row is not None:
        return
    now = await get_job(tx, job.id)
    if now.fence != job.fence or now.state is not JobState.RUNNING:
        raise JobLost(job=job.id)
    if now.cancelling:
        raise ProvisioningCancelled
    raise TenantChanged(tenant=job.tenant, expected=TenantState.PROVISIONING.value)


async def finish_job(
    tx: Transaction,
    job: ProvisioningJob,
    state: JobState,
    message: str,
    error: Mapping[str, Any],
) -> None:
    """End a job that was taken back; raises JobLost."""
    told = (state.value, message[:MESSAGE_CHARACTERS_MAX], json.dumps(error))
    tables = (job.tables_created, job.total_tables)
    row = await tx.fetchrow(QUERIES.finish_job, job.id, job.fence, *told, *tables)
    if row is None:
        raise JobLost(job=job.id)


def job_of(row: Any) -> ProvisioningJob:  # noqa: ANN401 - asyncpg.Record
    """Read a row of `provisioning_jobs`, of whichever release."""
    error, step = row["error"], row["step"]
    is_known = step in STEP_NAMES
    return ProvisioningJob(
        id=JobId(row["id"]),
        tenant=TenantId(row["tenant"]),
        fleet=row["fleet"],
        mode=JobMode(row["mode"]),
        kind=ServerKind(row["kind"]),
        label=row["label"],
        wishes=json.loads(row["wishes"]),
        request_hash=row["request_hash"],
        state=JobState(row["state"]),
        step=StepName(step) if is_known else None,
        unknown_step=None if is_known else step,
        progress=row["progress"],
        message=row["message"],
        tables_created=row["tables_created"],
        total_tables=row["total_tables"],
        server=row["server"],
        database=row["database"],
        source=row["source"],
        error=json.loads(error) if error is not None else None,
        cancelling=row["cancelling"],
        attempts=row["attempts"],
        fence=row["fence"],
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        finished_at=row["finished_at"],
        sealed_config=row["sealed_config"],
    )
