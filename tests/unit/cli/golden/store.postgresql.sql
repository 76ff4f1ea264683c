create table "public"."_identity" (
  "tenant_id" uuid not null,
  "singleton" boolean default true not null,
  "created_at" timestamp with time zone default now() not null,
  constraint "_identity_pkey" primary key ("tenant_id"),
  constraint "_identity_singleton" check (singleton = true),
  constraint "_identity_singleton_key" unique ("singleton")
);

create table "public"."attributes" (
  "id" uuid not null,
  "code" character varying(60) not null,
  "name" character varying(100) not null,
  "kind" character varying(20) not null,
  "unit" character varying(20),
  "is_filterable" boolean default true not null,
  "position" integer default 0 not null,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "attributes_pkey" primary key ("id"),
  constraint "attributes_code_form" check (code ~ '^[a-z][a-z0-9_]*$'),
  constraint "attributes_kind" check (kind IN ('text', 'number', 'boolean', 'date')),
  constraint "attributes_name_given" check (name != ''),
  constraint "attributes_code_key" unique ("code"),
  constraint "attributes_id_kind_key" unique ("id", "kind")
);

create table "public"."categories" (
  "id" uuid not null,
  "parent_id" uuid,
  "slug" character varying(150) not null,
  "name" character varying(200) not null,
  "description" character varying(2000) default '' not null,
  "position" integer default 0 not null,
  "is_active" boolean default true not null,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "categories_pkey" primary key ("id"),
  constraint "categories_name_given" check (name != ''),
  constraint "categories_slug_form" check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
  constraint "categories_slug_key" unique ("slug")
);

create table "public"."cms_pages" (
  "id" uuid not null,
  "slug" character varying(150) not null,
  "title" character varying(300) not null,
  "body" text default '' not null,
  "template" character varying(60) default 'page' not null,
  "position" integer default 0 not null,
  "published_at" timestamp with time zone,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "cms_pages_pkey" primary key ("id"),
  constraint "cms_pages_slug_form" check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
  constraint "cms_pages_template_given" check (template != ''),
  constraint "cms_pages_title_given" check (title != ''),
  constraint "cms_pages_slug_key" unique ("slug")
);

create table "public"."customers" (
  "id" uuid not null,
  "user_id" uuid,
  "email" character varying(320) not null,
  "name" character varying(200) default '' not null,
  "phone" character varying(40),
  "locale" character varying(35),
  "marketing_accepted_at" timestamp with time zone,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "customers_pkey" primary key ("id"),
  constraint "customers_email_form" check (email ~ '^[^@ ]+@[^@ ]+$'),
  constraint "customers_email_lower" check (email = lower(email)),
  constraint "customers_email_key" unique ("email"),
  constraint "customers_user_id_key" unique ("user_id")
);

create table "public"."discounts" (
  "id" uuid not null,
  "code" character varying(60),
  "name" character varying(200) not null,
  "kind" character varying(20) not null,
  "percent" numeric(5,2),
  "amount" numeric(14,4),
  "currency" character varying(3),
  "min_total" numeric(14,4),
  "total_limit" integer,
  "per_customer_limit" integer,
  "used_count" integer default 0 not null,
  "starts_at" timestamp with time zone,
  "ends_at" timestamp with time zone,
  "is_active" boolean default true not null,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "discounts_pkey" primary key ("id"),
  constraint "discounts_amount" check (amount between 0 and 9999999999.9999),
  constraint "discounts_amount_currency" check (amount is null or currency is not null),
  constraint "discounts_amount_given" check ((amount is not null) = (kind = 'amount')),
  constraint "discounts_code_form" check (code ~ '^[A-Z0-9][A-Z0-9_-]*$'),
  constraint "discounts_currency_form" check (currency ~ '^[A-Z]{3}$'),
  constraint "discounts_kind" check (kind IN ('percent', 'amount', 'free_shipping')),
  constraint "discounts_min_total" check (min_total between 0 and 9999999999.9999),
  constraint "discounts_name_given" check (name != ''),
  constraint "discounts_per_customer_limit" check (per_customer_limit > 0),
  constraint "discounts_percent_given" check ((percent is not null) = (kind = 'percent')),
  constraint "discounts_percent_limits" check (percent between 0.01 and 100),
  constraint "discounts_times" check (ends_at > starts_at),
  constraint "discounts_total_limit" check (total_limit > 0),
  constraint "discounts_used_count" check (used_count >= 0),
  constraint "discounts_used_within" check (total_limit is null or used_count <= total_limit),
  constraint "discounts_code_key" unique ("code")
);

