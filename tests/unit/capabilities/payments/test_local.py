import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
from tests.unit.capabilities.payments.provider_contract import ProviderContract

from bulkhead.capabilities.payments.delivery import ATTEMPTS_MAX, Mischief
from bulkhead.capabilities.payments.event_body import WebhookMalformed
from bulkhead.capabilities.payments.local import LocalProvider
from bulkhead.capabilities.payments.provider import (
    ChargeState,
    EventType,
    PaymentEvent,
    PaymentProvider,
    PaymentUnavailable,
    RefundState,
)
from bulkhead.capabilities.payments.signature import HEADER, sign
from bulkhead.engine.clock import now
from bulkhead.engine.errors import ConfigurationInvalid

KEY = "the harbour master"
TEN = Decimal("10.00")


@dataclass
class Shop:
    """The receiver of webhooks; it refuses the first `refusing` of them."""

    provider: LocalProvider | None = None
    refusing: int = 0
    events: list[PaymentEvent] = field(default_factory=list)

    async def receive(self, _url: str, headers: Mapping[str, str], body: bytes) -> int:
        assert self.provider is not None
        event = self.provider.verify_webhook(headers, body)
        if self.refusing:
            self.refusing -= 1
            return 503
        self.events.append(event)
        return 204

    @property
    def sequences(self) -> list[int]:
        return [event.sequence for event in self.events]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def provider(tmp_path: Path, shop: Shop) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(
        tmp_path / "payments.sqlite", KEY, "http://shop", stall_s=0, send=shop.receive
    )
    shop.provider = provider
    yield provider
    provider.close()


class TestLocalProvider(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> Iterator[PaymentProvider]:
        provider = LocalProvider(tmp_path / "payments.sqlite", KEY, stall_s=0)
        yield provider
        provider.close()


async def charge_some(provider: LocalProvider, count: int) -> None:
    for number in range(count):
        await provider.charge(f"order-{number}", TEN, "EUR", "tok_visa")


async def test_the_books_outlive_the_provider(provider: LocalProvider, shop: Shop) -> None:
    await provider.charge("order-1", TEN, "EUR", "tok_visa")
    await provider.close_key("order-2")
    again = LocalProvider(provider.path, KEY, "http://shop", send=shop.receive)
    found = await again.find_charge("order-1")
    assert found is not None
    assert (await again.charge("order-2", TEN, "EUR", "tok_visa")).code == "key_closed"
    assert await again.drain_webhooks() == 1
    again.close()


async def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid):
        LocalProvider(tmp_path / "payments.sqlite", "")


async def test_a_source_nobody_knows_is_declined(provider: LocalProvider) -> None:
    result = await provider.charge("order-1", TEN, "EUR", "4242 4242 4242 4242")
    assert (result.state, result.code) == (ChargeState.DECLINED, "source_unknown")


async def test_a_company_that_is_away_charges_nothing(provider: LocalProvider) -> None:
    with pytest.raises(PaymentUnavailable):
        await provider.charge("order-1", TEN, "EUR", "tok_unavailable")
    assert await provider.find_charge("order-1") is None


async def test_books_that_are_locked_make_the_company_unavailable(
    provider: LocalProvider,
) -> None:
    provider._ledger.connection.execute("pragma busy_timeout = 0")
    other = LocalProvider(provider.path, KEY)
    with other._ledger.writing(), pytest.raises(PaymentUnavailable):
        await provider.charge("order-1", TEN, "EUR", "tok_visa")
    other.close()


@pytest.mark.parametrize(
    ("source", "state", "kind"),
    [
        ("tok_pending", ChargeState.SUCCEEDED, EventType.PAYMENT_SUCCEEDED),
        ("tok_pending_then_failed", ChargeState.DECLINED, EventType.PAYMENT_FAILED),
    ],
)
async def test_a_pending_charge_ends_by_webhook(
    provider: LocalProvider, shop: Shop, source: str, state: ChargeState, kind: EventType
) -> None:
    assert (await provider.charge("order-1", TEN, "EUR", source)).state is ChargeState.PENDING
    pending = await provider.close_key("order-1")
    assert pending is not None, "a pending charge is not nothing"
    assert pending.state is ChargeState.PENDING
    assert await provider.drain_webhooks() == 1
    ended = await provider.find_charge("order-1")
    assert ended is not None
    assert ended.state is state
    assert [(event.type, event.charge_key) for event in shop.events] == [(kind, "order-1")]


