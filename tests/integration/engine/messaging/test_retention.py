import pytest
from tests.integration.engine.messaging.parcels_application import Handlers, another_relay, count_up

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.messaging import retention
from bulkhead.engine.messaging.lease import Retry
from bulkhead.engine.messaging.relay import RelayLimits
from bulkhead.engine.messaging.retention import Retention
from bulkhead.engine.system import System


async def age(system: System, database: str, days: int) -> None:
    async with system.database(database).transaction(SERVICE) as tx:
        for table, column in (("events", "occurred_at"), ("inbox", "received_at")):
            await tx.execute(
                f"update bulkhead.{table} set {column} = {column} - make_interval(days => $1)", days
            )


async def kept(system: System, database: str, table: str) -> int:
    async with system.database(database).transaction(SERVICE) as tx:
        rows: int = await tx.fetchval(f"select count(*) from bulkhead.{table}")
    return rows


async def test_old_events_are_forgotten_and_young_ones_kept(parcels: System) -> None:
    await count_up(parcels, "a", 3)
    await parcels.relay.drain()
    await age(parcels, "origin", 15)
    await count_up(parcels, "a", 2)
    await parcels.relay.drain()
    assert await parcels.relay.prune("origin") == 3
    assert await kept(parcels, "origin", "events") == 2
    assert await parcels.relay.prune("origin") == 0


async def test_an_event_is_kept_as_long_as_somebody_has_to_receive_it(
    parcels: System, handlers: Handlers
) -> None:
    handlers.poison.add("bad")
    await count_up(parcels, "bad")
    hasty = RelayLimits(retry=Retry(attempts_max=1))
    await another_relay(parcels, hasty).drain(allow_dead=True)
    await age(parcels, "origin", 400)
    assert await parcels.relay.prune("origin") == 0
    assert await kept(parcels, "origin", "events") == 1


async def test_an_inbox_outlives_the_outbox(parcels: System) -> None:
    await count_up(parcels, "a")
    await parcels.relay.drain()
    await age(parcels, "target", 20)
    await parcels.relay.prune("target")
    assert await kept(parcels, "target", "inbox") == 1
    await age(parcels, "target", 20)
    await parcels.relay.prune("target")
    assert await kept(parcels, "target", "inbox") == 0


async def test_much_is_forgotten_in_several_short_transactions(
    parcels: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PRUNE_MAX", 10)
    await count_up(parcels, "a", 25)
    await parcels.relay.drain()
    await age(parcels, "origin", 15)
    assert await parcels.relay.prune("origin") == 25


def test_a_retention_that_forgets_inboxes_first_is_refused() -> None:
    with pytest.raises(AssertionError, match="outlive"):
        Retention(events_days=30, inbox_days=14)