create table "public"."media_library" (
  "id" uuid not null,
  "storage_key" character varying(500) not null,
  "file_name" character varying(255) not null,
  "content_type" character varying(127) not null,
  "size_bytes" bigint not null,
  "sha256" character varying(64),
  "width" integer,
  "height" integer,
  "alt" character varying(500) default '' not null,
  "is_public" boolean default true not null,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "media_library_pkey" primary key ("id"),
  constraint "media_library_content_type_form" check (content_type ~ '^[a-z]+/[a-zA-Z0-9.+-]+$'),
  constraint "media_library_file_name_given" check (file_name != ''),
  constraint "media_library_height" check (height > 0),
  constraint "media_library_sha256_form" check (sha256 ~ '^[0-9a-f]{64}$'),
  constraint "media_library_size_bytes" check (size_bytes >= 0),
  constraint "media_library_storage_key_given" check (storage_key != ''),
  constraint "media_library_width" check (width > 0),
  constraint "media_library_storage_key_key" unique ("storage_key")
);

create table "public"."products" (
  "id" uuid not null,
  "variant_of" uuid,
  "sku" character varying(100) not null,
  "slug" character varying(150) not null,
  "name" character varying(300) not null,
  "description" text default '' not null,
  "brand" character varying(200),
  "barcode" character varying(50),
  "tax_class" character varying(60) default 'standard' not null,
  "options" jsonb default '{}' not null,
  "weight_grams" integer,
  "is_active" boolean default true not null,
  "published_at" timestamp with time zone,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "products_pkey" primary key ("id"),
  constraint "products_name_given" check (name != ''),
  constraint "products_sku_given" check (sku != ''),
  constraint "products_slug_form" check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
  constraint "products_variant_of_another" check (variant_of <> id),
  constraint "products_weight_grams" check (weight_grams >= 0),
  constraint "products_sku_key" unique ("sku"),
  constraint "products_slug_key" unique ("slug")
);

create table "public"."settings" (
  "name" character varying(100) not null,
  "value" jsonb not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "settings_pkey" primary key ("name"),
  constraint "settings_name_form" check (name ~ '^[a-z][a-z0-9_.]*$')
);

create table "public"."attribute_options" (
  "id" uuid not null,
  "attribute_id" uuid not null,
  "value" character varying(200) not null,
  "position" integer default 0 not null,
  "created_at" timestamp with time zone default now() not null,
  constraint "attribute_options_pkey" primary key ("id"),
  constraint "attribute_options_value_given" check (value != ''),
  constraint "attribute_options_attribute_id_value_key" unique ("attribute_id", "value")
);

create table "public"."customer_addresses" (
  "id" uuid not null,
  "customer_id" uuid not null,
  "name" character varying(200) not null,
  "company" character varying(200),
  "line1" character varying(300) not null,
  "line2" character varying(300),
  "postal_code" character varying(20) default '' not null,
  "city" character varying(200) not null,
  "region" character varying(200),
  "country" character varying(2) not null,
  "is_default" boolean default false not null,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "customer_addresses_pkey" primary key ("id"),
  constraint "customer_addresses_city_given" check (city != ''),
  constraint "customer_addresses_country_form" check (country ~ '^[A-Z]{2}$'),
  constraint "customer_addresses_line1_given" check (line1 != ''),
  constraint "customer_addresses_name_given" check (name != '')
);

