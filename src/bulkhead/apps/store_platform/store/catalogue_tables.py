"""What a store sells: products in categories, with attributes, prices and stock."""

import sqlalchemy as sa

from bulkhead.apps.store_platform.store.access import shown, shown_with
from bulkhead.apps.store_platform.store.columns import (
    METADATA,
    SLUG,
    alone,
    count,
    created_at,
    currency,
    currency_form,
    flag,
    id_column,
    matches,
    money,
    not_empty,
    not_negative,
    one_of,
    reference,
    text,
    updated_at,
)
from bulkhead.engine.extract.portable import Id, Instant, document, long_text, utc_now

CATEGORIES = sa.Table(
    "categories",
    METADATA,
    id_column(),
    reference("parent_id", "categories", on_delete="restrict", nullable=True, index=True),
    text("slug", 150, unique=True),
    text("name", 200),
    text("description", 2000, server_default=""),
    count("position"),
    flag("is_active", default=True),
    created_at(),
    updated_at(),
    matches("slug", SLUG),
    not_empty("name"),
    comment="The tree in which customers look for products.",
    info=shown("is_active"),
)

ATTRIBUTES = sa.Table(
    "attributes",
    METADATA,
    id_column(),
    text("code", 60, unique=True),
    text("name", 100),
    text("kind", 20),
    text("unit", 20, nullable=True),
    flag("is_filterable", default=True),
    count("position"),
    created_at(),
    updated_at(),
    sa.UniqueConstraint("id", "kind"),
    matches("code", "^[a-z][a-z0-9_]*$"),
    not_empty("name"),
    one_of("kind", "text", "number", "boolean", "date"),
    comment="What can be said of products, and of which type it is.",
    info=shown("true"),
)

ATTRIBUTE_OPTIONS = sa.Table(
    "attribute_options",
    METADATA,
    id_column(),
    reference("attribute_id", "attributes", on_delete="cascade"),
    text("value", 200),
    count("position"),
    created_at(),
    sa.UniqueConstraint("attribute_id", "value"),
    not_empty("value"),
    comment="What one may choose from where an attribute offers a choice.",
    info=shown("true"),
)

PRODUCTS = sa.Table(
    "products",
    METADATA,
    id_column(),
    reference("variant_of", "products", on_delete="cascade", nullable=True, index=True),
    text("sku", 100, unique=True),
    text("slug", 150, unique=True),
    text("name", 300),
    sa.Column("description", long_text(), nullable=False, server_default=""),
    text("brand", 200, nullable=True, index=True),
    text("barcode", 50, nullable=True, index=True),
    text("tax_class", 60, server_default="standard"),
    sa.Column("options", document(), nullable=False, server_default="{}"),
    sa.Column("weight_grams", sa.Integer(), nullable=True),
    flag("is_active", default=True),
    sa.Column("published_at", Instant(), nullable=True),
    created_at(),
    updated_at(),
    not_empty("sku"),
    matches("slug", SLUG),
    not_empty("name"),
    sa.CheckConstraint("weight_grams >= 0", name="weight_grams", info=alone("weight_grams", ge=0)),
    sa.CheckConstraint("variant_of <> id", name="variant_of_another"),
    sa.Index(None, "is_active", "created_at", "id"),
    comment="What is sold; a variant is a product that belongs to another.",
    info=shown("is_active"),
)
PRODUCTS.c.options.comment = "Of a variant, what distinguishes it, such as its size and colour."

PRODUCT_CATEGORIES = sa.Table(
    "product_categories",
    METADATA,
    reference("product_id", "products", on_delete="cascade", primary_key=True),
    reference("category_id", "categories", on_delete="cascade", primary_key=True),
    count("position"),
    created_at(),
    sa.Index(None, "category_id", "position"),
    comment="Which products stand in a category, in which order.",
    info=shown_with("product_categories", "product_id", "products"),
)

