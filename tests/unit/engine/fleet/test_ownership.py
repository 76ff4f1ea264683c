"""Whose the rows of a shared database are."""

import pytest
import sqlalchemy as sa

from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.ownership import OwnerUnknown, find_ownership
from bulkhead.engine.fleet.split import OfParent, OwnColumn, Whole

META = sa.MetaData()
UNITS = sa.Table("units", META, sa.Column("id", sa.Integer, primary_key=True))
ORDERS = sa.Table("orders", META, sa.Column("id", sa.Integer, primary_key=True))
ITEMS = sa.Table(
    "items",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("gift_for", sa.ForeignKey("orders.id"), nullable=True),
    sa.Column("order_id", sa.ForeignKey("orders.id"), nullable=False),
    sa.Column("unit", sa.ForeignKey("units.id"), nullable=False),
)
NOTES = sa.Table(
    "notes",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("item_id", sa.ForeignKey("items.id"), nullable=False),
)
SHARED = {
    "units": ("id",),
    "orders": ("id", "store_id"),
    "items": ("id", "gift_for", "order_id", "unit"),
    "notes": ("id", "item_id"),
    "stores": ("id",),
}


def test_rows_without_the_column_are_whose_their_parents_are() -> None:
    found = find_ownership(META, SHARED, "store_id", whole=["units"])
    assert found == {
        "units": Whole(),
        "orders": OwnColumn("store_id"),
        "items": OfParent("order_id", "orders"),
        "notes": OfParent("item_id", "items"),
    }


def test_a_row_that_may_have_no_parent_needs_another_way() -> None:
    shared = {**SHARED, "items": ("id", "gift_for", "unit")}
    with pytest.raises(OwnerUnknown, match="items, notes"):
        find_ownership(META, shared, "store_id", whole=["units"])
    left = find_ownership(META, shared, "store_id", left=["units", "items", "notes"])
    assert left == {"orders": OwnColumn("store_id")}


def test_what_belongs_to_nobody_is_never_guessed() -> None:
    with pytest.raises(OwnerUnknown, match="units") as caught:
        find_ownership(META, SHARED, "store_id")
    assert caught.value.code == "row_owner_unknown"
    assert caught.value.advice


def test_a_table_that_the_shared_database_lacks_gets_no_rows() -> None:
    shared = {"orders": SHARED["orders"]}
    assert find_ownership(META, shared, "store_id") == {"orders": OwnColumn("store_id")}


@pytest.mark.parametrize("named", ["nothing", "stores"])
def test_a_table_that_is_not_on_both_sides_cannot_be_named(named: str) -> None:
    with pytest.raises(Invalid, match=named):
        find_ownership(META, SHARED, "store_id", whole=["units", named])


def test_a_column_that_no_table_has_is_a_mistake() -> None:
    everything = list(SHARED.keys() - {"stores"})
    with pytest.raises(Invalid, match="shop"):
        find_ownership(META, SHARED, "shop", whole=everything)
