"""What the payment company tells may come early, late, often, in any order, or be forged."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.integration.apps.commerce.shop import checkout_of
from tests.scenarios.books import facts, kept, verify_books
from tests.scenarios.market import Market, Order, website

from bulkhead.capabilities.payments.delivery import Mischief
from bulkhead.capabilities.payments.event_body import render_event
from bulkhead.capabilities.payments.provider import EventType, PaymentEvent
from bulkhead.capabilities.payments.signature import HEADER, sign
from bulkhead.engine import failpoints
from bulkhead.engine.clock import now
from bulkhead.engine.failpoints import Mode
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import drain, expire_leases

HOOK = "/commerce/webhooks/payments"


@pytest.fixture(scope="module")
async def site(market: Market) -> AsyncIterator[httpx.AsyncClient]:
    async with website(market.system) as http:
        yield http


def payment(order: Order, kind: EventType = EventType.PAYMENT_SUCCEEDED) -> PaymentEvent:
    """What the company would tell of the first attempt to pay for `order`."""
    return PaymentEvent(
        id=f"evt_{new_id().hex}",
        provider="local",
        type=kind,
        charge_key=f"{order.id}-1",
        amount=order.total,
        currency="GBP",
        provider_ref=f"ch_{order.id.hex}",
        created_at=now(),
        sequence=1,
        code="card_declined" if kind is EventType.PAYMENT_FAILED else None,
    )


async def tell(market: Market, site: httpx.AsyncClient, event: PaymentEvent, **more: str) -> str:
    """Deliver an event as the company does; answer with its outcome or the refusal's code."""
    body = render_event(event).encode()
    at_s = int(now().timestamp())
    headers = {"content-type": "application/json", HEADER: sign(market.provider.secret, body, at_s)}
    return await send(site, headers | more, body)


async def send(site: httpx.AsyncClient, headers: Mapping[str, str], body: bytes) -> str:
    answer = await site.post(HOOK, headers=dict(headers), content=body)
    found: dict[str, Any] = answer.json()
    assert (answer.status_code == 200) == ("outcome" in found), answer.text
    return str(found.get("outcome") or found["code"])


async def waiting(market: Market) -> Order:
    """An order whose charge the company has not decided about."""
    order = await market.order(source="tok_pending")
    assert await market.told(order) == "saga_pending"
    return order


async def end_of_day(market: Market) -> None:
    market.settle_charges()
    await expire_leases(market.system)
    await drain(market.system)
    await market.run("orders", "update orders set deadline_at = 'epoch' where state = 'pending'")
    await market.settle_down()
    await verify_books(market)


async def test_a_webhook_before_the_reply_confirms_the_order_once(
    market: Market, site: httpx.AsyncClient
) -> None:
    order = await market.order()
    charged, point = asyncio.Event(), "saga.place_order.charge.after"
    failpoints.observe(lambda name: charged.set() if name == point else None)
    failpoints.arm(point, Mode.STALL)
    placing = asyncio.create_task(market.place(order))
    await charged.wait()
    failpoints.observe(None)
    await market.provider.drain_webhooks()
    assert await market.state(order) == "confirmed"
    failpoints.disarm(point)
    assert (await placing)["state"] == "confirmed"
    await end_of_day(market)


@pytest.mark.parametrize(
    "mischief",
    [
        Mischief(repeat=2),
        Mischief(reorder=True, seed=7),
        Mischief(drop_first=True),
        Mischief(repeat=1, reorder=True, drop_first=True, seed=11),
    ],
)
async def test_webhooks_take_effect_once_however_they_arrive(
    market: Market, site: httpx.AsyncClient, mischief: Mischief
) -> None:
    paid = [await market.order() for _ in range(3)]
    late = [await waiting(market) for _ in range(2)]
    for order in paid:
        await market.place(order)
    await checkout_of(market.system).cancel(paid[0].claims, paid[0].id, "changed my mind")
    market.provider.mischief = mischief
    await market.provider.drain_webhooks()
    market.provider.mischief = Mischief()
    assert [await market.state(order) for order in [*paid, *late]] == [
        "cancelled", *["confirmed"] * 4
    ]  # fmt: skip
    await end_of_day(market)


