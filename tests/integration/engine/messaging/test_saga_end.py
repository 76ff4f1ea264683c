from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.integration.engine.messaging.transfer_application import (
    Bank,
    transfer_application,
    transfer_saga,
)

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import RaisedBySql
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.saga import SagaState
from bulkhead.engine.messaging.saga_store import (
    SagaRecord,
    Start,
    begin_sagas,
    claim_saga,
    find_saga,
    finish_sagas,
)
from bulkhead.engine.testing import TestServers

SAGA = transfer_saga(Bank())


@pytest.fixture
async def home(servers: TestServers) -> AsyncIterator[OpenDatabase]:
    async with servers.system(transfer_application(Bank())) as system:
        yield system.database("alpha")


async def begin(home: OpenDatabase, count: int = 1) -> list[UUID]:
    ids = [new_id() for _ in range(count)]
    async with home.transaction(SERVICE) as tx:
        begin_sagas(tx, [Start(SAGA, saga_id, {"amount": 1}, "h", "me") for saga_id in ids])
    return ids


async def read(home: OpenDatabase, saga_id: UUID) -> SagaRecord:
    async with home.transaction(SERVICE) as tx:
        record = await find_saga(tx, saga_id)
    assert record is not None
    return record


async def test_many_sagas_end_at_once_each_with_its_own_result(home: OpenDatabase) -> None:
    ids = await begin(home, 3)
    results = ["it's", {"a": [1, None]}, None]
    async with home.transaction(SERVICE) as tx:
        ends = [(saga_id, 1, result) for saga_id, result in zip(ids, results, strict=True)]
        finish_sagas(tx, SagaState.COMPLETED, ends)
    records = [await read(home, saga_id) for saga_id in ids]
    assert [record.result for record in records] == results
    assert {record.state for record in records} == {SagaState.COMPLETED}
    assert {(record.owner, record.error) for record in records} == {(None, None)}


async def test_a_compensated_saga_keeps_its_error(home: OpenDatabase) -> None:
    [saga_id] = await begin(home)
    async with home.transaction(SERVICE) as tx:
        finish_sagas(tx, SagaState.COMPENSATED, [(saga_id, 1, {"code": "broke"})])
    record = await read(home, saga_id)
    assert (record.state, record.error, record.result) == (
        SagaState.COMPENSATED,
        {"code": "broke"},
        None,
    )


async def test_whoever_has_lost_a_saga_ends_none_of_those_in_its_hands(home: OpenDatabase) -> None:
    kept, lost = await begin(home, 2)
    async with home.transaction(SERVICE) as tx:
        taken = await claim_saga(tx, lost, "another", force=True)
    assert taken is not None
    assert taken.fence == 2
    with pytest.raises(RaisedBySql) as refusal:
        async with home.transaction(SERVICE) as tx:
            finish_sagas(tx, SagaState.COMPLETED, [(kept, 1, 1), (lost, 1, 1)])
    assert refusal.value.details["sqlstate"] == "BHF01"
    for saga_id in (kept, lost):
        assert (await read(home, saga_id)).state is SagaState.RUNNING


async def test_a_saga_ends_only_once(home: OpenDatabase) -> None:
    [saga_id] = await begin(home)
    async with home.transaction(SERVICE) as tx:
        finish_sagas(tx, SagaState.COMPLETED, [(saga_id, 1, "first")])
    with pytest.raises(RaisedBySql):
        async with home.transaction(SERVICE) as tx:
            finish_sagas(tx, SagaState.COMPENSATED, [(saga_id, 1, "second")])
    assert (await read(home, saga_id)).result == "first"
