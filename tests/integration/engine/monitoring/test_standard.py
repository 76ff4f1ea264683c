"""Every invariant holds of sound data, and is seen to fail when the data is corrupted."""

import datetime as dt
import json
import re
from uuid import UUID

import pytest
from tests.integration.engine.references.rows import add_gifts, add_lines, add_products, run
from tests.integration.engine.references.shop_application import LINES, TOPOLOGY

from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.router import Router
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import Invariant, run_invariants
from bulkhead.engine.monitoring.messages import find_ghosts
from bulkhead.engine.monitoring.standard import AT_REST, CUT, standard_invariants
from bulkhead.engine.references.deletion import announce_deletions
from bulkhead.engine.references.sweep import sweep_reference
from bulkhead.engine.system import System

INVARIANTS = standard_invariants(TOPOLOGY, saga_grace_s=0)
ALL = {invariant.code: invariant for invariant in (*INVARIANTS, CUT, AT_REST)}


async def broken(router: Router) -> dict[str, str]:
    """The invariants that do not hold, each with its first violation."""
    report = await run_invariants(router, ALL.values())
    assert not any(result.error for result in report.results), str(report)
    return {
        result.invariant.code: f"{result.violations[0].subject}: {result.violations[0].detail}"
        for result in report.broken
    }


async def deliver_deletion(system: System) -> None:
    products = await add_products(system.router, 3)
    await add_gifts(system.router, products)
    await run(system.router, "catalog", "delete from public.products where id = $1", products[0])
    await announce_deletions(system.router, TOPOLOGY)
    await system.relay.drain()


async def add_saga(
    router: Router, state: str, steps: dict[str, str], overdue: str = "1 minute"
) -> UUID:
    saga_id = new_id()
    await run(
        router,
        "sales",
        "insert into bulkhead.sagas"
        " (id, name, state, input, request_hash, leased_until, deadline_at, updated_at)"
        " values ($1, 'buy', $2, $3, '', now(), now() - $4::text::interval,"
        " now() - interval '1 second')",
        saga_id,
        state,
        json.dumps({}),
        overdue,
    )
    for step, step_state in steps.items():
        await run(
            router,
            "catalog",
            "insert into bulkhead.saga_steps (saga_id, step, saga, state)"
            " values ($1, $2, 'buy', $3)",
            saga_id,
            step,
            step_state,
        )
    return saga_id


async def test_all_hold_of_sound_data(system: System) -> None:
    await deliver_deletion(system)
    await add_lines(system.router, await add_products(system.router, 10))
    await add_saga(system.router, "completed", {"reserve": "done"})
    await add_saga(system.router, "compensated", {"reserve": "undone"})
    await add_saga(system.router, "needs_human", {"reserve": "done"})
    await add_saga(system.router, "running", {}, overdue="-1 minute")
    assert await broken(system.router) == {}


async def test_i18_sees_an_orphan_until_a_sweep_has_recorded_it(router: Router) -> None:
    await add_lines(router, [new_id(), new_id()])
    assert await broken(router) == {"I18": f"{LINES.name}: 2 orphans are not recorded"}
    await sweep_reference(router, TOPOLOGY, LINES)
    assert await broken(router) == {}


async def test_i18_accepts_a_target_that_was_deleted(router: Router) -> None:
    products = await add_products(router, 2)
    await add_lines(router, products)
    await run(router, "catalog", "delete from public.products")
    assert await broken(router) == {}
    await run(router, "catalog", "delete from bulkhead.tombstones")
    assert set(await broken(router)) == {"I18"}


async def test_i19_and_i22_see_an_event_nobody_has_published(system: System) -> None:
    await deliver_deletion(system)
    ghost = new_id()
    await run(
        system.router, "sales", "insert into bulkhead.inbox values ($1, 'references.sales')", ghost
    )
    expected = f"sales.inbox {ghost}: no database has published it"
    assert await broken(system.router) == {"I19": expected, "I22": expected}