create table "public"."discount_products" (
  "discount_id" uuid not null,
  "product_id" uuid not null,
  "created_at" timestamp with time zone default now() not null,
  constraint "discount_products_pkey" primary key ("discount_id", "product_id")
);

create table "public"."inventory" (
  "product_id" uuid not null,
  "location" character varying(60) default 'main' not null,
  "on_hand" integer default 0 not null,
  "reserved" integer default 0 not null,
  "reorder_point" integer default 0 not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "inventory_pkey" primary key ("product_id", "location"),
  constraint "inventory_location_given" check (location != ''),
  constraint "inventory_reorder_point" check (reorder_point >= 0),
  constraint "inventory_reserved" check (reserved between 0 and on_hand)
);

create table "public"."orders" (
  "id" uuid not null,
  "number" character varying(40) not null,
  "customer_id" uuid,
  "email" character varying(320) not null,
  "state" character varying(20) default 'pending' not null,
  "currency" character varying(3) not null,
  "items_total" numeric(14,4) not null,
  "discount_total" numeric(14,4) default 0 not null,
  "tax_total" numeric(14,4) default 0 not null,
  "shipping_total" numeric(14,4) default 0 not null,
  "total" numeric(14,4) not null,
  "discount_id" uuid,
  "discount_code" character varying(60),
  "shipping_address" jsonb not null,
  "billing_address" jsonb,
  "customer_note" character varying(2000),
  "idempotency_key" character varying(255),
  "placed_at" timestamp with time zone default now() not null,
  "confirmed_at" timestamp with time zone,
  "shipped_at" timestamp with time zone,
  "delivered_at" timestamp with time zone,
  "ended_at" timestamp with time zone,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  "request_hash" character varying(64),
  constraint "orders_pkey" primary key ("id"),
  constraint "orders_currency_form" check (currency ~ '^[A-Z]{3}$'),
  constraint "orders_discount_total" check (discount_total between 0 and 9999999999.9999),
  constraint "orders_email_given" check (email != ''),
  constraint "orders_items_total" check (items_total between 0 and 9999999999.9999),
  constraint "orders_number_given" check (number != ''),
  constraint "orders_shipping_total" check (shipping_total between 0 and 9999999999.9999),
  constraint "orders_state" check (state IN ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'refunded')),
  constraint "orders_tax_total" check (tax_total between 0 and 9999999999.9999),
  constraint "orders_total" check (total between 0 and 9999999999.9999),
  constraint "orders_total_adds_up" check (total = items_total - discount_total + tax_total + shipping_total),
  constraint "orders_idempotency_key_key" unique ("idempotency_key"),
  constraint "orders_number_key" unique ("number")
);

create table "public"."prices" (
  "id" uuid not null,
  "product_id" uuid not null,
  "currency" character varying(3) not null,
  "amount" numeric(14,4) not null,
  "compare_at_amount" numeric(14,4),
  "min_quantity" integer default 1 not null,
  "valid_from" timestamp with time zone default now() not null,
  "valid_until" timestamp with time zone,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "prices_pkey" primary key ("id"),
  constraint "prices_amount" check (amount between 0 and 9999999999.9999),
  constraint "prices_compare_at_amount" check (compare_at_amount between 0 and 9999999999.9999),
  constraint "prices_compare_at_more" check (compare_at_amount > amount),
  constraint "prices_currency_form" check (currency ~ '^[A-Z]{3}$'),
  constraint "prices_min_quantity" check (min_quantity > 0),
  constraint "prices_validity" check (valid_until > valid_from),
  constraint "prices_once" unique ("product_id", "currency", "min_quantity", "valid_from")
);

