"""Runs one job: forward through the steps, or back when one of them cannot be made true.

The runner holds no transaction of the registry while it works. What keeps two workers of one job
apart is the fence in the job's row, and again in the mark of the database: whoever finds a later
one stops. A job that is being taken back never goes forward again, and its database has a name that
no other job has, so that a worker that slept through it all can drop nothing of anybody else's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s, now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import (
    DatabaseMissing,
    LoginRefused,
    ServerUnreachable,
    StatementTimeout,
    TlsRequired,
)
from bulkhead.engine.drivers.supabase_api import RateLimited
from bulkhead.engine.drivers.supabase_project import DatabaseComing
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.fleet.model import ServerKind, TenantState
from bulkhead.engine.fleet.registry import find_tenant, remove_reserved, remove_tenant
from bulkhead.engine.provisioning.job import (
    JobLost,
    JobMode,
    JobState,
    ProvisioningBroken,
    ProvisioningCancelled,
    ProvisioningGaveUp,
    ProvisioningJob,
    StepName,
)
from bulkhead.engine.provisioning.placing import close_database
from bulkhead.engine.provisioning.steps import STEPS
from bulkhead.engine.provisioning.store import (
    QUERIES,
    begin_undo,
    finish_job,
    get_job,
    postpone_job,
    renew_lease,
    wait_job,
)
from bulkhead.engine.provisioning.work import Shop, Work

ATTEMPTS_MAX = 6
ATTEMPTS_TO_CONNECT_MAX = 2
"""An owner's server that was never reached: its address is probably wrong."""
ATTEMPTS_TO_UNDO_MAX = 40
ATTEMPTS_TO_UNDO_OUTSIDE_MAX = 8
PAUSE_S_MAX = 300.0
COMING_S_MAX = 3600.0
"""How long a provider may take to make a database."""
CHECK_S_MAX = 2.0
STOP_S = 60.0
TELL_S = 0.1
"""Steps that follow each other more closely are not told one by one."""
REMOVED: Final = "Everything that was made has been taken back"
HINTS: Final = {
    LoginRefused.code: "Check user name and password, and that the server admits the user.",
    DatabaseMissing.code: "Create the database on the server, or correct its name.",
    ServerUnreachable.code: (
        "Check host and port, and that the server accepts connections from here."
    ),
    TlsRequired.code: (
        "Give the server a certificate for its host name, or add the certificate that signed it."
    ),
}
"""What the owner of a database can do; an operator is told something else."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Runner:
    """Works on jobs that were claimed."""

    shop: Shop

    async def run(self, job: ProvisioningJob) -> None:
        """Work on a job until it has ended, or has to wait; never raises for the job's own sake."""
        work = Work(self.shop, job, self.shop.schemas[job.fleet], step=job.step)
        work.tables = (job.tables_created, job.total_tables)
        try:
            await self._run(work)
        except JobLost:
            await self._abandon(work)
        except asyncio.CancelledError:
            await self.give_back(job)
            raise
        except FailpointReached:
            raise
        except BulkheadError as error:
            # The registry is away; the lease runs out by itself.
            log.warning("provisioning job %s: %s", job.id, error)
        finally:
            await work.close()

    async def sweep(self, job: ProvisioningJob) -> None:
        """Look once more for what a job that was taken back may have left."""
        work = Work(self.shop, job, self.shop.schemas[job.fleet])
        try:
            await close_database(work)
        finally:
            await work.close()
        async with self.shop.registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.note_swept, job.id)
            if await find_tenant(tx, job.tenant) is None:
                await remove_reserved(tx, job.tenant)

    async def give_back(self, job: ProvisioningJob) -> None:
        """Let the next worker go on at once: this one is being stopped, which is no failure."""
        try:
            async with self.shop.registry.transaction(SERVICE) as tx:
                await wait_job(tx, job, 0, "Waiting for a worker")
        except BulkheadError as error:
            log.debug("provisioning job %s keeps its lease: %s", job.id, error)

    async def _run(self, work: Work) -> None:
        job = work.job
        if job.state is JobState.UNDOING:
            await self._take_back(work)
            return
        error: BulkheadError
        try:
            if job.cancelling:
                raise ProvisioningCancelled  # noqa: TRY301
            if job.attempts > ATTEMPTS_MAX:
                raise ProvisioningGaveUp(attempts=job.attempts - 1)  # noqa: TRY301
            await self._guard(work)
        except (JobLost, FailpointReached):
            raise
        except BulkheadError as failure:
            error = failure
        except Exception:
            log.exception("provisioning job %s failed at %s", job.id, work.step)
            error = ProvisioningBroken(step=work.step or StepName.OPEN)
        else:
            return
        await work.close()
        await self._fail(work, error)

    async def _guard(self, work: Work) -> None:
        """Go forward, and keep the lease meanwhile; stops at once when the job is cancelled."""
        task = asyncio.create_task(self._forward(work))
        check_s = min(self.shop.lease_s / 3, CHECK_S_MAX)
        held_until_s = monotonic_s() + self.shop.lease_s
        try:
            while not task.done():
                await asyncio.wait([task], timeout=check_s)
                if task.done():
                    break
                try:
                    held_until_s = await self._renew(work)
                except Unavailable:
                    if monotonic_s() > held_until_s:
                        raise
        except BulkheadError:
            await _stop(
                task, is_patient=work.step is StepName.OPEN and work.job.mode is JobMode.CREATE
            )
            raise
        except asyncio.CancelledError:
            await _stop(task, is_patient=False)
            raise
        await task

    async def _renew(self, work: Work) -> float:
        now_s = monotonic_s()
        async with self.shop.registry.transaction(SERVICE) as tx:
            cancelling = await renew_lease(tx, work.job, self.shop.lease_s)
        if cancelling:
            raise ProvisioningCancelled
        return now_s + self.shop.lease_s

    async def _forward(self, work: Work) -> None:
        for step in STEPS:
            work.step, work.share, work.title = step.name, step.share, step.title
            is_done = await step.probe(work)
            if not is_done and _is_worth_telling(work):
                await work.tell(step.title)
            await failpoints.reach(step.point("before"))
            if not is_done:
                await step.ensure(work)
            await failpoints.reach(step.point("after"))

    async def _fail(self, work: Work, error: BulkheadError) -> None:
        """Try again later, or begin to take the job back."""
        job = work.job
        limit = ATTEMPTS_MAX
        if job.mode is JobMode.CONNECT and _count_reached(replace(job, step=work.step)) <= 1:
            limit = ATTEMPTS_TO_CONNECT_MAX
        if isinstance(error, DatabaseComing | RateLimited) and _is_young(job):
            await self._wait(work, error)
            return
        if _is_transient(error) and job.attempts < limit:
            log.info("provisioning job %s waits: %s", job.id, error)
            await self._postpone(work, error)
            return
        log.warning("provisioning job %s is taken back: %s", job.id, error)
        explained = explain(job, error)
        step = work.step or job.step
        there, total = work.tables
        job = replace(job, tables_created=there, total_tables=total)
        async with self.shop.registry.transaction(SERVICE) as tx:
            await begin_undo(tx, job, explained, step)
        work.job = replace(job, state=JobState.UNDOING, error=explained, step=step, attempts=0)
        await self._take_back(work)

    async def _take_back(self, work: Work) -> None:
        """Undo the steps, the last one first, and end the job."""
        try:
            await self._undo(work)
            await self._forget(work)
        except (JobLost, FailpointReached):
            raise
        except Exception as error:
            failure = error if isinstance(error, BulkheadError) else None
            if failure is None:
                log.exception("provisioning job %s could not be taken back", work.job.id)
            failure = failure or ProvisioningBroken(step=work.job.step or StepName.OPEN)
            if work.job.attempts < _undo_attempts_max(work.job):
                await self._postpone(work, failure)
                return
            log.error("provisioning job %s leaves something: %s", work.job.id, failure)  # noqa: TRY400
            await self._end(work, f"It could not all be taken back: {failure.message}")
            return
        await self._end(work, None)

    async def _undo(self, work: Work) -> None:
        for step in reversed(STEPS[: _count_reached(work.job)]):
            await failpoints.reach(step.point("before_undo"))
            await step.undo(work)
            await failpoints.reach(step.point("after_undo"))

    async def _forget(self, work: Work) -> None:
        """Destroy the tenant's keys; raises JobLost to whoever was too slow for that.

        Once the job has ended another one may begin, whose connection those keys have sealed.
        """
        if self.shop.forget is None:
            return
        async with self.shop.registry.transaction(SERVICE) as tx:
            await renew_lease(tx, work.job, self.shop.lease_s)
        await self.shop.forget(work.job.tenant)

    async def _end(self, work: Work, left: str | None) -> None:
        job = work.job
        error: Mapping[str, Any] = job.error or {}
        is_cancelled = error.get("code") == ProvisioningCancelled.code
        state = JobState.CANCELLED if is_cancelled else JobState.FAILED
        message = str(error.get("message", REMOVED))
        if left is not None:
            error = {**error, "left_behind": left}
        async with self.shop.registry.transaction(SERVICE) as tx:
            tenant = await find_tenant(tx, job.tenant, lock=True)
            # Without a place in the job the tenant's row is not the job's.
            is_ours = job.database is not None and tenant is not None
            if is_ours and tenant is not None and tenant.state is TenantState.PROVISIONING:
                await remove_tenant(tx, job.tenant)
            await finish_job(tx, job, state, message, error)

    async def _postpone(self, work: Work, error: BulkheadError) -> None:
        pause_s = min(2.0 ** (work.job.attempts - 1), PAUSE_S_MAX)
        async with self.shop.registry.transaction(SERVICE) as tx:
            await postpone_job(tx, work.job, pause_s, f"Trying again soon: {error.message}")

    async def _wait(self, work: Work, error: BulkheadError) -> None:
        """Let another worker look again later how far a provider has come."""
        async with self.shop.registry.transaction(SERVICE) as tx:
            pause_s = float(str(error.details["wait_s"]))
            await wait_job(tx, work.job, pause_s, error.message.rstrip("."))

    async def _abandon(self, work: Work) -> None:
        """Somebody else has the job; what was made after it was taken back is dropped again."""
        log.info("provisioning job %s was taken over", work.job.id)
        try:
            async with self.shop.registry.transaction(SERVICE, read_only=True) as tx:
                found = await get_job(tx, work.job.id)
            if found.state in (JobState.FAILED, JobState.CANCELLED):
                work.job = replace(work.job, step=StepName.ACTIVATE, unknown_step=None)
                await self._undo(work)
        except BulkheadError as error:
            log.warning("provisioning job %s: %s", work.job.id, error)