async def test_charges_and_refunds_are_told_in_order(provider: LocalProvider, shop: Shop) -> None:
    await provider.charge("order-1", TEN, "EUR", "tok_visa")
    await provider.charge("order-2", TEN, "EUR", "tok_chargeDeclined")
    refund = await provider.refund("refund-1", "order-1", Decimal(3))
    assert refund.state is RefundState.SUCCEEDED
    assert await provider.drain_webhooks() == 3
    told = [
        (event.sequence, event.type.value, event.charge_key, event.refund_key, event.amount)
        for event in shop.events
    ]
    assert told == [
        (1, "payment.succeeded", "order-1", None, TEN),
        (2, "payment.failed", "order-2", None, TEN),
        (3, "refund.succeeded", "order-1", "refund-1", Decimal(3)),
    ]
    assert shop.events[1].code == "card_declined"
    assert await provider.drain_webhooks() == 0


async def test_an_event_that_was_not_accepted_comes_again(
    provider: LocalProvider, shop: Shop
) -> None:
    shop.refusing = 1
    await charge_some(provider, 1)
    assert await provider.drain_webhooks() == 1
    assert shop.sequences == [1]


async def test_an_event_that_is_never_accepted_is_given_up(
    provider: LocalProvider, shop: Shop
) -> None:
    shop.refusing = 10**9
    await charge_some(provider, 1)
    for _ in range(ATTEMPTS_MAX):
        await provider.drain_webhooks()
    shop.refusing = 0
    assert await provider.drain_webhooks() == 0


async def test_repeated_deliveries_carry_the_same_event(
    provider: LocalProvider, shop: Shop
) -> None:
    provider.mischief = Mischief(repeat=2)
    await charge_some(provider, 2)
    await provider.drain_webhooks()
    assert shop.sequences == [1, 1, 1, 2, 2, 2]
    assert len(Counter(event.id for event in shop.events)) == 2


async def test_a_dropped_first_delivery_is_made_up_for(provider: LocalProvider, shop: Shop) -> None:
    provider.mischief = Mischief(drop_first=True)
    await charge_some(provider, 150)
    assert await provider.drain_webhooks() == 150
    assert sorted(shop.sequences) == list(range(1, 151))


async def test_reordering_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    orders = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        shop = Shop()
        provider = LocalProvider(
            tmp_path / folder / "payments.sqlite",
            KEY,
            "http://shop",
            Mischief(reorder=True, seed=seed),
            send=shop.receive,
        )
        shop.provider = provider
        await charge_some(provider, 20)
        await provider.drain_webhooks()
        orders.append(shop.sequences)
        provider.close()
    assert orders[0] == orders[1]
    assert all(order != sorted(order) for order in orders)
    assert orders[0] != orders[2]


async def test_the_worker_delivers_by_itself(provider: LocalProvider, shop: Shop) -> None:
    arrived = asyncio.Event()

    async def receive(url: str, headers: Mapping[str, str], body: bytes) -> int:
        status = await shop.receive(url, headers, body)
        arrived.set()
        return status

    provider._deliverer.send = receive
    provider.settle_s = 0
    worker = asyncio.create_task(provider.run())
    for number, source in enumerate(
        itertools.islice(itertools.cycle(("tok_visa", "tok_pending")), 4)
    ):
        arrived.clear()
        await provider.charge(f"order-{number}", TEN, "EUR", source)
        async with asyncio.timeout(20):
            await arrived.wait()
    worker.cancel()
    await asyncio.wait([worker])
    assert shop.sequences == [1, 2, 3, 4]


BODY = {
    "id": "evt_1",
    "type": "payment.succeeded",
    "charge_key": "order-1",
    "refund_key": None,
    "amount": "10.00",
    "currency": "EUR",
    "provider_ref": "ch_1",
    "code": None,
    "created_at": "2026-01-01T00:00:00+00:00",
    "sequence": 1,
}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        '{"id": 1}',
        "[" * 100_000,
        json.dumps(BODY | {"type": "payment.stolen"}),
        json.dumps(BODY | {"amount": "NaN"}),
        json.dumps(BODY | {"amount": "ten"}),
        json.dumps(BODY | {"amount": 10}),
        json.dumps(BODY | {"sequence": "1"}),
        json.dumps(BODY | {"sequence": True}),
        json.dumps(BODY | {"created_at": "2026-01-01T00:00:00"}),
        json.dumps(BODY | {"charge_key": None}),
    ],
)
async def test_a_signed_body_that_is_no_event_is_refused(
    provider: LocalProvider, body: str
) -> None:
    headers = {HEADER: sign(KEY, body.encode(), int(now().timestamp()))}
    with pytest.raises(WebhookMalformed):
        provider.verify_webhook(headers, body.encode())


async def test_a_signed_event_is_read(provider: LocalProvider) -> None:
    body = json.dumps(BODY).encode()
    headers = {HEADER: sign(KEY, body, int(now().timestamp()))}
    event = provider.verify_webhook(headers, body)
    assert (event.id, event.amount, event.provider) == ("evt_1", TEN, "local")
