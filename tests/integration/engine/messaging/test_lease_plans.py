"""The relay's statements keep their plans, however full the outbox was when they were planned."""

import re

import pytest
from tests.integration.engine.messaging.parcels_application import count_up

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.messaging.lease import _PRELUDE, QUERIES
from bulkhead.engine.system import System


@pytest.fixture(params=["never analysed", "analysed when empty"])
async def emptied(parcels: System, request: pytest.FixtureRequest) -> System:
    """An outbox that is full now, and whose statistics say that it is empty."""
    placement = next(each for each in parcels.router.placements if each.database == "origin")
    if request.param == "analysed when empty":
        await count_up(parcels, "a", 5)
        await parcels.relay.drain()
        connection = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=10)
        await connection.execute("vacuum analyze bulkhead.deliveries")
        await connection.close()
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await tx.execute(
            "insert into bulkhead.deliveries (event_id, handler, key)"
            " select gen_random_uuid(), 'target.record', n::text from generate_series(1, 5000) n"
        )
    return parcels


async def explain(system: System, query: str) -> str:
    arguments = ",".join(["null"] * len(set(re.findall(r"\$\d", query))))
    async with system.database("origin").transaction(SERVICE) as tx:
        await tx.execute(f"{_PRELUDE}; set local plan_cache_mode to force_generic_plan")
        await tx.execute(f"prepare asked as {query}")
        rows = await tx.fetch(f"explain (costs off) execute asked({arguments})")
        await tx.execute("deallocate asked")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", ["list_next_deliveries", "list_deliveries_after"])
async def test_a_look_walks_the_primary_key(emptied: System, name: str) -> None:
    plan = await explain(emptied, getattr(QUERIES, name))
    assert "Index Scan using deliveries_pkey on deliveries" in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan
    if name == "list_deliveries_after":
        assert "deliveries_lane_idx on deliveries earlier" in plan


@pytest.mark.parametrize("name", ["lease_deliveries", "fail_deliveries", "release_deliveries"])
async def test_what_was_looked_at_is_found_by_its_place(emptied: System, name: str) -> None:
    plan = await explain(emptied, getattr(QUERIES, name))
    assert "Tid Scan on deliveries" in plan
    assert "Seq Scan" not in plan
    assert "deliveries_" not in plan, "no index of the deliveries is used"


async def test_an_acknowledgement_is_found_by_its_place(emptied: System) -> None:
    delete = (
        "delete from bulkhead.deliveries where ctid in ($1, '(0,2)')"
        " and position + 0 in ($2, 2) and lease_id = $3"
    )
    plan = await explain(emptied, delete)
    assert "Tid Scan on deliveries" in plan
    assert "deliveries_" not in plan
