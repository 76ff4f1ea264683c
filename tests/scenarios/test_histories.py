"""Random histories of a shop: whatever customers, the payment company and crashes come up with.

One seed is one history. At its end, every charge decided and every deadline passed, the books must
be right; a failing seed fails again when it is run alone.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from tests.integration.apps.commerce.shop import checkout_of
from tests.scenarios.books import verify_books
from tests.scenarios.effort import HISTORIES
from tests.scenarios.market import Market, Order, website
from tests.scenarios.points import POINTS

from bulkhead.apps.commerce.orders.checkout.model import PaymentBody
from bulkhead.capabilities.payments.delivery import Mischief
from bulkhead.capabilities.payments.local import SOURCES
from bulkhead.engine import failpoints
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.system import System, build_system
from bulkhead.engine.testing import drain, expire_leases, pass_deadlines

EVENTS = 30
COUPON = (
    "insert into coupons (code, kind, value, total_limit, per_user_limit)"
    " values ($1, 'percent', 10, 3, 1)"
)
DUE = "update refunds set created_at = 'epoch' where state = 'requested'"
OVERDUE = "update orders set deadline_at = 'epoch' where state = 'pending'"
FORGOTTEN = "update stock_reservations set expires_at = 'epoch' where state = 'held'"


class History:
    """One history; it owns the process of the moment."""

    def __init__(self, market: Market, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.first = market
        self.market = market
        self.orders: list[Order] = []
        self.told: list[str] = []

    async def run(self) -> None:
        coupon = f"H{self.rng.randrange(10**9)}"
        await self.market.run(
            "orders",
            "insert into coupons (code, kind, value, total_limit,"
            " per_user_limit) values ($1, 'percent', 10, 3, 1)",
            coupon,
        )
        variants = [await self.market.variant(stock=4) for _ in range(2)]
        customers = [await self.market.customer() for _ in range(3)]
        for _ in range(4):
            wished = {"coupon_code": coupon} if self.rng.random() < 0.5 else {}
            self.orders.append(
                Order(
                    self.rng.choice(customers),
                    self.rng.choice(variants),
                    self.rng.choice(sorted(SOURCES)),
                    wished,
                    key=f"key-{self.rng.randrange(3)}",
                    quantity=self.rng.randint(1, 2),
                )
            )
        for _ in range(EVENTS):
            await self.happen(self.rng.choice(THINGS))
        await self.end()

    async def happen(self, thing: Thing) -> None:
        """Let one thing happen; one in four times, the process dies of it."""
        order = self.rng.choice(self.orders)
        dies_at = self.rng.choice(POINTS) if self.rng.random() < 0.25 else None
        if dies_at is not None:
            failpoints.arm(dies_at)
        try:
            await thing(self, order)
        except (FailpointReached, BaseExceptionGroup) as error:
            self.told.append(f"{thing.__name__}: died at {dies_at}")
            if not isinstance(error, FailpointReached) and error.split(FailpointReached)[1]:
                raise
            await self.restart()
        except BulkheadError as error:
            self.told.append(f"{thing.__name__}: {error.code}")
        else:
            self.told.append(thing.__name__)
        finally:
            failpoints.disarm()

    async def place(self, order: Order) -> None:
        await self.market.place(order)

    async def place_something_else_with_its_key(self, order: Order) -> None:
        await self.market.place(replace(order, quantity=3 - order.quantity))

    async def pay(self, order: Order) -> None:
        body = PaymentBody(payment_source=self.rng.choice(sorted(SOURCES)))
        key = f"pay-{self.rng.randrange(3)}"
        await checkout_of(self.market.system).pay(order.claims, key, order.id, body)

    async def cancel(self, order: Order) -> None:
        await checkout_of(self.market.system).cancel(order.claims, order.id, "changed my mind")

    async def hear(self, _: Order) -> None:
        self.market.provider.mischief = Mischief(
            repeat=self.rng.randrange(2), reorder=True, seed=self.rng.randrange(100)
        )
        async with website(self.market.system):
            await self.market.provider.drain_webhooks()

    async def decide(self, _: Order) -> None:
        self.market.settle_charges()

    async def deliver(self, _: Order) -> None:
        await drain(self.market.system)

    async def take_over(self, _: Order) -> None:
        await self.market.system.sagas.drain()
        await expire_leases(self.market.system)
        await drain(self.market.system)

    async def wait_for_long(self, _: Order) -> None:
        await self.market.system.sagas.drain()
        await pass_deadlines(self.market.system)
        await self.market.run("orders", OVERDUE)
        await self.market.run("products", FORGOTTEN)
        await self.market.run("orders", DUE)
        await self.market.do_jobs()
        await drain(self.market.system)

    async def restart(self) -> None:
        """The next process, as soon as the leases of the dead one have run out."""
        failpoints.disarm()
        old = self.market.system
        await old.sagas.drain()
        await expire_leases(old)
        self.market = Market(build_system(old.application, old.settings, old.router.placements))
        await self.close(old)

    async def close(self, system: System) -> None:
        if system is not self.first.system:
            await system.close()

    async def end(self) -> None:
        await self.restart()
        self.market.provider.mischief = Mischief()
        self.market.settle_charges()
        async with website(self.market.system):
            await self.market.provider.drain_webhooks()
        await self.market.settle_down()
        await self.market.run("orders", OVERDUE)
        await self.market.run("orders", DUE)
        await self.market.settle_down()
        try:
            await verify_books(self.market)
        except AssertionError as error:
            error.add_note("\n".join(self.told))
            raise
        finally:
            await self.close(self.market.system)


Thing = Callable[[History, Order], Awaitable[None]]
THINGS: Sequence[Thing] = (
    *[History.place] * 4,
    History.place_something_else_with_its_key,
    *[History.pay] * 3,
    History.cancel,
    *[History.hear] * 2,
    History.decide,
    *[History.deliver] * 2,
    *[History.take_over] * 2,
    History.wait_for_long,
)


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_whatever_happens_the_books_are_right_in_the_end(market: Market, seed: int) -> None:
    await History(market, seed).run()