create table "public"."product_attributes" (
  "product_id" uuid not null,
  "attribute_id" uuid not null,
  "position" integer default 0 not null,
  "kind" character varying(20) not null,
  "text_value" character varying(500),
  "number_value" numeric(18,6),
  "boolean_value" boolean,
  "date_value" date,
  "created_at" timestamp with time zone default now() not null,
  constraint "product_attributes_pkey" primary key ("product_id", "attribute_id", "position"),
  constraint "product_attributes_boolean_value" check ((boolean_value is not null) = (kind = 'boolean')),
  constraint "product_attributes_date_value" check ((date_value is not null) = (kind = 'date')),
  constraint "product_attributes_number_limits" check (number_value between -999999999999.999999 and 999999999999.999999),
  constraint "product_attributes_number_value" check ((number_value is not null) = (kind = 'number')),
  constraint "product_attributes_text_value" check ((text_value is not null) = (kind = 'text'))
);

create table "public"."product_categories" (
  "product_id" uuid not null,
  "category_id" uuid not null,
  "position" integer default 0 not null,
  "created_at" timestamp with time zone default now() not null,
  constraint "product_categories_pkey" primary key ("product_id", "category_id")
);

create table "public"."product_media" (
  "product_id" uuid not null,
  "media_id" uuid not null,
  "position" integer default 0 not null,
  "created_at" timestamp with time zone default now() not null,
  constraint "product_media_pkey" primary key ("product_id", "media_id")
);

create table "public"."seo_settings" (
  "id" uuid not null,
  "subject_kind" character varying(20) not null,
  "store_wide" integer,
  "product_id" uuid,
  "category_id" uuid,
  "page_id" uuid,
  "meta_title" character varying(200),
  "meta_description" character varying(500),
  "canonical_url" character varying(2000),
  "robots" character varying(100) default 'index,follow' not null,
  "image_id" uuid,
  "structured" jsonb,
  "created_at" timestamp with time zone default now() not null,
  "updated_at" timestamp with time zone default now() not null,
  constraint "seo_settings_pkey" primary key ("id"),
  constraint "seo_settings_of_category" check ((category_id is not null) = (subject_kind = 'category')),
  constraint "seo_settings_of_page" check ((page_id is not null) = (subject_kind = 'page')),
  constraint "seo_settings_of_product" check ((product_id is not null) = (subject_kind = 'product')),
  constraint "seo_settings_of_store" check ((store_wide is not null) = (subject_kind = 'store')),
  constraint "seo_settings_store_wide" check (store_wide = 1),
  constraint "seo_settings_subject_kind" check (subject_kind IN ('store', 'product', 'category', 'page')),
  constraint "seo_settings_category_id_key" unique ("category_id"),
  constraint "seo_settings_page_id_key" unique ("page_id"),
  constraint "seo_settings_product_id_key" unique ("product_id"),
  constraint "seo_settings_store_wide_key" unique ("store_wide")
);

create table "public"."inventory_movements" (
  "id" uuid not null,
  "product_id" uuid not null,
  "location" character varying(60) not null,
  "quantity" integer not null,
  "kind" character varying(20) not null,
  "order_id" uuid,
  "note" character varying(500),
  "created_at" timestamp with time zone default now() not null,
  constraint "inventory_movements_pkey" primary key ("id"),
  constraint "inventory_movements_kind" check (kind IN ('receipt', 'sale', 'return', 'correction')),
  constraint "inventory_movements_quantity" check (quantity <> 0)
);

create table "public"."order_items" (
  "order_id" uuid not null,
  "line_number" integer not null,
  "product_id" uuid,
  "sku" character varying(100) not null,
  "name" character varying(300) not null,
  "unit_price" numeric(14,4) not null,
  "quantity" integer not null,
  "line_total" numeric(14,4) generated always as (unit_price * quantity) stored not null,
  "created_at" timestamp with time zone default now() not null,
  constraint "order_items_pkey" primary key ("order_id", "line_number"),
  constraint "order_items_line_number" check (line_number > 0),
  constraint "order_items_name_given" check (name != ''),
  constraint "order_items_quantity" check (quantity > 0),
  constraint "order_items_sku_given" check (sku != ''),
  constraint "order_items_unit_price" check (unit_price between 0 and 9999999999.9999)
);

