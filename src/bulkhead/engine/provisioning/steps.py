"""The steps of a provisioning: each makes something true that the next ones need.

`ensure` may be repeated, also after it died half-way, and by another worker; `probe` tells cheaply
whether there is nothing to do; `undo` takes back what the step may have done, whether it ended or
not. The last step changes only the registry, in one transaction with the end of the job: before it
nobody is served, after it nothing is taken back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import Provider
from bulkhead.engine.fleet.databases import ManagedDatabase
from bulkhead.engine.fleet.model import ServerKind
from bulkhead.engine.fleet.registry import get_tenant, set_place
from bulkhead.engine.provisioning import filling, placing
from bulkhead.engine.provisioning.job import JobMode, StepName
from bulkhead.engine.provisioning.store import activate_tenant, renew_lease
from bulkhead.engine.provisioning.work import Work

READY: Final = "Ready"
PLACES: Final = ("before", "after", "before_undo", "after_undo")


async def _never(_: Work) -> bool:
    return False


async def _nothing(_: Work) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `share` is the progress, in per cent, when it begins."""

    name: StepName
    share: int
    title: str
    ensure: Callable[[Work], Awaitable[None]]
    probe: Callable[[Work], Awaitable[bool]] = _never
    undo: Callable[[Work], Awaitable[None]] = _nothing

    def __post_init__(self) -> None:
        for place in PLACES:
            failpoints.register(self.point(place))

    def point(self, place: str) -> str:
        """The name of a failpoint: `provisioning.seed:after`."""
        return f"provisioning.{self.name.value}:{place}"


async def save(work: Work) -> None:
    """Keep how the database is reached: as its provider calls it, or sealed as its owner says.

    Raises JobLost: the tenant may be another job's by now.
    """
    job = work.job
    found: dict[str, Any] = {}
    if job.mode is JobMode.CREATE:
        found["located"] = await _locate(work)
    else:
        seals = work.shop.databases.seals
        found["sealed_connection"] = await seals.seal_connection(job.tenant, await work.config())
    async with work.shop.registry.transaction(SERVICE) as tx:
        tenant = await get_tenant(tx, job.tenant, lock=True)
        await renew_lease(tx, job, work.shop.lease_s)
        place = replace(tenant.place, **found)
        await set_place(tx, tenant.id, place, generation=tenant.generation)


async def is_ours(work: Work) -> bool:
    """Whether there is nothing to keep: logins of the fleet's servers follow from a key."""
    return work.job.mode is JobMode.CREATE and work.job.kind is not ServerKind.SUPABASE


async def _locate(work: Work) -> str | None:
    place = (await work.target()).place
    if isinstance(place, ManagedDatabase) and isinstance(place.driver, Provider):
        return await place.driver.locate(place.spec)
    return None


async def activate(work: Work) -> None:
    """Serve the tenant and end the job, both or neither.

    Raises JobLost, ProvisioningCancelled, TenantChanged.
    """
    await work.building()
    assert work.fingerprint is not None, "the building has a schema"
    there, total = work.tables
    job = replace(work.job, tables_created=there, total_tables=total)
    async with work.shop.registry.transaction(SERVICE) as tx:
        await activate_tenant(tx, job, work.schema.version, work.fingerprint, READY)


STEPS: Final = (
    Step(
        StepName.OPEN,
        5,
        "Opening the database",
        placing.open_database,
        undo=placing.close_database,
    ),
    Step(StepName.TEST, 20, "Testing the connection", filling.verify_server),
    Step(
        StepName.LIST_TABLES,
        25,
        "Listing tables",
        filling.list_tables,
        undo=filling.take_back,
    ),
    Step(
        StepName.CREATE_TABLES,
        30,
        "Creating tables",
        filling.create_tables,
        probe=filling.has_tables,
    ),
    Step(
        StepName.MIGRATE,
        70,
        "Running migrations",
        filling.migrate,
        probe=filling.is_current,
    ),
    Step(StepName.SEED, 80, "Writing the first rows", filling.seed),
    Step(StepName.VERIFY, 88, "Verifying the database", filling.verify),
    Step(StepName.SAVE, 95, "Saving the connection", save, probe=is_ours),
    Step(StepName.ACTIVATE, 97, "Activating", activate),
)
