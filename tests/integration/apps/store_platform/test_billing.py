"""Trials, periods and invoices, with jobs that may die or run twice."""

import asyncio
import calendar
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.integration.engine.provisioning.test_asked_meanwhile import Overtaken

from bulkhead.apps.store_platform.jobs import CHARGED, charge_invoices, renew_subscriptions
from bulkhead.apps.store_platform.master.audit.service import list_broken
from bulkhead.apps.store_platform.master.billing import service as billing
from bulkhead.apps.store_platform.master.billing.model import PlanName, SubscribeBody
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
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
async def store(site: Site, owner: Caller) -> UUID:
    """A store; of what other tests have left no invoice is due any more."""
    await site.value("update billing_transactions set due_at = 'infinity' where status = 'pending'")
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


async def test_who_begins_at_the_end_of_a_month_pays_at_the_end_of_each(
    site: Site, owner: Caller, store: UUID
) -> None:
    year = clock.now().year + 2
    february = calendar.monthrange(year, 2)[1]
    begun_at = dt.datetime(year, 1, 31, 12, tzinfo=dt.UTC)
    body = SubscribeBody(plan=PlanName.STARTER, payment_source="tok_visa")
    async with site.platform.master.transaction(SERVICE) as tx:
        await billing.subscribe(tx, store, body, begun_at, actor=None)
    for month, day in ((2, february), (3, 31), (4, 30)):
        with clock.stopped(dt.datetime(year, month, day, 12, tzinfo=dt.UTC)):
            await renew_subscriptions(site.system)
    begun = [invoice["period_start"][:10] for invoice in await invoices(owner, store)]
    ends = ["04-30", "03-31", f"02-{february}", "01-31"]
    assert begun == [f"{year}-{end}" for end in ends]


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


async def test_a_card_that_is_given_while_the_last_one_is_declined_is_tried(
    site: Site, owner: Caller, store: UUID
) -> None:
    await subscribe(owner, store, "starter", payment_source="tok_chargeDeclined")
    for days in (0, 2, 5):
        with clock.stopped(clock.now() + dt.timedelta(days=days)):
            await charge_invoices(site.system)
    later = clock.now() + dt.timedelta(days=10)
    async with site.platform.master.transaction(SERVICE, read_only=True) as db:
        [due] = [it for it in await billing.list_due(db, later) if it["store_id"] == store]
    await subscribe(owner, store, "starter", payment_source="tok_visa")
    async with site.platform.master.transaction(SERVICE) as tx:
        await billing.decline_invoice(tx, due, "card_declined", later)
    assert (await owner.get(f"/stores/{store}"))["subscription_status"] == "active"
    with clock.stopped(later):
        await charge_invoices(site.system)
    [invoice] = await invoices(owner, store)
    assert (invoice["status"], invoice["attempts"]) == ("completed", 5)


async def test_a_card_that_is_given_after_a_charge_nobody_heard_of_is_not_charged_too(
    site: Site, owner: Caller, store: UUID
) -> None:
    """And others, whose invoices are due later, are charged as ever."""
    await subscribe(owner, store, "starter", payment_source="tok_visa")
    with crash_at(CHARGED), pytest.raises(FailpointReached):
        await charge_invoices(site.system)
    await subscribe(owner, store, "starter", payment_source="tok_chargeDeclined")
    another = await owner.make_store()
    await subscribe(owner, another, "starter", payment_source="tok_visa")
    await charge_invoices(site.system)
    for each in (store, another):
        [invoice] = await invoices(owner, each)
        assert (invoice["status"], invoice["attempts"]) == ("completed", 1)


async def test_a_card_that_is_given_after_the_last_attempt_nobody_heard_of_is_tried(
    site: Site, owner: Caller, store: UUID
) -> None:
    await subscribe(owner, store, "starter", payment_source="tok_chargeDeclined")
    for days in (0, 2, 5):
        with clock.stopped(clock.now() + dt.timedelta(days=days)):
            await charge_invoices(site.system)
    later = clock.now() + dt.timedelta(days=10)
    with clock.stopped(later), crash_at(CHARGED), pytest.raises(FailpointReached):
        await charge_invoices(site.system)
    await subscribe(owner, store, "starter", payment_source="tok_visa")
    with clock.stopped(later):
        await charge_invoices(site.system)
        await charge_invoices(site.system)
    [invoice] = await invoices(owner, store)
    assert (invoice["status"], invoice["attempts"]) == ("completed", 5)


@pytest.mark.parametrize("source", ["tok_unavailable", "tok_pending"])
async def test_a_charge_whose_end_is_open_keeps_no_other_waiting(
    site: Site, owner: Caller, store: UUID, source: str
) -> None:
    await subscribe(owner, store, "starter", payment_source=source)
    await charge_invoices(site.system)

    async def is_due(after: dt.timedelta) -> bool:
        async with site.platform.master.transaction(SERVICE, read_only=True) as db:
            due = await billing.list_due(db, clock.now() + after)
        return store in {invoice["store_id"] for invoice in due}

    assert not await is_due(dt.timedelta())
    assert await is_due(billing.ASK_AGAIN)
    [invoice] = await invoices(owner, store)
    assert (invoice["status"], invoice["attempts"]) == ("pending", 0)


async def test_a_plan_that_changes_just_as_its_trial_ends_waits_for_nobody_who_waits_for_it(
    site: Site, owner: Caller, store: UUID
) -> None:
    await subscribe(owner, store, "starter")
    later = clock.now() + dt.timedelta(days=15)

    async def renew() -> None:
        async with site.platform.master.transaction(SERVICE) as tx:
            await billing.renew_ended(tx, later)

    body = SubscribeBody(plan=PlanName.PROFESSIONAL, payment_source="tok_visa")
    async with site.platform.master.transaction(SERVICE) as tx:
        overtaken = Overtaken(tx, 1, renew)
        await billing.subscribe(cast("Transaction", overtaken), store, body, later, actor=None)
    await renew()
    shown = await owner.get(f"/stores/{store}")
    assert (shown["subscription_plan"], shown["subscription_status"]) == ("professional", "active")


@pytest.mark.parametrize("status", ["none", "deleting", "deleted"])
async def test_a_store_that_is_deleted_is_charged_no_more(
    site: Site, owner: Caller, store: UUID, status: str
) -> None:
    await subscribe(owner, store, "starter", payment_source="tok_visa")
    if status == "none":
        assert (await owner.send("DELETE", f"/stores/{store}")).status_code == 204
        body = {"plan": "professional", "payment_source": "tok_visa"}
        refused = await owner.refused("POST", f"/stores/{store}/subscription", body)
        assert refused == (404, "not_found")
    else:
        sql = "update stores set database_status = $2, is_active = false where id = $1"
        await site.value(sql, store, status)
    with clock.stopped(clock.now() + dt.timedelta(days=32)):
        await renew_subscriptions(site.system)
    assert len(await invoices(owner, store)) == 1
    if status == "deleting":  # Which may be taken back.
        await site.value("update stores set database_status = 'none' where id = $1", store)
        with clock.stopped(clock.now() + dt.timedelta(days=32)):
            await renew_subscriptions(site.system)
        assert len(await invoices(owner, store)) == 2


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