create index "categories_parent_id_idx" on "public"."categories" ("parent_id");

create index "customers_created_at_id_idx" on "public"."customers" ("created_at", "id");

create index "media_library_created_at_id_idx" on "public"."media_library" ("created_at", "id");

create index "products_barcode_idx" on "public"."products" ("barcode");

create index "products_brand_idx" on "public"."products" ("brand");

create index "products_is_active_created_at_id_idx" on "public"."products" ("is_active", "created_at", "id");

create index "products_variant_of_idx" on "public"."products" ("variant_of");

create index "customer_addresses_customer_id_idx" on "public"."customer_addresses" ("customer_id");

create index "discount_products_product_id_idx" on "public"."discount_products" ("product_id");

create index "orders_customer_id_placed_at_id_idx" on "public"."orders" ("customer_id", "placed_at", "id");

create index "orders_discount_id_idx" on "public"."orders" ("discount_id");

create index "orders_placed_at_id_idx" on "public"."orders" ("placed_at", "id");

create index "orders_state_placed_at_id_idx" on "public"."orders" ("state", "placed_at", "id");

create index "orders_updated_at_id_idx" on "public"."orders" ("updated_at", "id");

create index "product_attributes_attribute_id_kind_idx" on "public"."product_attributes" ("attribute_id", "kind");

create index "product_attributes_number_idx" on "public"."product_attributes" ("attribute_id", "number_value");

create index "product_attributes_text_idx" on "public"."product_attributes" ("attribute_id", "text_value");

create index "product_categories_category_id_position_idx" on "public"."product_categories" ("category_id", "position");

create index "product_media_media_id_idx" on "public"."product_media" ("media_id");

create index "seo_settings_image_id_idx" on "public"."seo_settings" ("image_id");

create index "inventory_movements_order_id_idx" on "public"."inventory_movements" ("order_id");

create index "inventory_movements_product_id_location_created_at_idx" on "public"."inventory_movements" ("product_id", "location", "created_at");

create index "order_items_product_id_idx" on "public"."order_items" ("product_id");

alter table "public"."categories" add constraint "categories_parent_id_fkey" foreign key ("parent_id") references "public"."categories" ("id") on delete restrict;

alter table "public"."products" add constraint "products_variant_of_fkey" foreign key ("variant_of") references "public"."products" ("id") on delete cascade;

alter table "public"."attribute_options" add constraint "attribute_options_attribute_id_fkey" foreign key ("attribute_id") references "public"."attributes" ("id") on delete cascade;

alter table "public"."customer_addresses" add constraint "customer_addresses_customer_id_fkey" foreign key ("customer_id") references "public"."customers" ("id") on delete cascade;

alter table "public"."discount_products" add constraint "discount_products_discount_id_fkey" foreign key ("discount_id") references "public"."discounts" ("id") on delete cascade;

alter table "public"."discount_products" add constraint "discount_products_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete cascade;

alter table "public"."inventory" add constraint "inventory_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete cascade;

alter table "public"."orders" add constraint "orders_customer_id_fkey" foreign key ("customer_id") references "public"."customers" ("id") on delete set null;

alter table "public"."orders" add constraint "orders_discount_id_fkey" foreign key ("discount_id") references "public"."discounts" ("id") on delete set null;

alter table "public"."prices" add constraint "prices_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete cascade;

alter table "public"."product_attributes" add constraint "product_attributes_attribute_id_kind_fkey" foreign key ("attribute_id", "kind") references "public"."attributes" ("id", "kind") on delete cascade;

alter table "public"."product_attributes" add constraint "product_attributes_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete cascade;

alter table "public"."product_categories" add constraint "product_categories_category_id_fkey" foreign key ("category_id") references "public"."categories" ("id") on delete cascade;

