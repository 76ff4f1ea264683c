import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.integration.engine.messaging.transfer_application import (
    Bank,
    Broke,
    Declined,
    read_books,
    transfer_application,
    transfer_saga,
    verify_books,
)

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError, TopologyInvalid
from bulkhead.engine.ids import derive_id, new_id
from bulkhead.engine.messaging.saga import PLACES, DatabaseStep, Saga, point
from bulkhead.engine.messaging.saga_errors import IdempotencyKeyReused, SagaPending, StoredRefusal
from bulkhead.engine.system import System
from bulkhead.engine.testing import (
    TestServers,
    crash_at,
    drain,
    expire_leases,
    pass_deadlines,
    restarted,
)

SAGA = transfer_saga(Bank())


@pytest.fixture(params=["one server", "a server each"])
async def system(
    servers: TestServers, bank: Bank, request: pytest.FixtureRequest
) -> AsyncIterator[System]:
    apart = request.param == "a server each"
    async with servers.system(transfer_application(bank), apart=apart) as system:
        yield system


async def transfer(system: System, saga_id: UUID, amount: int = 10, hashed: str = "h") -> object:
    saga = system.sagas.saga("transfer")
    return await system.sagas.run(saga, saga_id, {"amount": amount}, request_hash=hashed)


async def test_a_saga_takes_effect_in_every_database(system: System, bank: Bank) -> None:
    saga_id = new_id()
    answer = await transfer(system, saga_id)
    assert answer == {"amount": 10, "key": f"{saga_id}-charge"}
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_repeat_gets_the_first_answer_and_changes_nothing(
    system: System, bank: Bank
) -> None:
    saga_id = derive_id("test", "user", "key")
    first = await transfer(system, saga_id)
    assert await transfer(system, saga_id) == first
    async with restarted(system) as after:
        assert await transfer(after, saga_id) == first
    assert bank.calls == 1
    assert (await read_books(system, saga_id)).held == 10


async def test_the_same_key_with_another_body_is_refused(system: System) -> None:
    saga_id = new_id()
    await transfer(system, saga_id)
    with pytest.raises(IdempotencyKeyReused):
        await transfer(system, saga_id, amount=11, hashed="other")


async def test_concurrent_requests_with_one_key_all_get_one_answer(
    system: System, bank: Bank
) -> None:
    saga_id = new_id()
    async with restarted(system) as other, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(transfer(each, saga_id))
            for each in (system, other)
            for _ in range(10)
        ]
    answers = [task.result() for task in tasks]
    assert answers == [answers[0]] * 20
    assert bank.calls == 1
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_refusal_takes_the_other_step_back(system: System, bank: Bank) -> None:
    saga_id = new_id()
    with pytest.raises(Broke):
        await transfer(system, saga_id, amount=101)
    assert await verify_books(system, bank, saga_id) == "compensated"
    with pytest.raises(StoredRefusal) as again:
        await transfer(system, saga_id, amount=101)
    assert (again.value.code, again.value.status) == ("broke", 409)
    assert again.value.message == "The account does not hold 101."
    assert bank.calls == 0


async def test_a_declined_call_takes_every_step_back(system: System, bank: Bank) -> None:
    bank.declines = True
    saga_id = new_id()
    with pytest.raises(Declined):
        await transfer(system, saga_id)
    assert await verify_books(system, bank, saga_id) == "compensated"


async def test_a_refused_saga_stays_refused_when_it_is_tried_again(system: System) -> None:
    saga_id = new_id()
    with pytest.raises(Broke):
        await transfer(system, saga_id, amount=101)
    async with system.database("beta").transaction(SERVICE) as tx:
        await tx.execute("update account set available = available + 100")
    with pytest.raises(StoredRefusal):
        await transfer(system, saga_id, amount=101)
    assert (await read_books(system, saga_id)).available == 200


async def test_a_lost_reply_is_settled_by_asking_with_the_key(system: System, bank: Bank) -> None:
    bank.loses_replies = 1
    saga_id = new_id()
    await transfer(system, saga_id)
    assert bank.calls == 1
    assert await verify_books(system, bank, saga_id) == "completed"


async def test_a_call_of_unknown_outcome_is_settled_later(system: System, bank: Bank) -> None:
    bank.loses_replies = 2
    saga_id = new_id()
    with pytest.raises(SagaPending):
        await transfer(system, saga_id)
    await expire_leases(system)
    await drain(system)
    assert await verify_books(system, bank, saga_id) == "completed"
    assert await transfer(system, saga_id) == {"amount": 10, "key": f"{saga_id}-charge"}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", [step.name for step in SAGA.steps])
