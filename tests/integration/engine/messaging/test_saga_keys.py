"""Several requests with one key, at once or one after another: one of them is done, and told so."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from tests.integration.engine.messaging.transfer_application import (
    Bank,
    Broke,
    hold,
    open_entry,
    transfer,
    transfer_saga,
    verify_books,
)

from bulkhead.engine import failpoints
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.failpoints import Mode
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.saga import (
    DatabaseStep,
    Json,
    StepItem,
)
from bulkhead.engine.messaging.saga_errors import (
    IdempotencyKeyReused,
    StoredRefusal,
)
from bulkhead.engine.system import System
from bulkhead.engine.testing import (
    crash_at,
    drain,
    expire_leases,
    pass_deadlines,
    restarted,
)


async def test_a_key_that_was_abandoned_unrecorded_tells_its_own_caller_so(
    system: System, bank: Bank
) -> None:
    saga_id = new_id()
    with crash_at("saga.transfer.open.before"):
        await transfer(system, saga_id)
    async with restarted(system) as after:
        await pass_deadlines(after)
        await drain(after)
        with pytest.raises(StoredRefusal) as refused:
            await transfer(after, saga_id)
        assert refused.value.code == "saga_abandoned"
        assert await verify_books(after, bank, saga_id) == "compensated"


@pytest.mark.parametrize("changed", [5, 20])
async def test_a_step_that_ran_for_another_request_is_not_taken_for_this_one(
    system: System, bank: Bank, changed: int
) -> None:
    saga_id = new_id()
    with crash_at("saga.transfer.open.before"):
        await transfer(system, saga_id, 10)
    async with restarted(system) as after:
        with pytest.raises(BulkheadError) as refused:
            await transfer(after, saga_id, changed)
        assert refused.value.code == "saga_step_differs"
        assert await verify_books(after, bank, saga_id) == "compensated"


async def test_a_worker_does_not_finish_what_two_requests_have_begun(
    system: System, bank: Bank
) -> None:
    saga_id = new_id()
    with crash_at("saga.transfer.open.before"):
        await transfer(system, saga_id, 10)
    async with restarted(system) as after:
        with crash_at("saga.transfer.hold.before"):
            await transfer(after, saga_id, 20)
        await after.sagas.drain()
        await expire_leases(after)
        await drain(after)
        assert await verify_books(after, bank, saga_id) == "compensated"


async def test_a_refused_request_takes_nothing_back_of_one_that_was_taken_in(
    system: System, bank: Bank
) -> None:
    """The same request at two processes: one is refused at its first step, the other is not."""

    async def refuse(_: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
        return [Broke(amount=0) for _ in items]

    saga = transfer_saga(bank)
    first = (DatabaseStep("open", "alpha", refuse), DatabaseStep("hold", "beta", hold))
    saga_id = new_id()
    async with restarted(system) as other:
        other.sagas.sagas = {"transfer": replace(saga, stages=(first, *saga.stages[1:]))}
        charged = asyncio.Event()
        failpoints.observe(lambda name: charged.set() if name.endswith("charge.before") else None)
        failpoints.arm("saga.transfer.charge.before", Mode.STALL)
        async with asyncio.TaskGroup() as group:
            taken_in = group.create_task(transfer(system, saga_id))
            await charged.wait()
            failpoints.observe(None)
            refused = group.create_task(transfer(other, saga_id))
            await asyncio.wait([refused], timeout=0.2)
            failpoints.disarm()
        assert taken_in.result() == refused.result()
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_another_request_with_a_key_in_use_waits_to_be_told(
    system: System, bank: Bank
) -> None:
    saga_id = new_id()
    async with asyncio.TaskGroup() as group:
        one = group.create_task(transfer(system, saga_id, 10, "one"))
        two = group.create_task(told(system, saga_id, 20, "two"))
    assert one.result()["amount"] == 10
    assert two.result() == IdempotencyKeyReused.code


async def told(system: System, saga_id: UUID, amount: int, hashed: str) -> str:
    try:
        await transfer(system, saga_id, amount, hashed)
    except BulkheadError as error:
        return error.code
    return "done"


async def test_a_lost_reply_is_not_taken_for_another_process_s_record(
    system: System, bank: Bank
) -> None:
    """It tries again after a failure, and finds a record that it has not written."""
    saga_id, failures = new_id(), 1
    saga = transfer_saga(bank)
    assert await transfer(system, saga_id, 10, "one")

    async def fail_once(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable(what="Database 'alpha'")
        return await open_entry(tx, items)

    first = (DatabaseStep("open", "alpha", fail_once), saga.stages[0][1])
    async with restarted(system) as other:
        other.sagas.sagas = {"transfer": replace(saga, stages=(first, *saga.stages[1:]))}
        assert await told(other, saga_id, 10, "two") == IdempotencyKeyReused.code
    assert bank.calls == 1