PRODUCT_ATTRIBUTES = sa.Table(
    "product_attributes",
    METADATA,
    reference("product_id", "products", on_delete="cascade", primary_key=True),
    sa.Column("attribute_id", Id(), primary_key=True),
    sa.Column("position", sa.Integer(), primary_key=True, server_default="0", autoincrement=False),
    text("kind", 20),
    text("text_value", 500, nullable=True),
    sa.Column("number_value", sa.Numeric(18, 6), nullable=True),
    sa.Column("boolean_value", sa.Boolean(), nullable=True),
    sa.Column("date_value", sa.Date(), nullable=True),
    created_at(),
    sa.ForeignKeyConstraint(
        ["attribute_id", "kind"], ["attributes.id", "attributes.kind"], ondelete="cascade"
    ),
    sa.CheckConstraint("(text_value is not null) = (kind = 'text')", name="text_value"),
    sa.CheckConstraint("(number_value is not null) = (kind = 'number')", name="number_value"),
    sa.CheckConstraint("(boolean_value is not null) = (kind = 'boolean')", name="boolean_value"),
    sa.CheckConstraint("(date_value is not null) = (kind = 'date')", name="date_value"),
    sa.CheckConstraint(
        "number_value between -999999999999.999999 and 999999999999.999999", name="number_limits"
    ),
    sa.Index(None, "attribute_id", "kind"),
    sa.Index("product_attributes_text_idx", "attribute_id", "text_value"),
    sa.Index("product_attributes_number_idx", "attribute_id", "number_value"),
    comment="What is said of a product: one typed value in each row.",
    info=shown_with("product_attributes", "product_id", "products"),
)

PRICES = sa.Table(
    "prices",
    METADATA,
    id_column(),
    reference("product_id", "products", on_delete="cascade"),
    currency(),
    money("amount"),
    money("compare_at_amount", nullable=True),
    count("min_quantity", 1),
    sa.Column("valid_from", Instant(), nullable=False, server_default=utc_now()),
    sa.Column("valid_until", Instant(), nullable=True),
    created_at(),
    updated_at(),
    sa.UniqueConstraint("product_id", "currency", "min_quantity", "valid_from", name="prices_once"),
    currency_form(),
    not_negative("amount"),
    not_negative("compare_at_amount"),
    sa.CheckConstraint("compare_at_amount > amount", name="compare_at_more"),
    sa.CheckConstraint("min_quantity > 0", name="min_quantity", info=alone("min_quantity", ge=1)),
    sa.CheckConstraint("valid_until > valid_from", name="validity"),
    comment="What a product costs, by currency, quantity and time.",
    info=shown_with("prices", "product_id", "products"),
)

INVENTORY = sa.Table(
    "inventory",
    METADATA,
    reference("product_id", "products", on_delete="cascade", primary_key=True),
    text("location", 60, primary_key=True, server_default="main"),
    count("on_hand"),
    count("reserved"),
    count("reorder_point"),
    updated_at(),
    not_empty("location"),
    sa.CheckConstraint("reserved between 0 and on_hand", name="reserved"),
    sa.CheckConstraint("reorder_point >= 0", name="reorder_point"),
    comment="How many of a product are where, and how many of them are promised.",
)

INVENTORY_MOVEMENTS = sa.Table(
    "inventory_movements",
    METADATA,
    id_column(),
    sa.Column("product_id", Id(), nullable=False),
    text("location", 60),
    sa.Column("quantity", sa.Integer(), nullable=False),
    text("kind", 20),
    reference("order_id", "orders", on_delete="set null", nullable=True, index=True),
    text("note", 500, nullable=True),
    created_at(),
    sa.ForeignKeyConstraint(
        ["product_id", "location"],
        ["inventory.product_id", "inventory.location"],
        ondelete="cascade",
    ),
    one_of("kind", "receipt", "sale", "return", "correction"),
    sa.CheckConstraint("quantity <> 0", name="quantity"),
    sa.Index(None, "product_id", "location", "created_at"),
    comment="Why the stock is what it is: its sum is what is on hand.",
)