async def test_a_crash_at_any_step_ends_whole_or_not_at_all(
    system: System, bank: Bank, step: str, place: str
) -> None:
    saga_id = new_id()
    with crash_at(f"saga.transfer.{step}.{place}"):
        await transfer(system, saga_id)
    async with restarted(system) as after:
        await drain(after)
        await pass_deadlines(after)
        await drain(after)
        await verify_books(after, bank, saga_id)
        before = await read_books(after, saga_id)
        await drain(after)
        assert await read_books(after, saga_id) == before


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", [step.name for step in SAGA.steps])
async def test_a_customer_who_tries_again_after_a_crash_is_served(
    system: System, bank: Bank, step: str, place: str
) -> None:
    saga_id = new_id()
    with crash_at(f"saga.transfer.{step}.{place}"):
        await transfer(system, saga_id)
    async with restarted(system) as after:
        answer = await transfer(after, saga_id)
        assert answer == {"amount": 10, "key": f"{saga_id}-charge"}
        assert await verify_books(after, bank, saga_id) == "completed"


@pytest.mark.parametrize("place", ["before_undo", "after_undo"])
@pytest.mark.parametrize("step", [step.name for step in SAGA.steps])
async def test_a_crash_while_compensating_is_compensated_to_the_end(
    system: System, bank: Bank, step: str, place: str
) -> None:
    bank.declines = True
    saga_id = new_id()
    with crash_at(f"saga.transfer.{step}.{place}"):
        await transfer(system, saga_id)
    async with restarted(system) as after:
        await drain(after)
        assert await verify_books(after, bank, saga_id) == "compensated"
        with pytest.raises(BulkheadError):
            await transfer(after, saga_id)


async def test_every_registered_point_of_the_saga_was_tried() -> None:
    tried = {f"saga.transfer.{step.name}.{place}" for step in SAGA.steps for place in PLACES}
    known = {name for name in failpoints.registered() if name.startswith("saga.transfer.")}
    assert known == tried == {point(SAGA, s, place) for s in SAGA.steps for place in PLACES}


async def test_two_workers_never_run_one_saga_at_the_same_time(system: System, bank: Bank) -> None:
    saga_id = new_id()
    with crash_at("saga.transfer.charge.after"):
        await transfer(system, saga_id)
    async with restarted(system) as one, restarted(system) as two:
        async with asyncio.TaskGroup() as group:
            for system_ in (one, two):
                group.create_task(drain(system_))
        assert await verify_books(one, bank, saga_id) == "completed"
    assert bank.calls == 1


async def test_many_sagas_share_commits_and_none_is_lost(system: System, bank: Bank) -> None:
    ids = [new_id() for _ in range(60)]

    async def attempt(saga_id: UUID) -> bool:
        try:
            await transfer(system, saga_id, amount=2)
        except Broke:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(saga_id)) for saga_id in ids]
    assert sum(task.result() for task in tasks) == 50
    books = await read_books(system, ids[0])
    assert (books.held, books.available, bank.kept) == (100, 0, 100)


async def test_one_bad_saga_does_not_fail_the_others_of_its_batch(
    system: System, bank: Bank
) -> None:
    good = [new_id() for _ in range(8)]

    async def attempt(saga_id: UUID, amount: object) -> object:
        saga = system.sagas.saga("transfer")
        try:
            return await system.sagas.run(saga, saga_id, {"amount": amount}, request_hash="h")
        except BulkheadError as error:
            return error.code

    async with asyncio.TaskGroup() as group:
        bad = group.create_task(attempt(new_id(), 2**40))
        tasks = [group.create_task(attempt(saga_id, 1)) for saga_id in good]
    assert bad.result() == "value_invalid"
    assert all(isinstance(task.result(), dict) for task in tasks)
    assert bank.kept == 8


def test_a_saga_must_end_in_the_database_that_coordinates_it() -> None:
    steps = SAGA.stages[0]
    with pytest.raises(TopologyInvalid, match="last step"):
        Saga("bad", (steps[:1], steps[1:]), pivot="hold", answer=lambda _: None)


def test_a_saga_must_begin_in_a_database() -> None:
    with pytest.raises(TopologyInvalid, match="first step"):
        Saga("bad", (SAGA.stages[1], SAGA.stages[2]), pivot="charge", answer=lambda _: None)


def test_the_pivot_must_be_a_step() -> None:
    step = SAGA.stages[0][0]
    assert isinstance(step, DatabaseStep)
    with pytest.raises(TopologyInvalid, match="pivot"):
        Saga("bad", ((step,),), pivot="elsewhere", answer=lambda _: None)