async def test_replaying_every_webhook_changes_nothing(
    market: Market, site: httpx.AsyncClient
) -> None:
    order = await waiting(market)
    await market.provider.drain_webhooks()
    await end_of_day(market)
    before = await facts(market)
    market.provider._ledger.connection.execute("update events set delivered_at = null")
    assert await market.provider.drain_webhooks() > 0
    await drain(market.system)
    assert await facts(market) == before
    assert await market.state(order) == "confirmed"


@pytest.mark.parametrize(
    ("source", "kind", "end"),
    [
        ("tok_pending", EventType.PAYMENT_SUCCEEDED, ("confirmed", "succeeded")),
        ("tok_pending_then_failed", EventType.PAYMENT_FAILED, ("pending", "declined")),
    ],
)
async def test_any_order_of_what_is_heard_and_asked_leads_to_the_same_end(
    market: Market,
    site: httpx.AsyncClient,
    source: str,
    kind: EventType,
    end: tuple[str, str],
) -> None:
    for order_of_things in itertools.permutations(("told", "told again", "refund", "asked")):
        order = await market.order(source=source)
        await market.told(order)
        event = payment(order, kind)
        refund = replace(event, type=EventType.REFUND_SUCCEEDED, refund_key=str(new_id()))
        for thing in order_of_things:
            if thing == "asked":
                market.settle_charges()
                await expire_leases(market.system)
                await drain(market.system)
            else:
                await tell(market, site, refund if thing == "refund" else event)
        assert (await market.state(order), await attempt(market, order)) == end, order_of_things
    await end_of_day(market)


async def attempt(market: Market, order: Order) -> str:
    sql = "select state from payment_attempts where order_id = $1"
    return str(await market.run("orders", sql, order.id))


async def test_an_event_of_nobody_s_order_is_noted_and_changes_nothing(
    market: Market, site: httpx.AsyncClient
) -> None:
    order = await waiting(market)
    for key in (f"{new_id()}-1", f"{order.id}-2", f"{order.id}-99", "not a key of ours"):
        event = replace(payment(order), charge_key=key)
        assert await tell(market, site, event) == "unmatched"
        assert await tell(market, site, event) == "duplicate"
    assert await market.state(order) == "pending"
    await end_of_day(market)


async def test_an_event_about_another_amount_confirms_nothing_and_calls_a_human(
    market: Market, site: httpx.AsyncClient
) -> None:
    order = await waiting(market)
    wrong = replace(payment(order), amount=order.total + Decimal(1))
    assert await tell(market, site, wrong) == "settled"
    assert (await market.state(order), await attempt(market, order)) == ("pending", "mismatch")
    tickets = "select count(*) from support_tickets where order_id = $1 and priority = 'high'"
    assert await market.run("orders", tickets, order.id) == 1
    # What the company did charge, as far as it knows of it at all, is given back by hand.
    market.settle_charges()
    await market.provider.refund(f"{order.id}-by-hand", f"{order.id}-1", order.total)
    await end_of_day(market)
    assert await market.state(order) == "cancelled"


@pytest.mark.parametrize("forgery", ["none", "empty", "other secret", "other body", "old", "twice"])
async def test_a_forged_webhook_changes_nothing(
    market: Market, site: httpx.AsyncClient, forgery: str
) -> None:
    order = await waiting(market)
    event = payment(order)
    body = render_event(event).encode()
    at_s, secret = int(now().timestamp()), market.provider.secret
    forged = {
        "none": None,
        "empty": "",
        "other secret": sign("guessed", body, at_s),
        "other body": sign(secret, body + b" ", at_s),
        "old": sign(secret, body, at_s - 301),
        "twice": f"t={at_s},t={at_s},v1=0",
    }[forgery]
    headers = {"content-type": "application/json"} | ({} if forged is None else {HEADER: forged})
    assert (await send(site, headers, body)).startswith("webhook_")
    assert await market.state(order) == "pending"
    noted = "select count(*) from payment_events where event_id = $1"
    assert await market.run("orders", noted, event.id) == 0
    await end_of_day(market)


async def test_a_webhook_that_is_signed_but_makes_no_sense_is_refused(
    market: Market, site: httpx.AsyncClient
) -> None:
    at_s = int(now().timestamp())
    for content in (b"", b"[]", b"{}", json.dumps({"id": 1}).encode(), b"\xff"):
        headers = {HEADER: sign(market.provider.secret, content, at_s)}
        assert await send(site, {"content-type": "application/json"} | headers, content) != ""
    assert sum(kept(market).values()) >= 0
