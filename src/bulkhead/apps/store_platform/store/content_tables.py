"""What a store shows besides products: pages, pictures, what search engines read, settings."""

import sqlalchemy as sa

from bulkhead.apps.store_platform.store.access import shown, shown_with
from bulkhead.apps.store_platform.store.columns import (
    METADATA,
    SLUG,
    alone,
    count,
    created_at,
    flag,
    id_column,
    matches,
    not_empty,
    one_of,
    reference,
    text,
    updated_at,
)
from bulkhead.engine.extract.portable import Id, Instant, document, long_text

IDENTITY = sa.Table(
    "_identity",
    METADATA,
    sa.Column("tenant_id", Id(), primary_key=True),
    sa.Column("singleton", sa.Boolean(), nullable=False, server_default=sa.true(), unique=True),
    created_at(),
    sa.CheckConstraint("singleton = true", name="singleton"),
    comment="Whose database this is: one row, looked at before a connection is used.",
)

MEDIA_LIBRARY = sa.Table(
    "media_library",
    METADATA,
    id_column(),
    text("storage_key", 500, unique=True),
    text("file_name", 255),
    text("content_type", 127),
    sa.Column("size_bytes", sa.BigInteger(), nullable=False),
    text("sha256", 64, nullable=True),
    sa.Column("width", sa.Integer(), nullable=True),
    sa.Column("height", sa.Integer(), nullable=True),
    text("alt", 500, server_default=""),
    flag("is_public", default=True),
    created_at(),
    updated_at(),
    not_empty("storage_key"),
    not_empty("file_name"),
    matches("content_type", "^[a-z]+/[a-zA-Z0-9.+-]+$"),
    matches("sha256", "^[0-9a-f]{64}$"),
    sa.CheckConstraint("size_bytes >= 0", name="size_bytes"),
    sa.CheckConstraint("width > 0", name="width"),
    sa.CheckConstraint("height > 0", name="height"),
    sa.Index(None, "created_at", "id"),
    comment="Files in the store's storage.",
    info=shown("is_public"),
)
MEDIA_LIBRARY.c.storage_key.comment = "What the file is called in the storage of the store."

PRODUCT_MEDIA = sa.Table(
    "product_media",
    METADATA,
    reference("product_id", "products", on_delete="cascade", primary_key=True),
    reference("media_id", "media_library", on_delete="cascade", primary_key=True, index=True),
    count("position"),
    created_at(),
    comment="The pictures of a product, in their order.",
    info=shown_with("product_media", "product_id", "products"),
)

CMS_PAGES = sa.Table(
    "cms_pages",
    METADATA,
    id_column(),
    text("slug", 150, unique=True),
    text("title", 300),
    sa.Column("body", long_text(), nullable=False, server_default=""),
    text("template", 60, server_default="page"),
    count("position"),
    sa.Column("published_at", Instant(), nullable=True),
    created_at(),
    updated_at(),
    matches("slug", SLUG),
    not_empty("title"),
    not_empty("template"),
    comment="Pages that the store writes itself; published from published_at on.",
    info=shown("published_at <= now()"),
)

SEO_SETTINGS = sa.Table(
    "seo_settings",
    METADATA,
    id_column(),
    text("subject_kind", 20),
    sa.Column("store_wide", sa.Integer(), nullable=True, unique=True),
    reference("product_id", "products", on_delete="cascade", nullable=True, unique=True),
    reference("category_id", "categories", on_delete="cascade", nullable=True, unique=True),
    reference("page_id", "cms_pages", on_delete="cascade", nullable=True, unique=True),
    text("meta_title", 200, nullable=True),
    text("meta_description", 500, nullable=True),
    text("canonical_url", 2000, nullable=True),
    text("robots", 100, server_default="index,follow"),
    reference("image_id", "media_library", on_delete="set null", nullable=True, index=True),
    sa.Column("structured", document(), nullable=True),
    created_at(),
    updated_at(),
    one_of("subject_kind", "store", "product", "category", "page"),
    sa.CheckConstraint("(store_wide is not null) = (subject_kind = 'store')", name="of_store"),
    sa.CheckConstraint("store_wide = 1", name="store_wide", info=alone("store_wide", ge=1, le=1)),
    sa.CheckConstraint("(product_id is not null) = (subject_kind = 'product')", name="of_product"),
    sa.CheckConstraint(
        "(category_id is not null) = (subject_kind = 'category')", name="of_category"
    ),
    sa.CheckConstraint("(page_id is not null) = (subject_kind = 'page')", name="of_page"),
    comment="What search engines read about the store, a product, a category or a page.",
    info=shown("true"),
)
SEO_SETTINGS.c.store_wide.comment = "1 in the one row that is about the whole store."

SETTINGS = sa.Table(
    "settings",
    METADATA,
    text("name", 100, primary_key=True),
    sa.Column("value", document(), nullable=False),
    updated_at(),
    matches("name", "^[a-z][a-z0-9_.]*$"),
    comment="What the store has set, by name.",
)
