"""A catalog and a sales database: what is sold refers to products of another database."""

from pathlib import Path

from bulkhead.engine.application import Application
from bulkhead.engine.references.deletion import deletion_subscriptions
from bulkhead.engine.topology import Database, OnDelete, Reference, Table, Topology

HERE = Path(__file__).parent / "shop"

LINES = Reference.declare("sales.lines.product_id", to="catalog.products.id")
GIFTS = Reference.declare(
    "sales.gifts.product_id", to="catalog.products.id", on_delete=OnDelete.SET_NULL
)
WISHES = Reference.declare(
    "sales.wishes.product_id", to="catalog.products.id", on_delete=OnDelete.DELETE
)
CODES = Reference.declare("sales.labels.code", to="catalog.codes.id")
NUMBERS = Reference.declare(
    "sales.labels.number", to="catalog.numbers.id", on_delete=OnDelete.RESTRICT
)

TOPOLOGY = Topology(
    "shop",
    (
        Database(
            "catalog", (Table("products"), Table("codes"), Table("numbers")), HERE / "catalog"
        ),
        Database(
            "sales",
            (
                Table("lines"),
                Table("gifts", key=("shelf", "slot")),
                Table("labels"),
                Table("drafts"),
                Table("wishes"),
            ),
            HERE / "sales",
        ),
    ),
    (LINES, GIFTS, WISHES, CODES, NUMBERS),
)

SHOP = Application("shop", "Shop", TOPOLOGY, subscriptions=deletion_subscriptions(TOPOLOGY))
