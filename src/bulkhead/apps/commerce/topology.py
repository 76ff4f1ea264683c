"""The topology of the shop: its three databases, who may do what, and what links them.

The databases refer to one another in a circle: orders to products and users, and the ledger of
stock and the activity log back to orders. What points back is declared a fence, so that the
databases are deployed as users, products, orders.
"""

from pathlib import Path

from bulkhead.engine.topology import (
    Access,
    ApiExposure,
    Database,
    OnDelete,
    Reference,
    SecurityLevel,
    Table,
    Topology,
)

HERE = Path(__file__).parent

CATALOGUE = Access.of(anon="select", owner="select", stranger="select", staff="all")
SHOWN = Access.of(anon="select", owner="select", stranger="select", staff="select")
OWN = Access.of(owner="all")
OWN_READ = Access.of(owner="select")
OWN_READ_AND_STAFF = Access.of(owner="select", staff="select")
STAFF_READ = Access.of(staff="select")
BY_ORDER = "order_id>orders.user_id"


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


ADDRESS = _columns(
    "kind is_default label recipient company line1 line2 city region postal_code country phone"
)
USERS = Database(
    "users",
    (
        Table(
            "user_profiles",
            Access.of(owner="select update", staff="select"),
            owner="id",
            update_columns=_columns("full_name display_name avatar_url phone birth_on"),
        ),
        Table(
            "user_addresses",
            Access.of(owner="all", staff="select"),
            owner="user_id",
            insert_columns=ADDRESS | {"id", "user_id"},
            update_columns=ADDRESS,
        ),
        Table(
            "user_preferences",
            Access.of(owner="select update"),
            owner="user_id",
            key=("user_id",),
            update_columns=_columns("language currency theme order_mail marketing_mail settings"),
        ),
        Table("user_sessions", OWN_READ, owner="user_id"),
        Table("user_activity_logs", OWN_READ_AND_STAFF, owner="user_id"),
    ),
    HERE / "users" / "migrations",
    security=SecurityLevel.HIGH,
    api=ApiExposure(variable="USER"),
)

CATEGORY = _columns("parent_id slug name description position")
COLLECTION = _columns("slug name description image_url published_at position")
PRODUCT = _columns("slug title description brand language category_id state tax_class")
VARIANT = _columns(
    "sku title options price currency compare_at_price barcode weight_grams position archived_at"
)
IMAGE = _columns("variant_id url alt width height position")
ATTRIBUTE = _columns("code name kind unit filterable searchable position")
ATTRIBUTE_VALUE = _columns("text_value number_value boolean_value date_value")
REVIEW = _columns("author_name rating title body")
PRODUCTS = Database(
    "products",
    (
        Table(
            "products",
            CATALOGUE,
            insert_columns=PRODUCT | {"id"},
            update_columns=PRODUCT,
        ),
        Table(
            "categories",
            CATALOGUE,
            insert_columns=CATEGORY | {"id"},
            update_columns=CATEGORY,
        ),
        Table(
            "collections",
            CATALOGUE,
            insert_columns=COLLECTION | {"id"},
            update_columns=COLLECTION,
        ),
        Table(
            "collection_products",
            CATALOGUE,
            key=("collection_id", "product_id"),
            insert_columns=_columns("collection_id product_id position"),
            update_columns=_columns("position"),
        ),
        Table(
            "product_variants",
            CATALOGUE,
            insert_columns=VARIANT | {"id", "product_id"},
            update_columns=VARIANT,
        ),
        Table(
            "product_images",
            CATALOGUE,
            insert_columns=IMAGE | {"id", "product_id"},
            update_columns=IMAGE,
        ),
        Table(
            "product_attributes",
            CATALOGUE,
            insert_columns=ATTRIBUTE | {"id"},
            update_columns=ATTRIBUTE,
        ),
        Table(
            "product_attribute_values",
            CATALOGUE,
            insert_columns=ATTRIBUTE_VALUE | {"id", "product_id", "attribute_id", "kind"},
            update_columns=ATTRIBUTE_VALUE,
        ),
        Table("stock", SHOWN, key=("variant_id",)),
        Table("stock_reservations", STAFF_READ, key=("order_id",)),
        Table("stock_reservation_lines", STAFF_READ, key=("order_id", "variant_id")),
        Table("inventory_movements", STAFF_READ),
        Table(
            "product_reviews",
            Access.of(anon="select", owner="all", stranger="select", staff="select"),
            owner="user_id",
            insert_columns=REVIEW | {"id", "product_id", "user_id"},
            update_columns=REVIEW,
        ),
        Table(
            "review_votes",
            OWN,
            owner="user_id",
            key=("review_id", "user_id"),
            insert_columns=_columns("review_id user_id helpful"),
            update_columns=_columns("helpful"),
        ),
        Table("verified_purchases", OWN_READ, owner="user_id", key=("user_id", "product_id")),
        Table(
            "wishlists",
            OWN,
            owner="user_id",
            key=("user_id", "product_id"),
            insert_columns=_columns("user_id product_id note"),
            update_columns=_columns("note"),
        ),
        Table(
            "shopping_cart",
            OWN,
            owner="user_id",
            key=("user_id", "variant_id"),
            insert_columns=_columns("user_id variant_id quantity"),
            update_columns=_columns("variant_id quantity"),
        ),
        Table("product_search", SHOWN, key=("product_id",)),
        Table("search_words", key=("word",)),
    ),
    HERE / "products" / "migrations",
    extensions=("pg_trgm",),
)

