"""An application that is started with a pooler's DSN: sagas, events, migrations and the doctor."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from pgbouncer_server import PgbouncerServer
from tests.integration.conftest import StartPgbouncer
from tests.integration.engine.drivers.pooled import upstream
from tests.integration.engine.messaging.transfer_application import (
    Bank,
    read_books,
    transfer_application,
    verify_books,
)

from bulkhead.engine.drivers.errors import PoolerInBetween
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.doctor import diagnose
from bulkhead.engine.monitoring.findings import Level
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, migration_sets, open_system
from bulkhead.engine.testing import TestServers, drain, expire_leases

SERVER = "behind"


@pytest.fixture
async def pgbouncer(servers: TestServers, start_pgbouncer: StartPgbouncer) -> PgbouncerServer:
    return start_pgbouncer(await upstream(servers, SERVER), default_pool_size=2)


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
async def system(
    servers: TestServers, pgbouncer: PgbouncerServer, bank: Bank, tmp_path: Path
) -> AsyncIterator[System]:
    """Created and migrated past the pooler, and served through it."""
    there = await upstream(servers, SERVER)
    settings = Settings(
        home=tmp_path,
        server_url=pgbouncer.dsn,
        server_direct_url=there.url(there.administrator()),
        pool_size=4,
    )
    async with open_system(transfer_application(bank), settings) as system:
        yield system
        placements = system.router.placements
    for placement in placements:
        await placement.driver.drop_database(placement.spec)


async def transfer(system: System, saga_id: UUID) -> str | None:
    """Run one; None when it was broken off and is left to the workers."""
    try:
        await system.sagas.run(
            system.sagas.saga("transfer"), saga_id, {"amount": 1}, request_hash="h"
        )
    except BulkheadError:
        return None
    return "done"


async def test_sagas_run_through_a_pool_of_two(system: System, bank: Bank) -> None:
    ids = [new_id() for _ in range(40)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(transfer(system, saga_id)) for saga_id in ids]
    assert [task.result() for task in tasks] == ["done"] * 40
    await drain(system)
    for saga_id in ids:
        assert await verify_books(system, bank, saga_id) == "completed"


async def test_sagas_whose_pooler_dies_are_finished_or_undone(
    system: System, bank: Bank, pgbouncer: PgbouncerServer
) -> None:
    ids = [new_id() for _ in range(60)]
    async with asyncio.TaskGroup() as group:
        for start in range(0, 60, 15):
            running = [
                group.create_task(transfer(system, each)) for each in ids[start : start + 15]
            ]
            await asyncio.wait(running[:1])
            pgbouncer.restart()
    async with asyncio.timeout(30):
        while True:
            try:
                await expire_leases(system)
                await drain(system)
                break
            except BulkheadError:  # Connections of the pooler that died.
                await asyncio.sleep(0.05)
    books = [await read_books(system, saga_id) for saga_id in ids]
    states = Counter(each.state for each in books)
    assert states["completed"] > 0
    assert states.keys() <= {"completed", "compensated", None}
    assert books[0].held == bank.kept == states["completed"]
    assert books[0].held + books[0].available == 100
    for each in books:
        assert ("confirmed" in each.kinds) is (each.state == "completed")


async def test_everything_is_migrated_and_the_doctor_is_content(system: System) -> None:
    application = system.application

    findings = await diagnose(
        system.router,
        application.topology,
        sets_of=lambda name: migration_sets(application, name),
    )
    assert {finding.code for finding in findings if finding.level is Level.ERROR} == set()
    told = [finding.detail for finding in findings if finding.code == "behind_pooler"]
    assert len(told) == len(system.router.databases)
    assert all("transaction mode" in detail for detail in told)


async def test_workers_hear_of_events_past_the_pooler(system: System, bank: Bank) -> None:
    await system.start_workers()
    saga_id = new_id()
    assert await transfer(system, saga_id) == "done"
    async with asyncio.timeout(10):
        while await verify_books(system, bank, saga_id) != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await system.stop_workers()


async def test_a_poolers_dsn_alone_is_refused_at_the_start(
    pgbouncer: PgbouncerServer, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, server_url=pgbouncer.dsn)
    with pytest.raises(PoolerInBetween):
        async with open_system(transfer_application(Bank()), settings):
            pass
