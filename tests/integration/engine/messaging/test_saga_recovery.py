"""Who finishes a saga that stopped half way, and what its callers are told meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from uuid import UUID

import pytest
from tests.integration.engine.fleet.stalled import stalled
from tests.integration.engine.messaging.transfer_application import (
    Bank,
    Broke,
    hold,
    read_books,
    release,
    transfer,
    transfer_saga,
    verify_books,
)

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.failpoints import Mode
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging import saga_runner
from bulkhead.engine.messaging.saga import (
    DatabaseStep,
    ExternalStep,
    Json,
    Reply,
    StepItem,
    Unknown,
)
from bulkhead.engine.messaging.saga_errors import (
    SagaAbandoned,
    SagaDecided,
    SagaInProgress,
    SagaPending,
    SagaUnanswered,
    StoredRefusal,
)
from bulkhead.engine.messaging.saga_runner import ATTEMPTS_MAX
from bulkhead.engine.messaging.saga_store import SagaRecord, claim_saga, find_saga
from bulkhead.engine.messaging.saga_worker import PAGE_ROWS
from bulkhead.engine.system import System, build_system
from bulkhead.engine.testing import (
    crash_at,
    drain,
    expire_leases,
    pass_deadlines,
    restarted,
)


async def record(system: System, saga_id: UUID) -> SagaRecord:
    async with system.database("alpha").transaction(SERVICE) as tx:
        found = await find_saga(tx, saga_id)
    assert found is not None
    return found


async def claim(system: System, saga_id: UUID) -> SagaRecord:
    async with system.database("alpha").transaction(SERVICE) as tx:
        claimed = await claim_saga(tx, saga_id, system.sagas.owner, force=True)
    assert claimed is not None
    return claimed


async def left_to_a_human(system: System, bank: Bank) -> UUID:
    """A saga of which no worker could learn how its call ended, as often as they asked."""
    saga_id, bank.loses_replies = new_id(), 10_000
    with pytest.raises(SagaPending):
        await transfer(system, saga_id)
    for _ in range(ATTEMPTS_MAX):
        await expire_leases(system)
        await system.saga_worker.run_once()
    assert (await record(system, saga_id)).state == "needs_human"
    return saga_id


async def test_a_saga_that_a_human_resumes_ends(system: System, bank: Bank) -> None:
    saga_id = await left_to_a_human(system, bank)
    bank.loses_replies = 0
    await system.sagas.resume(await claim(system, saga_id))
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_saga_that_a_human_resumes_in_vain_is_taken_up_by_workers_again(
    system: System, bank: Bank
) -> None:
    saga_id = await left_to_a_human(system, bank)
    await system.sagas.resume(await claim(system, saga_id))
    assert (await record(system, saga_id)).state == "running"
    bank.loses_replies = 0
    await expire_leases(system)
    await drain(system)
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_caller_of_a_saga_that_was_left_to_a_human_is_told_at_once(
    system: System, bank: Bank
) -> None:
    saga_id = await left_to_a_human(system, bank)
    with pytest.raises(SagaPending):
        await transfer(system, saga_id)


async def test_callers_who_ask_again_and_again_do_not_use_a_saga_up(
    system: System, bank: Bank
) -> None:
    saga_id, bank.loses_replies = new_id(), 10_000
    for _ in range(ATTEMPTS_MAX + 1):
        with pytest.raises(SagaPending):
            await transfer(system, saga_id)
    await expire_leases(system)
    await system.saga_worker.run_once()
    assert (await record(system, saga_id)).state == "running"


async def test_an_unfinished_saga_is_left_to_its_caller_first(
    system: System, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_runner, "CALLER_S", 300.0)  # However slow the machine is.
    saga_id, bank.loses_replies = new_id(), 2
    with pytest.raises(SagaPending):
        await transfer(system, saga_id)
    assert await system.saga_worker.run_once() == 0
    assert (await transfer(system, saga_id))["amount"] == 10
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_caller_who_comes_after_the_deadline_causes_no_call(
    system: System, bank: Bank
) -> None:
    saga_id = new_id()
    with crash_at("saga.transfer.charge.before"):
        await transfer(system, saga_id)
    async with restarted(system) as after:
        await pass_deadlines(after)
        with pytest.raises(BulkheadError) as refused:
            await transfer(after, saga_id)
        assert refused.value.code == "saga_expired"
        assert bank.calls == 0
        assert await verify_books(after, bank, saga_id) == "compensated"


async def test_what_took_effect_is_not_taken_back_by_an_operator(
    system: System, bank: Bank
) -> None:
    saga_id = new_id()
    with crash_at("saga.transfer.charge.after"):
        await transfer(system, saga_id)
    with pytest.raises(SagaDecided):
        await system.sagas.compensate(await claim(system, saga_id), SagaAbandoned())
    await expire_leases(system)
    await drain(system)
    assert await verify_books(system, bank, saga_id) == "completed"


@pytest.mark.parametrize("step", ["hold", "charge"])
async def test_what_did_not_take_effect_can_be_taken_back_by_an_operator(
    system: System, bank: Bank, step: str
) -> None:
    saga_id = new_id()
    with crash_at(f"saga.transfer.{step}.before"):
        await transfer(system, saga_id)
    await system.sagas.drain()
    await system.sagas.compensate(await claim(system, saga_id), SagaAbandoned())
    assert await verify_books(system, bank, saga_id) == "compensated"
    with pytest.raises(StoredRefusal):
        await transfer(system, saga_id)


async def test_a_call_whose_outcome_is_open_is_not_taken_back_by_an_operator_yet(
    system: System, bank: Bank
) -> None:
    saga_id, bank.loses_replies = new_id(), 3
    with pytest.raises(SagaPending):
        await transfer(system, saga_id)
    with pytest.raises(SagaPending):
        await system.sagas.compensate(await claim(system, saga_id), SagaAbandoned())
    await expire_leases(system)
    await drain(system)
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_step_that_cannot_be_undone_keeps_its_saga_open(system: System, bank: Bank) -> None:
    async def fail(_: str, __: StepItem) -> Reply:
        return Unknown()

    saga = transfer_saga(bank)
    charge = saga.stages[1][0]
    assert isinstance(charge, ExternalStep)
    stuck = replace(saga, stages=(saga.stages[0], (replace(charge, undo=fail),), saga.stages[2]))
    system.sagas.sagas = {"transfer": stuck}
    saga_id, bank.declines = new_id(), True
    with pytest.raises(SagaPending):
        await transfer(system, saga_id)
    assert (await read_books(system, saga_id)).held == 10
    system.sagas.sagas = {"transfer": saga}
    await expire_leases(system)
    await drain(system)
    assert await verify_books(system, bank, saga_id) == "compensated"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("open.before", SagaUnanswered),
        ("charge.before", SagaPending),
        ("confirm.after", SagaPending),
    ],
)
async def test_a_caller_whose_patience_ends_is_told_what_is_known_and_the_saga_goes_on(
    system: System, bank: Bank, place: str, told: type[BulkheadError]
) -> None:
    """A database, or the bank, that does not answer holds nobody up for all of its time-outs."""
    saga, saga_id, point = system.sagas.saga("transfer"), new_id(), f"saga.transfer.{place}"
    reached = asyncio.Event()
    failpoints.observe(lambda name: reached.set() if name == point else None)
    failpoints.arm(point, Mode.STALL)
    first = asyncio.create_task(transfer(system, saga_id))
    await reached.wait()
    failpoints.observe(None)
    run = partial(system.sagas.run, saga, saga_id, {"amount": 10}, patience_s=0.0)
    with pytest.raises(told):
        await run(request_hash="h")
    with pytest.raises(SagaInProgress):
        await run(request_hash="another")
    failpoints.disarm(point)
    assert await first == await transfer(system, saga_id)
    assert bank.calls == 1
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_refusal_stands_when_what_ran_beside_it_cannot_be_undone_yet(
    system: System, bank: Bank
) -> None:
    saga = transfer_saga(bank)

    async def refuse(_: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
        return [Broke(amount=0) for _ in items]

    async def away(_: Transaction, __: Sequence[StepItem]) -> None:
        raise Unavailable(what="Database 'beta'")

    first = (DatabaseStep("open", "alpha", refuse), DatabaseStep("hold", "beta", hold, away))
    system.sagas.sagas = {"transfer": replace(saga, stages=(first, *saga.stages[1:]))}
    saga_id = new_id()
    with pytest.raises(Broke):
        await transfer(system, saga_id)
    assert (await read_books(system, saga_id)).held == 10
    system.sagas.sagas = {"transfer": saga}
    await pass_deadlines(system)
    await drain(system)
    assert await verify_books(system, bank, saga_id) == "compensated"


async def test_old_markers_of_open_sagas_do_not_hide_those_behind_them(
    system: System, bank: Bank
) -> None:
    async with system.database("beta").transaction(SERVICE) as tx:
        await tx.execute(
            "insert into bulkhead.saga_steps (saga_id, step, saga, state, created_at)"
            " select gen_random_uuid(), 'hold', 'transfer', 'undone', 'epoch'"
            " from generate_series(1, $1)",
            2 * PAGE_ROWS + 1,
        )
        ids = [row["saga_id"] for row in await tx.fetch("select saga_id from bulkhead.saga_steps")]
    async with system.database("alpha").transaction(SERVICE) as tx:
        await tx.execute(
            "insert into bulkhead.sagas"
            " (id, name, state, input, request_hash, leased_until, deadline_at)"
            " select id, 'transfer', 'needs_human', '{}', '', now(), now()"
            " from unnest($1::uuid[]) id",
            ids,
        )
    saga_id = new_id()
    with crash_at("saga.transfer.open.before"):
        await transfer(system, saga_id)
    async with restarted(system) as after:
        await pass_deadlines(after)
        await drain(after)
        assert await verify_books(after, bank, saga_id) == "compensated"


async def test_a_process_leaves_its_sagas_alone_for_as_long_as_it_was_told(
    system: System, bank: Bank
) -> None:
    hasty = build_system(
        system.application, replace(system.settings, lease_s=1e-3), system.router.placements
    )
    saga_id = new_id()
    with crash_at("saga.transfer.charge.after"):
        await transfer(hasty, saga_id)
    await hasty.sagas.drain()
    await drain(hasty)
    assert await verify_books(hasty, bank, saga_id) == "completed"
    await hasty.close()


@asynccontextmanager
async def held_up(point: str) -> AsyncIterator[None]:
    """Run the block when somebody waits at `point`, who goes on afterwards."""
    reached = asyncio.Event()
    failpoints.observe(lambda name: reached.set() if name == point else None)
    failpoints.arm(point, Mode.STALL)
    try:
        await reached.wait()
        failpoints.observe(None)
        yield
    finally:
        failpoints.observe(None)
        failpoints.disarm(point)


@pytest.mark.parametrize(
    ("place", "state"), [("open.after", "completed"), ("hold.before_undo", "compensated")]
)
async def test_whoever_lost_a_saga_undoes_nothing_of_one_that_goes_forward(
    system: System, bank: Bank, place: str, state: str
) -> None:
    """The step of the other database was refused to the first process and granted to the next."""

    async def refuse(_: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
        return [Broke(amount=0) for _ in items]

    saga, saga_id = transfer_saga(bank), new_id()
    steps = (saga.stages[0][0], DatabaseStep("hold", "beta", refuse, release))
    system.sagas.sagas = {"transfer": replace(saga, stages=(steps, *saga.stages[1:]))}
    other = build_system(system.application, system.settings, system.router.placements)
    first = asyncio.create_task(transfer(system, saga_id))
    async with held_up(f"saga.transfer.{place}"):
        await expire_leases(system)
        with pytest.raises(StoredRefusal) if state == "compensated" else nullcontext():
            await transfer(other, saga_id)
    with pytest.raises(SagaPending):
        await first
    assert await verify_books(system, bank, saga_id) == state
    await other.close()


async def test_a_worker_takes_sagas_up_one_at_a_time(system: System, bank: Bank) -> None:
    """So that no lease runs out while its saga waits behind others that take long."""
    leased: list[int] = []

    async def ask(key: str, item: StepItem) -> Reply:
        async with system.database("alpha").transaction(SERVICE) as tx:
            leased.append(
                await tx.fetchval(
                    "select count(*) from bulkhead.sagas"
                    " where owner is not null and leased_until > now()"
                )
            )
        return await bank.find(key, item)

    for _ in range(2):
        with crash_at("saga.transfer.charge.after"):
            await transfer(system, new_id())
    async with restarted(system) as after:
        saga = after.sagas.saga("transfer")
        charge = saga.stages[1][0]
        assert isinstance(charge, ExternalStep)
        charge = replace(charge, settle=ask)
        stages = (saga.stages[0], (charge,), saga.stages[2])
        after.sagas.sagas = {"transfer": replace(saga, stages=stages)}
        assert await after.saga_worker.run_once() == 2
    assert leased == [1, 1]


async def test_a_worker_that_is_stopped_leaves_its_saga_to_the_caller(
    system: System, bank: Bank
) -> None:
    saga_id = new_id()
    with crash_at("saga.transfer.charge.after"):
        await transfer(system, saga_id)
    async with restarted(system) as after:
        async with stalled("saga.transfer.confirm.before", after.saga_worker.run_once()) as stopped:
            stopped.cancel()
        assert stopped.cancelled()
        assert (await transfer(after, saga_id))["amount"] == 10
        assert await verify_books(after, bank, saga_id) == "completed"
