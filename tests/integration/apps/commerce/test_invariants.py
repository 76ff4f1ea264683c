"""The shop's invariants hold after checkouts of all kinds, and notice when data is corrupted."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.integration.apps.commerce.shop import add_user, add_variant, checkout_of, wish

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.invariants import commerce_invariants
from bulkhead.apps.commerce.jobs import sweep_references
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.monitoring.standard import AT_REST, CUT, standard_invariants
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers, drain

ALL = (
    *commerce_invariants(grace_s=0),
    *standard_invariants(TOPOLOGY, saga_grace_s=0),
    CUT,
    AT_REST,
)

A_COUPON = (
    "insert into coupons (id, code, kind, value, per_user_limit, used_count)"
    " values ('11111111-1111-1111-1111-111111111111', 'ONCE', 'percent', 10, 1, 0);"
)
TWO_CLAIMS = (
    A_COUPON + "update coupons set used_count = 2;"
    " insert into coupon_usage (order_id, coupon_id, user_id, user_key, slot, state, discount)"
    " select id, '11111111-1111-1111-1111-111111111111', user_id, 'ada',"
    " row_number() over (order by id), 'used', 0 from orders limit 2"
)
A_HOLD = (
    "insert into stock_reservations (order_id, state, expires_at)"
    " values (gen_random_uuid(), 'held', now() - interval '1 minute')"
)
AN_EVENT = (
    "insert into payment_events (provider, event_id, kind, payload, received_at)"
    " values ('local', 'e1', 'payment.succeeded', '{}', now() - interval '1 minute')"
)
A_NAN = (
    "alter table product_attribute_values"
    " drop constraint product_attribute_values_number_value_check;"
    " insert into product_attributes (id, code, name, kind)"
    " values ('22222222-2222-2222-2222-222222222222', 'weight', 'Weight', 'number');"
    " insert into product_attribute_values (product_id, attribute_id, kind, number_value)"
    " select id, '22222222-2222-2222-2222-222222222222', 'number', 'NaN' from products limit 1"
)

CORRUPTIONS = [
    ("I1", "products", "update stock set on_hand = on_hand + 1"),
    ("I1", "products", "update stock set reserved = reserved + 1 where on_hand > 9"),
    ("I2", "products", "update stock_reservations set state = 'released' where state <> 'held'"),
    ("I1 I2", "products", "update stock_reservation_lines set quantity = quantity + 1"),
    ("I2", "products", A_HOLD),
    ("I3", "orders", A_COUPON + "update coupons set used_count = 1"),
    ("I3", "orders", TWO_CLAIMS),
    ("I4", "orders", "update order_items set unit_price = unit_price + 1"),
    ("I4", "orders", "update payments set refunded_amount = 1"),
    ("I4 I6", "orders", "delete from payments"),
    ("I4 I6", "orders", "update payments set amount = amount - 1"),
    ("I5", "products", A_NAN),
    ("I6", "orders", AN_EVENT),
    ("I1 I21", "products", "delete from inventory_movements where reason = 'sale'"),
    ("I18", "orders", "update order_items set product_id = gen_random_uuid()"),
]


@pytest.fixture
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """A shop at rest: orders that were paid for, declined, and refused for want of stock."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    async with servers.system(APPLICATION, settings) as system:
        plenty, scarce = await add_variant(system, stock=50), await add_variant(system, stock=1)
        for number, wanted in enumerate(
            (
                wish((plenty, 2)),
                wish((plenty, 1), (scarce, 1)),
                wish((scarce, 1)),
                wish((plenty, 3), source="tok_chargeDeclined"),
            )
        ):
            with contextlib.suppress(BulkheadError):
                await checkout_of(system).place(await add_user(system), f"key-{number}", wanted)
        await drain(system)
        yield system


async def broken(system: System) -> str:
    report = await run_invariants(system.router, ALL)
    assert not any(result.error for result in report.results), str(report)
    return " ".join(result.invariant.code for result in report.broken)


async def corrupt(system: System, database: str, sql: str) -> None:
    """Write what neither the application nor a trigger would let anybody write."""
    placement = next(p for p in system.router.placements if p.database == database)
    admin = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=5)
    try:
        await admin.execute(f"set session_replication_role = replica; {sql}")
    finally:
        await admin.close()


async def test_all_invariants_hold_of_a_shop_at_rest(shop: System) -> None:
    report = await run_invariants(shop.router, ALL)
    assert report.holds, str(report)
    assert await sweep_references(shop) == 0


@pytest.mark.parametrize(("codes", "database", "sql"), CORRUPTIONS)
async def test_corrupted_data_is_noticed(shop: System, codes: str, database: str, sql: str) -> None:
    await corrupt(shop, database, sql)
    assert await broken(shop) == codes
