"""Trials, periods and invoices, with jobs that may die or run twice."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.apps.store_platform.jobs import CHARGED, charge_invoices, renew_subscriptions
from bulkhead.apps.store_platform.master.audit.service import list_broken
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.testing import TestServers, crash_at


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        yield site


@pytest.fixture
async def owner(site: Site) -> Caller:
    return await site.caller()


@pytest.fixture
async def store(owner: Caller) -> UUID:
    return await owner.make_store()


async def subscribe(owner: Caller, store: UUID, plan: str, **more: str) -> Any:
    return await owner.post(f"/stores/{store}/subscription", {"plan": plan, **more})


async def invoices(owner: Caller, store: UUID) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await owner.get(f"/stores/{store}/invoices"))["invoices"]
    return found


async def test_the_first_plan_without_a_card_is_a_trial_that_expires(
    site: Site, owner: Caller, store: UUID
) -> None:
    begun = await subscribe(owner, store, "starter")
    assert begun["status"] == "trial"
    assert begun["max_products"] == 1000
    with clock.stopped(clock.now() + dt.timedelta(days=13)):
        await renew_subscriptions(site.system)
    assert (await owner.get(f"/stores/{store}"))["subscription_status"] == "trial"
    with clock.stopped(clock.now() + dt.timedelta(days=15)):
        await renew_subscriptions(site.system)
    shown = await owner.get(f"/stores/{store}")
    assert shown["subscription_status"] == "expired"
    assert await invoices(owner, store) == []
    body = {"plan": "professional"}
    refused = await owner.refused("POST", f"/stores/{store}/subscription", body)
    assert refused == (402, "payment_source_missing")
    again = await subscribe(owner, store, "professional", payment_source="tok_visa")
    assert again["status"] == "active"


async def test_an_expired_store_is_read_and_not_written(site: Site, owner: Caller) -> None:
    store = await site.open_store(owner)
    await subscribe(owner, store, "starter")
    with clock.stopped(clock.now() + dt.timedelta(days=15)):
        await renew_subscriptions(site.system)
    assert (await owner.get(f"/stores/{store}/products"))["products"] == []
    body = {"sku": "A", "slug": "a", "name": "A"}
    refused = await owner.refused("POST", f"/stores/{store}/products", body)
    assert refused == (402, "subscription_expired")


async def test_a_period_is_invoiced_and_charged_once_whoever_runs(
    site: Site, owner: Caller, store: UUID
) -> None:
    await subscribe(owner, store, "starter", payment_source="tok_visa")
    later = clock.now() + dt.timedelta(days=32)
    with clock.stopped(later):
        runs = [asyncio.create_task(renew_subscriptions(site.system)) for _ in range(4)]
        await asyncio.wait(runs)
        charges = [asyncio.create_task(charge_invoices(site.system)) for _ in range(4)]
        await asyncio.wait(charges)
    found = await invoices(owner, store)
    assert [invoice["amount"] for invoice in found] == ["29.00", "29.00"]
    assert {invoice["status"] for invoice in found} == {"completed"}
    one = await owner.get(f"/stores/{store}/invoices/{found[0]['id']}")
    assert one["payment_provider_id"] is not None
    assert one["invoice_url"].endswith(found[0]["id"])


async def test_a_crash_after_the_charge_charges_nothing_twice(
    site: Site, owner: Caller, store: UUID
) -> None:
    await subscribe(owner, store, "professional", payment_source="tok_visa")
    with crash_at(CHARGED), pytest.raises(FailpointReached):
        await charge_invoices(site.system)
    [invoice] = await invoices(owner, store)
    assert invoice["status"] == "pending"
    await charge_invoices(site.system)
    [invoice] = await invoices(owner, store)
    assert invoice["status"] == "completed"
    charge = await site.system.outside.payments.find_charge(f"invoice-{invoice['id']}-0")
    assert str(charge.amount) == "99.00"
    assert await site.system.outside.payments.find_charge(f"invoice-{invoice['id']}-1") is None


async def test_a_card_that_is_declined_four_times_ends_the_subscription(
    site: Site, owner: Caller, store: UUID
) -> None:
    await subscribe(owner, store, "starter", payment_source="tok_chargeDeclined")
    for days in (0, 2, 5, 10):
        with clock.stopped(clock.now() + dt.timedelta(days=days)):
            await charge_invoices(site.system)
    [invoice] = await invoices(owner, store)
    assert (invoice["status"], invoice["attempts"]) == ("failed", 4)
    assert (await owner.get(f"/stores/{store}"))["subscription_status"] == "expired"


async def test_who_cancels_is_back_on_the_free_plan(owner: Caller, store: UUID) -> None:
    await subscribe(owner, store, "professional", payment_source="tok_visa")
    answer = await owner.send("DELETE", f"/stores/{store}/subscription")
    assert answer.json()["plan_name"] == "free"
    refused = await owner.refused("DELETE", f"/stores/{store}/subscription")
    assert refused == (409, "subscription_missing")


async def test_the_audit_log_is_a_chain_that_shows_what_was_changed(
    site: Site, owner: Caller, store: UUID
) -> None:
    await subscribe(owner, store, "starter")
    entries = (await owner.get(f"/stores/{store}/audit"))["entries"]
    assert [entry["action"] for entry in entries] == [
        "store.subscribed",
        "store.created",
        "store.subscribed",
    ]


async def test_whoever_changes_the_audit_log_past_its_triggers_is_found_out(
    site: Site, store: UUID
) -> None:
    master = site.platform.master
    async with master.transaction(SERVICE, read_only=True) as db:
        assert await list_broken(db) == []
    first = await site.value("select min(position) from audit_logs where store_id = $1", store)
    raw = await master.driver.connect(master.spec, Login.ADMIN, timeout_s=10)
    try:
        await raw.execute("alter table audit_logs disable trigger audit_logs_keep")
        await raw.execute("update audit_logs set actor_id = null where position = $1", first)
        await raw.execute("alter table audit_logs enable trigger audit_logs_keep")
    finally:
        await raw.close()
    async with master.transaction(SERVICE, read_only=True) as db:
        assert await list_broken(db) == [first]