alter table "public"."product_categories" add constraint "product_categories_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete cascade;

alter table "public"."product_media" add constraint "product_media_media_id_fkey" foreign key ("media_id") references "public"."media_library" ("id") on delete cascade;

alter table "public"."product_media" add constraint "product_media_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete cascade;

alter table "public"."seo_settings" add constraint "seo_settings_category_id_fkey" foreign key ("category_id") references "public"."categories" ("id") on delete cascade;

alter table "public"."seo_settings" add constraint "seo_settings_image_id_fkey" foreign key ("image_id") references "public"."media_library" ("id") on delete set null;

alter table "public"."seo_settings" add constraint "seo_settings_page_id_fkey" foreign key ("page_id") references "public"."cms_pages" ("id") on delete cascade;

alter table "public"."seo_settings" add constraint "seo_settings_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete cascade;

alter table "public"."inventory_movements" add constraint "inventory_movements_order_id_fkey" foreign key ("order_id") references "public"."orders" ("id") on delete set null;

alter table "public"."inventory_movements" add constraint "inventory_movements_product_id_location_fkey" foreign key ("product_id", "location") references "public"."inventory" ("product_id", "location") on delete cascade;

alter table "public"."order_items" add constraint "order_items_order_id_fkey" foreign key ("order_id") references "public"."orders" ("id") on delete cascade;

alter table "public"."order_items" add constraint "order_items_product_id_fkey" foreign key ("product_id") references "public"."products" ("id") on delete set null;

alter table "public"."_identity" enable row level security;

alter table "public"."attributes" enable row level security;

alter table "public"."categories" enable row level security;

alter table "public"."cms_pages" enable row level security;

alter table "public"."customers" enable row level security;

alter table "public"."discounts" enable row level security;

alter table "public"."media_library" enable row level security;

alter table "public"."products" enable row level security;

alter table "public"."settings" enable row level security;

alter table "public"."attribute_options" enable row level security;

alter table "public"."customer_addresses" enable row level security;

alter table "public"."discount_products" enable row level security;

alter table "public"."inventory" enable row level security;

alter table "public"."orders" enable row level security;

alter table "public"."prices" enable row level security;

alter table "public"."product_attributes" enable row level security;

alter table "public"."product_categories" enable row level security;

alter table "public"."product_media" enable row level security;

alter table "public"."seo_settings" enable row level security;

alter table "public"."inventory_movements" enable row level security;

alter table "public"."order_items" enable row level security;

alter table "public"."_identity" force row level security;

revoke all on "public"."_identity" from public, "anon", "authenticated";

create policy "owner_all" on "public"."_identity"
  for all to current_user
  using (true)
  with check (true);

alter table "public"."attributes" force row level security;

revoke all on "public"."attributes" from public, "anon", "authenticated";

create policy "owner_all" on "public"."attributes"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."attributes"
  for select to "anon", "authenticated"
  using (true);

grant select on "public"."attributes" to "anon";

grant select on "public"."attributes" to "authenticated";

alter table "public"."categories" force row level security;

revoke all on "public"."categories" from public, "anon", "authenticated";

create policy "owner_all" on "public"."categories"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."categories"
  for select to "anon", "authenticated"
  using (is_active);

grant select on "public"."categories" to "anon";

grant select on "public"."categories" to "authenticated";

alter table "public"."cms_pages" force row level security;

revoke all on "public"."cms_pages" from public, "anon", "authenticated";

create policy "owner_all" on "public"."cms_pages"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."cms_pages"
  for select to "anon", "authenticated"
  using (published_at <= now());

grant select on "public"."cms_pages" to "anon";

grant select on "public"."cms_pages" to "authenticated";

alter table "public"."customers" force row level security;

revoke all on "public"."customers" from public, "anon", "authenticated";

create policy "owner_all" on "public"."customers"
  for all to current_user
  using (true)
  with check (true);

