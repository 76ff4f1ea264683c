import pytest

from bulkhead.engine.topology import Column, OnDelete, Reference


def test_a_column_is_written_as_it_is_read() -> None:
    column = Column.parse("orders.order_items.product_id")
    assert column == Column("orders", "order_items", "product_id")
    assert str(column) == "orders.order_items.product_id"


@pytest.mark.parametrize(
    "text", ["", "orders", "orders.items", "a.b.c.d", "a..c", "a.b.c;drop", "a.b.1c", "a.b c.d"]
)
def test_a_column_has_three_identifiers(text: str) -> None:
    with pytest.raises(ValueError, match=r"database\.table\.column"):
        Column.parse(text)


def test_a_reference_has_a_stable_name_and_keeps_by_default() -> None:
    reference = Reference.declare("orders.items.product_id", to="products.products.id")
    assert reference.name == "orders.items.product_id->products.products.id"
    assert reference.on_delete is OnDelete.KEEP
    assert not reference.fence
    assert reference.where is None