def _count_reached(job: ProvisioningJob) -> int:
    """How many steps may have done something: all, where another release was at one of its own.

    An earlier attempt may have come further than the one that failed; `progress` never goes back.
    """
    if job.unknown_step is not None:
        return len(STEPS)
    reached = [
        number
        for number, step in enumerate(STEPS, start=1)
        if step.name is job.step or step.share <= job.progress
    ]
    return max(reached, default=0)


async def _stop(task: asyncio.Task[None], *, is_patient: bool) -> None:
    """End a task; a database that is being made must not appear after it was looked for."""
    if is_patient:
        await asyncio.wait([task], timeout=STOP_S)
    task.cancel()
    await asyncio.wait([task])


def explain(job: ProvisioningJob, error: BulkheadError) -> dict[str, Any]:
    """The error as the job keeps it, with a hint for the owner of the database."""
    explained = error.to_json()
    if job.mode is JobMode.CONNECT and error.code in HINTS:
        explained["hint"] = HINTS[error.code]
    return explained


def _is_worth_telling(work: Work) -> bool:
    """Whether nothing was told for a while, or a crash from here on leaves more than before."""
    job = work.job
    if work.step is StepName.OPEN and (
        job.database is None or (job.kind is ServerKind.SUPABASE and job.mode is JobMode.CREATE)
    ):
        return False  # It is told with the place, and by the provider.
    if work.step is StepName.LIST_TABLES and job.mode is JobMode.CONNECT:
        return True
    return monotonic_s() - work.told_at_s > TELL_S


def _is_young(job: ProvisioningJob) -> bool:
    return (now() - job.created_at).total_seconds() < COMING_S_MAX


def _undo_attempts_max(job: ProvisioningJob) -> int:
    if job.mode is JobMode.CONNECT:
        return ATTEMPTS_TO_UNDO_OUTSIDE_MAX
    return ATTEMPTS_TO_UNDO_MAX


def _is_transient(error: BulkheadError) -> bool:
    """Whether trying again may help: a server is away, or gave way to somebody else."""
    return isinstance(error, Unavailable | StatementTimeout) or error.code in _TRANSIENT


# A server that this process has no access to may be known to another one.
_TRANSIENT = frozenset(
    {
        "serialization_failed",
        "deadlock_detected",
        "lock_timeout",
        "configuration_invalid",
        "provisioning_broken",
    }
)
