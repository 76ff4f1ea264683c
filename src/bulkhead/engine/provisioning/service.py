"""Provisioning as an application uses it: start a job, follow it, cancel it, have it worked on."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import BulkheadError, ConfigurationInvalid
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.messaging.listener import Listener
from bulkhead.engine.ongoing import claimed
from bulkhead.engine.provisioning.job import JobId, ProvisioningJob, ProvisioningRequest
from bulkhead.engine.provisioning.runner import Runner
from bulkhead.engine.provisioning.schema import FleetSchema
from bulkhead.engine.provisioning.spares import Spares
from bulkhead.engine.provisioning.store import (
    CHANNEL,
    add_job,
    cancel_job,
    claim_jobs,
    claim_unswept,
    get_job,
    new_job_id,
)
from bulkhead.engine.provisioning.work import LEASE_S, Shop

JOBS_MAX = 4
POLL_S = 1.0
WATCH_S = 2.0
TEND_S = 15.0
SWEEP_AGE_LEASES = 4
SWEEPS_MAX = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProvisioningLimits:
    """What provisioning may take of this process."""

    jobs_max: int = JOBS_MAX
    """How many jobs are worked on at once."""
    warm: int = 0
    """How many databases are kept ready on each server of a fleet."""
    lease_s: float = LEASE_S
    """Whoever keeps silent for longer is taken for dead."""
    poll_s: float = POLL_S
    tend_s: float = TEND_S


@dataclass(slots=True, eq=False)
class Provisioning:
    """The jobs of a registry, for the fleets whose schemas this process knows."""

    shop: Shop
    owner: str
    """The process, for people who look at the table."""
    limits: ProvisioningLimits
    runner: Runner = field(init=False)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _told: set[str] = field(default_factory=set)
    """Jobs of which something was told since work was last looked for."""
    _is_blind: bool = True
    """Whether there may be work of which nothing was told."""
    _hungry: asyncio.Event = field(default_factory=asyncio.Event)
    _watchers: defaultdict[str, set[asyncio.Event]] = field(
        default_factory=lambda: defaultdict(set)
    )
    _tasks: dict[asyncio.Task[None], str] = field(default_factory=dict)
    """By task, the job that is worked on."""
    _listening: Listener | None = None

    def __post_init__(self) -> None:
        self.runner = Runner(self.shop)

    async def start(
        self, request: ProvisioningRequest, tx: Transaction | None = None
    ) -> ProvisioningJob:
        """Start a job, or find the one that was started by the same request.

        With `tx`, a transaction in the registry's database under `SERVICE`, the job is there if and
        only if that commits; call `ring` afterwards. Raises ProvisioningUnderway,
        TenantProvisioned, and ConfigurationInvalid for a fleet that this process does not know.
        """
        if request.fleet not in self.shop.schemas:
            raise ConfigurationInvalid(reason=f"no fleet is called '{request.fleet}'")
        job = new_job_id()
        sealed = None
        if request.config is not None:
            seals = self.shop.databases.seals
            sealed = await seals.seal_job(request.tenant, job, request.config)
        if tx is not None:
            return await add_job(tx, request, job=job, sealed_config=sealed)
        async with self.shop.registry.transaction(SERVICE) as own:
            started = await add_job(own, request, job=job, sealed_config=sealed)
        self.ring()
        return started

    async def get(self, job: JobId) -> ProvisioningJob:
        """How far a job has come; raises JobUnknown."""
        async with self.shop.registry.transaction(SERVICE, read_only=True) as tx:
            return await get_job(tx, job)

    async def cancel(self, job: JobId) -> ProvisioningJob:
        """Have an open job taken back; asking again changes nothing.

        Raises JobUnknown, and JobEnded when it is too late.
        """
        async with self.shop.registry.transaction(SERVICE) as tx:
            cancelled = await cancel_job(tx, job)
        self.ring()
        return cancelled

    async def watch(self, job: JobId) -> AsyncIterator[ProvisioningJob]:
        """The job now and after each change, until it has ended; raises JobUnknown.

        Of changes that follow each other closely only the last may be seen.
        """
        changed = asyncio.Event()
        self._watchers[str(job)].add(changed)
        revision = 0
        try:
            while True:
                changed.clear()
                found = await self.get(job)
                if found.revision > revision:
                    revision = found.revision
                    yield found
                if found.has_ended:
                    return
                try:
                    async with asyncio.timeout(WATCH_S if self._is_listening else POLL_S / 2):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            self._forget_watcher(str(job), changed)

    async def wait(self, job: JobId) -> ProvisioningJob:
        """The job once it has ended."""
        async for found in self.watch(job):
            if found.has_ended:
                return found
        return await self.get(job)

    def ring(self, jobs: Iterable[str] = ()) -> None:
        """Say that there may be something to do, or to see of `jobs`."""
        told = list(jobs)
        self._told.update(told)
        self._is_blind = self._is_blind or not told
        self._bell.set()
        for job in told or list(self._watchers):
            for changed in self._watchers.get(job, ()):
                changed.set()

    async def listen(self) -> None:
        """Hear of changes that other processes make, until cancelled; a worker does so itself."""
        self._listening = Listener(self.shop.registry, self.ring, CHANNEL)
        try:
            await self._listening.run()
        finally:
            self._listening = None

    async def run(self) -> None:
        """Work on jobs until cancelled; then what is in hand is left to the next process."""
        helpers = [asyncio.create_task(self.listen()), asyncio.create_task(self._tend())]
        try:
            while True:
                self._bell.clear()
                full = await self._begin_jobs() if self._has_hint() else False
                await self._rest(full=full)
        finally:
            for task in (*helpers, *self._tasks):
                task.cancel()
            await asyncio.wait([*helpers, *self._tasks])

    async def run_once(self) -> int:
        """Work on every job that is due, one after another, and return how many that was."""
        worked = 0
        while jobs := await self._claim(1):
            await self.runner.run(jobs[0])
            worked += 1
        return worked

    async def tend(self) -> None:
        """Fill the pools of databases that are ready, and drop what nobody will have."""
        for spares in self.shop.spares.values():
            await _try(spares.sweep)
            await _try(spares.refill)
        await _try(self._sweep)

    @property
    def _is_listening(self) -> bool:
        return self._listening is not None and self._listening.connected

    def _forget_watcher(self, job: str, changed: asyncio.Event) -> None:
        self._watchers[job].discard(changed)
        if not self._watchers[job]:
            del self._watchers[job]

    def _has_hint(self) -> bool:
        """Whether there may be work: what is told of jobs in hand is none."""
        told, self._told = self._told, set()
        is_blind, self._is_blind = self._is_blind, False
        return is_blind or not told.issubset(self._tasks.values())

    async def _begin_jobs(self) -> bool:
        """Take what is due, as much as there are hands for; whether all hands are full."""
        room = self.limits.jobs_max - len(self._tasks)
        if room <= 0:
            return True
        try:
            jobs = await self._claim(room)
        except BulkheadError as error:
            log.debug("could not look for provisioning jobs: %s", error)
            return False
        for job in jobs:
            task = asyncio.create_task(self._work(job))
            self._tasks[task] = str(job.id)
            task.add_done_callback(self._end_task)
        return len(jobs) == room

    async def _work(self, job: ProvisioningJob) -> None:
        try:
            await self.runner.run(job)
        except Exception:
            log.exception("provisioning job %s", job.id)

    def _end_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._is_blind = True
        self._bell.set()
        self._hungry.set()

    async def _rest(self, *, full: bool) -> None:
        if full and self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._is_blind = True
            return
        try:
            async with asyncio.timeout(self.limits.poll_s):
                await self._bell.wait()
        except TimeoutError:
            self._is_blind = True

    async def _claim(self, limit: int) -> list[ProvisioningJob]:
        return await claimed(self._take_over(limit), self._give_back)

    async def _take_over(self, limit: int) -> list[ProvisioningJob]:
        async with self.shop.registry.transaction(SERVICE) as tx:
            return await claim_jobs(
                tx, list(self.shop.schemas), self.owner, lease_s=self.shop.lease_s, limit=limit
            )

    async def _give_back(self, jobs: Iterable[ProvisioningJob]) -> None:
        for job in jobs:
            await self.runner.give_back(job)

    async def _tend(self) -> None:
        while True:
            self._hungry.clear()
            await self.tend()
            try:
                async with asyncio.timeout(self.limits.tend_s):
                    await self._hungry.wait()
            except TimeoutError:
                continue

    async def _sweep(self) -> None:
        """Once more after any worker that slept must have woken up."""
        age_s, fleets = SWEEP_AGE_LEASES * self.shop.lease_s, list(self.shop.schemas)
        async with self.shop.registry.transaction(SERVICE) as tx:
            jobs = await claim_unswept(
                tx, fleets, age_s=age_s, lease_s=self.shop.lease_s, limit=SWEEPS_MAX
            )
        for job in jobs:
            await _try(partial(self.runner.sweep, job))


def build_provisioning(
    databases: Databases,
    schemas: Iterable[FleetSchema],
    owner: str,
    limits: ProvisioningLimits | None = None,
    forget: Callable[[TenantId], Awaitable[None]] | None = None,
) -> Provisioning:
    """Provisioning for the fleets of `schemas`; connects to nothing and starts nothing."""
    limits = limits or ProvisioningLimits()
    by_fleet = {schema.fleet: schema for schema in schemas}
    spares = {fleet: Spares(databases, schema, limits.warm) for fleet, schema in by_fleet.items()}
    return Provisioning(Shop(databases, by_fleet, spares, limits.lease_s, forget), owner, limits)


async def _try(tend: Callable[[], Awaitable[object]]) -> None:
    try:
        await tend()
    except BulkheadError as error:
        log.warning("provisioning: %s", error)
    except Exception:
        log.exception("provisioning")
