"""A worker sleeps until its job has ended and the tenant is another job's."""

import pytest
from tests.integration.engine.provisioning.test_faults import asleep
from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.fleet.registry import get_tenant
from bulkhead.engine.provisioning import runner
from bulkhead.engine.provisioning.job import JobState
from bulkhead.engine.provisioning.service import ProvisioningLimits
from bulkhead.engine.testing import crash_at

UNDONE = "open:after_undo"
"""The last point before the tenant's keys are destroyed."""


@pytest.mark.parametrize("point", ["test:before", "save:before", UNDONE])
async def test_one_who_wakes_when_another_job_has_made_the_tenant_leaves_that_alone(
    postgresql: Workshop, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(runner, "CHECK_S_MAX", 3600.0)  # It sleeps as a whole.
    sleepy = postgresql.again(ProvisioningLimits(lease_s=36000))
    async with postgresql.owned() as first, postgresql.owned() as second:
        request = postgresql.request(config=first)
        job = await postgresql.provisioning.start(request)
        if point == UNDONE:
            with crash_at("provisioning.test:before"):
                await postgresql.provisioning.run_once()
            await postgresql.provisioning.cancel(job.id)
            await postgresql.hurry()
        async with asleep(sleepy, f"provisioning.{point}"):
            if point != UNDONE:
                await postgresql.provisioning.cancel(job.id)
            await postgresql.hurry()
            assert (await postgresql.finish(job)).state is JobState.CANCELLED
            again = postgresql.request(tenant=request.tenant, config=second)
            made = await postgresql.provision(again)
            async with postgresql.registry.transaction(SERVICE) as tx:
                before = await get_tenant(tx, request.tenant)
            forgotten = len(postgresql.forgotten)
        async with postgresql.registry.transaction(SERVICE) as tx:
            assert await get_tenant(tx, request.tenant) == before
        assert len(postgresql.forgotten) == forgotten
        await postgresql.verify_served(made)
        assert await postgresql.tables_of(first) == []