async def test_an_event_that_may_have_been_pruned_is_no_ghost(system: System) -> None:
    await deliver_deletion(system)
    long_ago = now() - dt.timedelta(days=40)
    old = UUID(int=int(long_ago.timestamp() * 1000) << 80)
    await run(
        system.router, "sales", "insert into bulkhead.inbox values ($1, 'references.sales')", old
    )
    assert await broken(system.router) == {}
    (ghost,) = await find_ghosts(system.router, as_of=long_ago + dt.timedelta(hours=1))
    assert str(old) in ghost.subject, "in a backup of that day it should have been there"


async def test_i22_sees_an_outbox_restored_from_before_its_event(system: System) -> None:
    await deliver_deletion(system)
    await run(system.router, "catalog", "delete from bulkhead.events")
    assert set(await broken(system.router)) == {"I19", "I22"}


async def test_i19_sees_an_event_that_was_acknowledged_but_not_received(system: System) -> None:
    await deliver_deletion(system)
    await run(system.router, "catalog", "delete from public.products")
    await announce_deletions(system.router, TOPOLOGY)
    assert await broken(system.router) == {}, "what still waits is not lost"
    await run(system.router, "catalog", "delete from bulkhead.deliveries")
    found = await broken(system.router)
    assert set(found) == {"I19"}
    assert found["I19"].endswith("acknowledged, but 'references.sales' has not received it")


async def test_i19_accepts_a_delivery_that_somebody_discarded(system: System) -> None:
    await deliver_deletion(system)
    await run(system.router, "catalog", "delete from public.products")
    await announce_deletions(system.router, TOPOLOGY)
    await run(
        system.router,
        "catalog",
        "with gone as (delete from bulkhead.deliveries returning event_id, handler, attempts)"
        " insert into bulkhead.discarded_deliveries (event_id, handler, reason, attempts)"
        " select event_id, handler, 'not wanted', attempts from gone",
    )
    assert await broken(system.router) == {}


@pytest.mark.parametrize("state", ["running", "compensating"])
async def test_i20_sees_a_saga_that_does_not_end(router: Router, state: str) -> None:
    saga_id = await add_saga(router, state, {})
    found = await broken(router)
    assert list(found) == ["I20"]
    told = rf"sales\.sagas {saga_id}: 'buy' is {state} [6-9]\d s after its deadline"
    assert re.fullmatch(told, found["I20"]), "however slow the machine is"


@pytest.mark.parametrize(("state", "wrong"), [("completed", "undone"), ("compensated", "done")])
async def test_i20_sees_a_saga_that_ended_by_halves(router: Router, state: str, wrong: str) -> None:
    saga_id = await add_saga(router, state, {"reserve": wrong})
    detail = f"step 'reserve' is {wrong} although the saga is {state}"
    assert await broken(router) == {"I20": f"catalog.saga_steps {saga_id}: {detail}"}


async def test_i29_sees_a_transaction_that_was_left_open(router: Router) -> None:
    async with router.database("sales").transaction(SERVICE) as tx:
        await tx.execute("select 1")
        report = await run_invariants(router, [AT_REST])
    details = [violation.detail for violation in report.results[0].violations]
    assert details == ["1 connections are in use", "1 open transactions"]
    assert await broken(router) == {}


async def test_i29_sees_an_advisory_lock(router: Router) -> None:
    async with router.database("sales").transaction(SERVICE) as tx:
        await tx.execute("select pg_advisory_xact_lock(1)")
        report = await run_invariants(router, [AT_REST])
    assert "1 advisory locks" in {v.detail for v in report.results[0].violations}


async def test_a_database_that_does_not_answer_is_a_result(router: Router) -> None:
    async def ask_nobody(router: Router) -> list[object]:
        router.database("nowhere")
        return []

    report = await run_invariants(router, [Invariant("X1", "somebody answers", ask_nobody)])  # type: ignore[arg-type]
    assert not report.holds
    assert "not checked" in str(report)
