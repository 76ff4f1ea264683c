"""The engine's own tables of fleets pass its own lint."""

import pytest

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import CheckViolated
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.schema.lint.findings import lint

MOVE = """insert into bulkhead.fleet_moves
    (id, tenant, fleet, source, target, database, resume_state, deadline_at, fence_ms)
    values (gen_random_uuid(), gen_random_uuid(), 'x', 'a', 'b', 'x', 'active', now(), $1)"""


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -1.0])
async def test_the_time_of_a_fence_is_a_number(registry: OpenDatabase, figure: float) -> None:
    with pytest.raises(CheckViolated):
        async with registry.transaction(SERVICE) as tx:
            await tx.execute(MOVE, figure)


async def test_the_lint_finds_no_number_that_may_be_none(registry: OpenDatabase) -> None:
    admin = await registry.driver.connect(registry.spec, Login.ADMIN, timeout_s=10)
    try:
        found = {finding.cache_key for finding in await lint(admin, None)}
    finally:
        await admin.close()
    assert not [key for key in found if key.startswith("number_accepts_nan")]