create policy "read_own" on "public"."customers"
  for select to "authenticated"
  using (user_id = (select auth.uid()));

grant select on "public"."customers" to "authenticated";

alter table "public"."discounts" force row level security;

revoke all on "public"."discounts" from public, "anon", "authenticated";

create policy "owner_all" on "public"."discounts"
  for all to current_user
  using (true)
  with check (true);

alter table "public"."media_library" force row level security;

revoke all on "public"."media_library" from public, "anon", "authenticated";

create policy "owner_all" on "public"."media_library"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."media_library"
  for select to "anon", "authenticated"
  using (is_public);

grant select on "public"."media_library" to "anon";

grant select on "public"."media_library" to "authenticated";

alter table "public"."products" force row level security;

revoke all on "public"."products" from public, "anon", "authenticated";

create policy "owner_all" on "public"."products"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."products"
  for select to "anon", "authenticated"
  using (is_active);

grant select on "public"."products" to "anon";

grant select on "public"."products" to "authenticated";

alter table "public"."settings" force row level security;

revoke all on "public"."settings" from public, "anon", "authenticated";

create policy "owner_all" on "public"."settings"
  for all to current_user
  using (true)
  with check (true);

alter table "public"."attribute_options" force row level security;

revoke all on "public"."attribute_options" from public, "anon", "authenticated";

create policy "owner_all" on "public"."attribute_options"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."attribute_options"
  for select to "anon", "authenticated"
  using (true);

grant select on "public"."attribute_options" to "anon";

grant select on "public"."attribute_options" to "authenticated";

alter table "public"."customer_addresses" force row level security;

revoke all on "public"."customer_addresses" from public, "anon", "authenticated";

create policy "owner_all" on "public"."customer_addresses"
  for all to current_user
  using (true)
  with check (true);

create policy "read_own" on "public"."customer_addresses"
  for select to "authenticated"
  using (exists (select 1 from "public"."customers" t where t.id = "customer_addresses"."customer_id"));

grant select on "public"."customer_addresses" to "authenticated";

alter table "public"."discount_products" force row level security;

revoke all on "public"."discount_products" from public, "anon", "authenticated";

create policy "owner_all" on "public"."discount_products"
  for all to current_user
  using (true)
  with check (true);

alter table "public"."inventory" force row level security;

revoke all on "public"."inventory" from public, "anon", "authenticated";

create policy "owner_all" on "public"."inventory"
  for all to current_user
  using (true)
  with check (true);

alter table "public"."orders" force row level security;

revoke all on "public"."orders" from public, "anon", "authenticated";

create policy "owner_all" on "public"."orders"
  for all to current_user
  using (true)
  with check (true);

create policy "read_own" on "public"."orders"
  for select to "authenticated"
  using (exists (select 1 from "public"."customers" t where t.id = "orders"."customer_id"));

grant select on "public"."orders" to "authenticated";

alter table "public"."prices" force row level security;

revoke all on "public"."prices" from public, "anon", "authenticated";

create policy "owner_all" on "public"."prices"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."prices"
  for select to "anon", "authenticated"
  using (exists (select 1 from "public"."products" t where t.id = "prices"."product_id"));

grant select on "public"."prices" to "anon";

grant select on "public"."prices" to "authenticated";

alter table "public"."product_attributes" force row level security;

revoke all on "public"."product_attributes" from public, "anon", "authenticated";

create policy "owner_all" on "public"."product_attributes"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."product_attributes"
  for select to "anon", "authenticated"
  using (exists (select 1 from "public"."products" t where t.id = "product_attributes"."product_id"));

grant select on "public"."product_attributes" to "anon";

grant select on "public"."product_attributes" to "authenticated";

alter table "public"."product_categories" force row level security;

revoke all on "public"."product_categories" from public, "anon", "authenticated";

create policy "owner_all" on "public"."product_categories"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."product_categories"
  for select to "anon", "authenticated"
  using (exists (select 1 from "public"."products" t where t.id = "product_categories"."product_id"));

