"""The shop as the architecture document of AVNERA describes it."""

import pytest

from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.topology import Actor, OnDelete, Table, Verb

SEED = {
    "users": "user_profiles user_addresses user_preferences user_sessions user_activity_logs",
    "orders": (
        "orders order_items payments payment_attempts refunds shipments shipping_events coupons "
        "coupon_usage returns support_tickets"
    ),
    "products": (
        "products categories collections product_variants product_images product_attributes "
        "product_attribute_values inventory_movements product_reviews review_votes wishlists "
        "shopping_cart product_search"
    ),
}
TABLES = [table for database in TOPOLOGY.databases for table in database.tables]
WRITES = (Verb.INSERT, Verb.UPDATE, Verb.DELETE)


def test_the_databases_are_deployed_users_first_and_orders_last() -> None:
    order = [database.name for database in TOPOLOGY.deploy_order]
    assert order == ["users", "products", "orders"]


def test_all_29_tables_of_the_seed_live_where_it_says() -> None:
    expected = {table: name for name, tables in SEED.items() for table in tables.split()}
    assert len(expected) == 29
    assert {table: TOPOLOGY.home(table).name for table in expected} == expected


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_nobody_writes_without_signing_in_and_nobody_writes_for_others(table: Table) -> None:
    for verb in WRITES:
        assert not table.access.allows(Actor.ANON, verb)
        assert not table.access.allows(Actor.STRANGER, verb)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_that_clients_write_names_the_columns_they_may_set(table: Table) -> None:
    def is_written(verb: Verb) -> bool:
        return any(table.access.allows(actor, verb) for actor in (Actor.OWNER, Actor.STAFF))

    assert (table.insert_columns is not None) == is_written(Verb.INSERT)
    assert (table.update_columns is not None) == is_written(Verb.UPDATE)


@pytest.mark.parametrize(
    "name", ["stock", "inventory_movements", "orders", "order_items", "payments", "refunds"]
)
def test_no_client_writes_stock_orders_or_money(name: str) -> None:
    table = TOPOLOGY.home(name).table(name)
    assert table is not None
    for actor in (Actor.OWNER, Actor.STAFF):
        assert not any(table.access.allows(actor, verb) for verb in WRITES)


def test_orders_outlive_their_user_and_carts_do_not() -> None:
    fates = {
        str(reference.source): reference.on_delete for reference in TOPOLOGY.references_to("users")
    }
    assert fates["orders.orders.user_id"] is OnDelete.KEEP
    assert fates["products.shopping_cart.user_id"] is OnDelete.DELETE
    assert fates["orders.support_tickets.user_id"] is OnDelete.SET_NULL


def test_what_points_back_to_orders_is_a_fence() -> None:
    back = TOPOLOGY.references_to("orders")
    assert {reference.source.database for reference in back} == {"users", "products"}
    assert all(reference.fence for reference in back)
