from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.errors import TopologyInvalid
from bulkhead.engine.topology import (
    ApiExposure,
    Database,
    OnDelete,
    Reference,
    Table,
    Topology,
)

HERE = Path()


def database(name: str, *tables: str) -> Database:
    return Database(name, tuple(Table(table) for table in tables), HERE)


USERS = database("users", "profiles")
PRODUCTS = database("products", "products")
ORDERS = database("orders", "orders", "lines")
BUYER = Reference.declare("orders.orders.user_id", to="users.profiles.id")
PRODUCT = Reference.declare("orders.lines.product_id", to="products.products.id")
FAVOURITE = Reference.declare("users.profiles.order_id", to="orders.orders.id")


def shop(*databases: Database, references: tuple[Reference, ...] = ()) -> Topology:
    return Topology("shop", databases, references)


def test_databases_and_the_homes_of_tables_are_found() -> None:
    topology = shop(USERS, PRODUCTS, ORDERS)
    assert topology.database("orders") is ORDERS
    assert topology.home("lines") is ORDERS
    assert ORDERS.table("lines") == Table("lines")
    assert ORDERS.table("profiles") is None


def test_what_is_not_declared_is_named() -> None:
    topology = shop(USERS, ORDERS)
    with pytest.raises(TopologyInvalid, match="no database 'payments'; declared are users, orders"):
        topology.database("payments")
    with pytest.raises(TopologyInvalid, match="no table 'carts'"):
        topology.home("carts")


@pytest.mark.parametrize("order", list(permutations([USERS, PRODUCTS, ORDERS])))
def test_a_database_is_deployed_after_those_it_refers_to(order: tuple[Database, ...]) -> None:
    deployed = shop(*order, references=(BUYER, PRODUCT)).deploy_order
    assert deployed[-1] is ORDERS
    assert list(deployed[:2]) == [database for database in order if database is not ORDERS]


def test_references_are_found_from_both_ends() -> None:
    topology = shop(USERS, PRODUCTS, ORDERS, references=(BUYER, PRODUCT))
    assert topology.references_from("orders") == (BUYER, PRODUCT)
    assert topology.references_to("products") == (PRODUCT,)
    assert topology.references_from("users") == ()


@pytest.mark.parametrize(
    ("databases", "reason"),
    [
        ((USERS, database("users", "others")), "database declared twice: users"),
        ((USERS, database("others", "profiles")), "table declared twice: profiles"),
        ((database("Users"),), "'Users' is not a lower-case identifier"),
        ((database("user-data"),), "'user-data' is not a lower-case identifier"),
    ],
)
def test_names_are_unique_identifiers(databases: tuple[Database, ...], reason: str) -> None:
    with pytest.raises(TopologyInvalid, match=reason):
        shop(*databases)


@pytest.mark.parametrize(
    ("source", "to", "reason"),
    [
        ("orders.carts.user_id", "users.profiles.id", "no table 'carts' in 'orders'"),
        ("orders.orders.user_id", "users.people.id", "no table 'people' in 'users'"),
        ("orders.orders.user_id", "payments.cards.id", "no database 'payments'"),
        ("orders.lines.order_id", "orders.orders.id", "stays inside one database"),
        ("orders.orders.email", "users.profiles.email", "does not point at the key"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(source: str, to: str, reason: str) -> None:
    with pytest.raises(TopologyInvalid, match=reason):
        shop(USERS, PRODUCTS, ORDERS, references=(Reference.declare(source, to=to),))


def test_a_cycle_is_refused_unless_one_of_its_references_is_a_fence() -> None:
    with pytest.raises(TopologyInvalid, match="form a cycle"):
        shop(USERS, ORDERS, references=(BUYER, FAVOURITE))
    fence = Reference.declare("users.profiles.order_id", to="orders.orders.id", fence=True)
    assert shop(ORDERS, USERS, references=(BUYER, fence)).deploy_order == (USERS, ORDERS)


def test_a_part_of_a_key_cannot_be_set_null() -> None:
    table = Table("gifts", key=("user_id", "slot"))
    gifts = Database("gifts", (table,), HERE)
    reference = Reference.declare(
        "gifts.gifts.user_id", to="users.profiles.id", on_delete=OnDelete.SET_NULL
    )
    with pytest.raises(TopologyInvalid, match="cannot be set null"):
        shop(USERS, gifts, references=(reference,))


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_deploying_in_order_never_meets_a_missing_target(pairs: set[tuple[int, int]]) -> None:
    # Edges that point from the larger to the smaller number cannot form a cycle.
    edges = {(max(pair), min(pair)) for pair in pairs if pair[0] != pair[1]}
    databases = [database(f"d{number}", f"t{number}") for number in range(7)]
    references = tuple(
        Reference.declare(f"d{source}.t{source}.t{target}_id", to=f"d{target}.t{target}.id")
        for source, target in sorted(edges)
    )
    order = [db.name for db in shop(*reversed(databases), references=references).deploy_order]
    assert sorted(order) == [f"d{number}" for number in range(7)]
    assert all(order.index(f"d{target}") < order.index(f"d{source}") for source, target in edges)


@pytest.mark.parametrize(
    ("exposure", "reason"),
    [
        (ApiExposure(schemas=()), "exposes no schema"),
        (ApiExposure(schemas=("public", "auth")), "exposes schema 'auth'"),
        (ApiExposure(schemas=("bulkhead",)), "exposes schema 'bulkhead'"),
        (ApiExposure(schemas=("pg_catalog",)), "exposes schema 'pg_catalog'"),
        (ApiExposure(variable="a b"), "'a b' cannot stand in the name of a variable"),
        (ApiExposure(variable="ORDERS"), "variable declared twice: ORDERS"),
    ],
)
def test_what_an_api_may_not_expose_or_be_called_is_refused(
    exposure: ApiExposure, reason: str
) -> None:
    with pytest.raises(TopologyInvalid, match=reason):
        shop(Database("users", (), HERE, api=exposure), ORDERS)


def test_a_database_that_is_not_exposed_may_be_called_anything() -> None:
    hidden = Database("users", (), HERE, api=ApiExposure(enabled=False, variable="ORDERS"))
    assert shop(hidden, ORDERS).databases[0].variable == "ORDERS"


def test_the_limits_of_an_api_are_those_of_supabase_unless_declared_otherwise() -> None:
    exposure = ApiExposure(service_timeout_s=0)
    assert exposure.timeouts_s == {"anon": 3.0, "authenticated": 8.0, "service_role": 0}
    assert (exposure.schemas, exposure.rows_max) == (("public",), 1000)
