import datetime as dt

import pytest
from tests.integration.engine.messaging.parcels_application import Handlers, another_relay, count_up

from bulkhead.engine.clock import now, stopped
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging import retention
from bulkhead.engine.messaging.lease import Retry
from bulkhead.engine.messaging.relay import RelayLimits
from bulkhead.engine.messaging.retention import Retention, first_id_at
from bulkhead.engine.system import System


async def prune_after(system: System, database: str, days: int) -> int:
    """Prune as if everything that is there now were so many days older."""
    async with system.database(database).transaction(SERVICE) as tx:
        for table, column in (("events", "occurred_at"), ("inbox", "received_at")):
            await tx.execute(
                f"update bulkhead.{table} set {column} = now() - make_interval(days => $1)", days
            )
    with stopped(now() + dt.timedelta(days=days)):
        return await system.relay.prune(database)


async def kept(system: System, database: str, table: str) -> int:
    async with system.database(database).transaction(SERVICE) as tx:
        rows: int = await tx.fetchval(f"select count(*) from bulkhead.{table}")
    return rows


async def test_old_events_are_forgotten(parcels: System) -> None:
    await count_up(parcels, "a", 3)
    await parcels.relay.drain()
    assert await prune_after(parcels, "origin", 13) == 0
    assert await prune_after(parcels, "origin", 15) == 3
    assert await kept(parcels, "origin", "events") == 0


async def test_an_event_that_looks_old_to_one_clock_only_is_kept(parcels: System) -> None:
    await count_up(parcels, "a")
    await parcels.relay.drain()
    with stopped(now() + dt.timedelta(days=100)):
        assert await parcels.relay.prune("origin") == 0
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await tx.execute("update bulkhead.events set occurred_at = now() - interval '100 days'")
    assert await parcels.relay.prune("origin") == 0


async def test_an_event_is_kept_as_long_as_somebody_has_to_receive_it(
    parcels: System, handlers: Handlers
) -> None:
    handlers.poison.add("bad")
    await count_up(parcels, "bad")
    hasty = RelayLimits(retry=Retry(attempts_max=1))
    await another_relay(parcels, hasty).drain(allow_dead=True)
    assert await prune_after(parcels, "origin", 400) == 0
    assert await kept(parcels, "origin", "events") == 1


async def test_an_inbox_outlives_the_outbox(parcels: System) -> None:
    await count_up(parcels, "a")
    await parcels.relay.drain()
    await prune_after(parcels, "target", 20)
    assert await kept(parcels, "target", "inbox") == 1
    await prune_after(parcels, "target", 40)
    assert await kept(parcels, "target", "inbox") == 0


async def test_much_is_forgotten_in_several_short_transactions(
    parcels: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PRUNE_MAX", 10)
    await count_up(parcels, "a", 25)
    await parcels.relay.drain()
    assert await prune_after(parcels, "origin", 15) == 25


def test_a_retention_that_forgets_inboxes_first_is_refused() -> None:
    with pytest.raises(AssertionError, match="outlive"):
        Retention(events_days=30, inbox_days=14)


def test_the_first_id_of_an_instant_bounds_the_ids_made_before_it() -> None:
    assert first_id_at(now() - dt.timedelta(seconds=1)) < new_id()
    assert new_id() < first_id_at(now() + dt.timedelta(seconds=1))