COUPON = _columns(
    "code description kind value currency min_total max_discount starts_at ends_at total_limit "
    "per_user_limit disabled_at"
)
ORDERS = Database(
    "orders",
    (
        Table("orders", OWN_READ_AND_STAFF, owner="user_id"),
        Table("order_items", OWN_READ_AND_STAFF, owner=BY_ORDER, key=("order_id", "line_number")),
        Table("payments", OWN_READ_AND_STAFF, owner=BY_ORDER),
        Table(
            "payment_attempts", OWN_READ_AND_STAFF, owner=BY_ORDER, key=("order_id", "attempt_no")
        ),
        Table("payment_events", key=("provider", "event_id")),
        Table("refunds", OWN_READ_AND_STAFF, owner=BY_ORDER),
        Table("shipments", OWN_READ_AND_STAFF, owner=BY_ORDER),
        Table("shipping_events", OWN_READ_AND_STAFF, owner=BY_ORDER),
        Table(
            "coupons",
            Access.of(staff="all"),
            insert_columns=COUPON | {"id"},
            update_columns=COUPON,
        ),
        Table("coupon_usage", OWN_READ_AND_STAFF, owner="user_id", key=("order_id",)),
        Table(
            "returns",
            Access.of(owner="select insert", staff="select"),
            owner="user_id",
            insert_columns=_columns("id order_id line_number user_id quantity kind reason comment"),
        ),
        Table(
            "support_tickets",
            Access.of(owner="select insert", staff="select update"),
            owner="user_id",
            insert_columns=_columns("id user_id order_id topic subject body"),
            update_columns=_columns("priority state assigned_to"),
        ),
    ),
    HERE / "orders" / "migrations",
    security=SecurityLevel.HIGH,
)


def _to_user(source: str, on_delete: OnDelete) -> Reference:
    return Reference.declare(source, to="users.user_profiles.id", on_delete=on_delete)


def _back(source: str, to: str, where: str | None = None) -> Reference:
    return Reference.declare(source, to=to, fence=True, where=where)


TOPOLOGY = Topology(
    application="commerce",
    databases=(USERS, PRODUCTS, ORDERS),
    references=(
        # What is personal goes with the user.
        _to_user("products.shopping_cart.user_id", OnDelete.DELETE),
        _to_user("products.wishlists.user_id", OnDelete.DELETE),
        _to_user("products.product_reviews.user_id", OnDelete.DELETE),
        _to_user("products.review_votes.user_id", OnDelete.DELETE),
        _to_user("products.verified_purchases.user_id", OnDelete.DELETE),
        # Tickets stay for the shop, without saying whose they were.
        _to_user("orders.support_tickets.user_id", OnDelete.SET_NULL),
        _to_user("orders.support_tickets.assigned_to", OnDelete.SET_NULL),
        # What is history stays.
        _to_user("products.product_reviews.moderated_by", OnDelete.KEEP),
        _to_user("products.inventory_movements.actor_id", OnDelete.KEEP),
        _to_user("orders.orders.user_id", OnDelete.KEEP),
        _to_user("orders.coupon_usage.user_id", OnDelete.KEEP),
        _to_user("orders.refunds.requested_by", OnDelete.KEEP),
        _to_user("orders.returns.user_id", OnDelete.KEEP),
        Reference.declare("orders.order_items.product_id", to="products.products.id"),
        Reference.declare("orders.order_items.variant_id", to="products.product_variants.id"),
        # What points back. Stock is held before the order is known to be opened, so that only a
        # sale has to have its order.
        _back("products.stock_reservations.order_id", "orders.orders.id", "state = 'committed'"),
        _back("products.inventory_movements.order_id", "orders.orders.id"),
        _back("products.inventory_movements.return_id", "orders.returns.id"),
        _back("products.verified_purchases.order_id", "orders.orders.id"),
        _back("users.user_activity_logs.subject_id", "orders.orders.id", "subject_kind = 'order'"),
        _back(
            "users.user_activity_logs.subject_id", "orders.returns.id", "subject_kind = 'return'"
        ),
        _back(
            "users.user_activity_logs.subject_id",
            "orders.support_tickets.id",
            "subject_kind = 'ticket'",
        ),
        _back(
            "users.user_activity_logs.subject_id",
            "products.products.id",
            "subject_kind = 'product'",
        ),
        _back(
            "users.user_activity_logs.subject_id",
            "products.product_reviews.id",
            "subject_kind = 'review'",
        ),
    ),
)