grant select on "public"."product_categories" to "anon";

grant select on "public"."product_categories" to "authenticated";

alter table "public"."product_media" force row level security;

revoke all on "public"."product_media" from public, "anon", "authenticated";

create policy "owner_all" on "public"."product_media"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."product_media"
  for select to "anon", "authenticated"
  using (exists (select 1 from "public"."products" t where t.id = "product_media"."product_id"));

grant select on "public"."product_media" to "anon";

grant select on "public"."product_media" to "authenticated";

alter table "public"."seo_settings" force row level security;

revoke all on "public"."seo_settings" from public, "anon", "authenticated";

create policy "owner_all" on "public"."seo_settings"
  for all to current_user
  using (true)
  with check (true);

create policy "read_shown" on "public"."seo_settings"
  for select to "anon", "authenticated"
  using (true);

grant select on "public"."seo_settings" to "anon";

grant select on "public"."seo_settings" to "authenticated";

alter table "public"."inventory_movements" force row level security;

revoke all on "public"."inventory_movements" from public, "anon", "authenticated";

create policy "owner_all" on "public"."inventory_movements"
  for all to current_user
  using (true)
  with check (true);

alter table "public"."order_items" force row level security;

revoke all on "public"."order_items" from public, "anon", "authenticated";

create policy "owner_all" on "public"."order_items"
  for all to current_user
  using (true)
  with check (true);

create policy "read_own" on "public"."order_items"
  for select to "authenticated"
  using (exists (select 1 from "public"."orders" t where t.id = "order_items"."order_id"));

grant select on "public"."order_items" to "authenticated";

comment on table "public"."_identity" is 'Whose database this is: one row, looked at before a connection is used.';

comment on table "public"."attributes" is 'What can be said of products, and of which type it is.';

comment on table "public"."categories" is 'The tree in which customers look for products.';

comment on table "public"."cms_pages" is 'Pages that the store writes itself; published from published_at on.';

comment on table "public"."customers" is 'Who has bought something, or has an account.';

comment on column "public"."customers"."user_id" is 'Who signs in as this customer; nobody for guests.';

comment on table "public"."discounts" is 'What is taken off a total, with a code or for everybody.';

comment on table "public"."media_library" is 'Files in the store''s storage.';

comment on column "public"."media_library"."storage_key" is 'What the file is called in the storage of the store.';

comment on table "public"."products" is 'What is sold; a variant is a product that belongs to another.';

comment on column "public"."products"."options" is 'Of a variant, what distinguishes it, such as its size and colour.';

comment on table "public"."settings" is 'What the store has set, by name.';

comment on table "public"."attribute_options" is 'What one may choose from where an attribute offers a choice.';

comment on table "public"."customer_addresses" is 'Where a customer lives or receives parcels.';

comment on table "public"."discount_products" is 'The products that a discount is for; without any it is for all.';

comment on table "public"."inventory" is 'How many of a product are where, and how many of them are promised.';

comment on table "public"."orders" is 'What a customer ordered, with the amounts as they were.';

comment on column "public"."orders"."idempotency_key" is 'The same key is the same order, however often it is sent.';

comment on column "public"."orders"."request_hash" is 'Of the request that came with the key, so that another one is refused.';

comment on table "public"."prices" is 'What a product costs, by currency, quantity and time.';

comment on table "public"."product_attributes" is 'What is said of a product: one typed value in each row.';

comment on table "public"."product_categories" is 'Which products stand in a category, in which order.';

comment on table "public"."product_media" is 'The pictures of a product, in their order.';

comment on table "public"."seo_settings" is 'What search engines read about the store, a product, a category or a page.';

comment on column "public"."seo_settings"."store_wide" is '1 in the one row that is about the whole store.';

comment on table "public"."inventory_movements" is 'Why the stock is what it is: its sum is what is on hand.';

comment on table "public"."order_items" is 'The lines of an order with name and price as they were.';
