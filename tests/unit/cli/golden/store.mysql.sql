create table `_identity` (
  `tenant_id` char(36) character set ascii collate ascii_bin not null,
  `singleton` tinyint(1) default true not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`tenant_id`),
  constraint `_identity_singleton` check (singleton = true),
  constraint `_identity_singleton_key` unique (`singleton`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='Whose database this is: one row, looked at before a connection is used.';

create table `attributes` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `code` varchar(60) not null,
  `name` varchar(100) not null,
  `kind` varchar(20) not null,
  `unit` varchar(20),
  `is_filterable` tinyint(1) default true not null,
  `position` int default 0 not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `attributes_code_form` check (code REGEXP '^[a-z][a-z0-9_]*$'),
  constraint `attributes_kind` check (kind IN ('text', 'number', 'boolean', 'date')),
  constraint `attributes_name_given` check (name != ''),
  constraint `attributes_code_key` unique (`code`),
  constraint `attributes_id_kind_key` unique (`id`, `kind`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What can be said of products, and of which type it is.';

create table `categories` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `parent_id` char(36) character set ascii collate ascii_bin,
  `slug` varchar(150) not null,
  `name` varchar(200) not null,
  `description` varchar(2000) default '' not null,
  `position` int default 0 not null,
  `is_active` tinyint(1) default true not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `categories_name_given` check (name != ''),
  constraint `categories_slug_form` check (slug REGEXP '^[a-z0-9]+(-[a-z0-9]+)*$'),
  constraint `categories_slug_key` unique (`slug`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='The tree in which customers look for products.';

create table `cms_pages` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `slug` varchar(150) not null,
  `title` varchar(300) not null,
  `body` mediumtext default ('') not null,
  `template` varchar(60) default 'page' not null,
  `position` int default 0 not null,
  `published_at` datetime(6),
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `cms_pages_slug_form` check (slug REGEXP '^[a-z0-9]+(-[a-z0-9]+)*$'),
  constraint `cms_pages_template_given` check (template != ''),
  constraint `cms_pages_title_given` check (title != ''),
  constraint `cms_pages_slug_key` unique (`slug`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='Pages that the store writes itself; published from published_at on.';

create table `customers` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `user_id` char(36) character set ascii collate ascii_bin comment 'Who signs in as this customer; nobody for guests.',
  `email` varchar(320) not null,
  `name` varchar(200) default '' not null,
  `phone` varchar(40),
  `locale` varchar(35),
  `marketing_accepted_at` datetime(6),
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `customers_email_form` check (email REGEXP '^[^@ ]+@[^@ ]+$'),
  constraint `customers_email_lower` check (email = lower(email)),
  constraint `customers_email_key` unique (`email`),
  constraint `customers_user_id_key` unique (`user_id`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='Who has bought something, or has an account.';

create table `discounts` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `code` varchar(60),
  `name` varchar(200) not null,
  `kind` varchar(20) not null,
  `percent` decimal(5,2),
  `amount` decimal(14,4),
  `currency` varchar(3),
  `min_total` decimal(14,4),
  `total_limit` int,
  `per_customer_limit` int,
  `used_count` int default 0 not null,
  `starts_at` datetime(6),
  `ends_at` datetime(6),
  `is_active` tinyint(1) default true not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `discounts_amount` check (amount between 0 and 9999999999.9999),
  constraint `discounts_amount_currency` check (amount is null or currency is not null),
  constraint `discounts_amount_given` check ((amount is not null) = (kind = 'amount')),
  constraint `discounts_code_form` check (code REGEXP '^[A-Z0-9][A-Z0-9_-]*$'),
  constraint `discounts_currency_form` check (currency REGEXP '^[A-Z]{3}$'),
  constraint `discounts_kind` check (kind IN ('percent', 'amount', 'free_shipping')),
  constraint `discounts_min_total` check (min_total between 0 and 9999999999.9999),
  constraint `discounts_name_given` check (name != ''),
  constraint `discounts_per_customer_limit` check (per_customer_limit > 0),
  constraint `discounts_percent_given` check ((percent is not null) = (kind = 'percent')),
  constraint `discounts_percent_limits` check (percent between 0.01 and 100),
  constraint `discounts_times` check (ends_at > starts_at),
  constraint `discounts_total_limit` check (total_limit > 0),
  constraint `discounts_used_count` check (used_count >= 0),
  constraint `discounts_used_within` check (total_limit is null or used_count <= total_limit),
  constraint `discounts_code_key` unique (`code`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What is taken off a total, with a code or for everybody.';

create table `media_library` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `storage_key` varchar(500) not null comment 'What the file is called in the storage of the store.',
  `file_name` varchar(255) not null,
  `content_type` varchar(127) not null,
  `size_bytes` bigint not null,
  `sha256` varchar(64),
  `width` int,
  `height` int,
  `alt` varchar(500) default '' not null,
  `is_public` tinyint(1) default true not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `media_library_content_type_form` check (content_type REGEXP '^[a-z]+/[a-zA-Z0-9.+-]+$'),
  constraint `media_library_file_name_given` check (file_name != ''),
  constraint `media_library_height` check (height > 0),
  constraint `media_library_sha256_form` check (sha256 REGEXP '^[0-9a-f]{64}$'),
  constraint `media_library_size_bytes` check (size_bytes >= 0),
  constraint `media_library_storage_key_given` check (storage_key != ''),
  constraint `media_library_width` check (width > 0),
  constraint `media_library_storage_key_key` unique (`storage_key`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='Files in the store''s storage.';

create table `products` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `variant_of` char(36) character set ascii collate ascii_bin,
  `sku` varchar(100) not null,
  `slug` varchar(150) not null,
  `name` varchar(300) not null,
  `description` mediumtext default ('') not null,
  `brand` varchar(200),
  `barcode` varchar(50),
  `tax_class` varchar(60) default 'standard' not null,
  `options` json default ('{}') not null comment 'Of a variant, what distinguishes it, such as its size and colour.',
  `weight_grams` int,
  `is_active` tinyint(1) default true not null,
  `published_at` datetime(6),
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `products_name_given` check (name != ''),
  constraint `products_sku_given` check (sku != ''),
  constraint `products_slug_form` check (slug REGEXP '^[a-z0-9]+(-[a-z0-9]+)*$'),
  constraint `products_variant_of_another` check (variant_of <> id),
  constraint `products_weight_grams` check (weight_grams >= 0),
  constraint `products_sku_key` unique (`sku`),
  constraint `products_slug_key` unique (`slug`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What is sold; a variant is a product that belongs to another.';

create table `settings` (
  `name` varchar(100) not null,
  `value` json not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`name`),
  constraint `settings_name_form` check (name REGEXP '^[a-z][a-z0-9_.]*$')
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What the store has set, by name.';

create table `attribute_options` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `attribute_id` char(36) character set ascii collate ascii_bin not null,
  `value` varchar(200) not null,
  `position` int default 0 not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `attribute_options_value_given` check (value != ''),
  constraint `attribute_options_attribute_id_value_key` unique (`attribute_id`, `value`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What one may choose from where an attribute offers a choice.';

create table `customer_addresses` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `customer_id` char(36) character set ascii collate ascii_bin not null,
  `name` varchar(200) not null,
  `company` varchar(200),
  `line1` varchar(300) not null,
  `line2` varchar(300),
  `postal_code` varchar(20) default '' not null,
  `city` varchar(200) not null,
  `region` varchar(200),
  `country` varchar(2) not null,
  `is_default` tinyint(1) default false not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `customer_addresses_city_given` check (city != ''),
  constraint `customer_addresses_country_form` check (country REGEXP '^[A-Z]{2}$'),
  constraint `customer_addresses_line1_given` check (line1 != ''),
  constraint `customer_addresses_name_given` check (name != '')
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='Where a customer lives or receives parcels.';

create table `discount_products` (
  `discount_id` char(36) character set ascii collate ascii_bin not null,
  `product_id` char(36) character set ascii collate ascii_bin not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`discount_id`, `product_id`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='The products that a discount is for; without any it is for all.';

create table `inventory` (
  `product_id` char(36) character set ascii collate ascii_bin not null,
  `location` varchar(60) default 'main' not null,
  `on_hand` int default 0 not null,
  `reserved` int default 0 not null,
  `reorder_point` int default 0 not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`product_id`, `location`),
  constraint `inventory_location_given` check (location != ''),
  constraint `inventory_reorder_point` check (reorder_point >= 0),
  constraint `inventory_reserved` check (reserved between 0 and on_hand)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='How many of a product are where, and how many of them are promised.';

create table `orders` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `number` varchar(40) not null,
  `customer_id` char(36) character set ascii collate ascii_bin,
  `email` varchar(320) not null,
  `state` varchar(20) default 'pending' not null,
  `currency` varchar(3) not null,
  `items_total` decimal(14,4) not null,
  `discount_total` decimal(14,4) default 0 not null,
  `tax_total` decimal(14,4) default 0 not null,
  `shipping_total` decimal(14,4) default 0 not null,
  `total` decimal(14,4) not null,
  `discount_id` char(36) character set ascii collate ascii_bin,
  `discount_code` varchar(60),
  `shipping_address` json not null,
  `billing_address` json,
  `customer_note` varchar(2000),
  `idempotency_key` varchar(255) comment 'The same key is the same order, however often it is sent.',
  `placed_at` datetime(6) default (utc_timestamp(6)) not null,
  `confirmed_at` datetime(6),
  `shipped_at` datetime(6),
  `delivered_at` datetime(6),
  `ended_at` datetime(6),
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  `request_hash` varchar(64) comment 'Of the request that came with the key, so that another one is refused.',
  primary key (`id`),
  constraint `orders_currency_form` check (currency REGEXP '^[A-Z]{3}$'),
  constraint `orders_discount_total` check (discount_total between 0 and 9999999999.9999),
  constraint `orders_email_given` check (email != ''),
  constraint `orders_items_total` check (items_total between 0 and 9999999999.9999),
  constraint `orders_number_given` check (number != ''),
  constraint `orders_shipping_total` check (shipping_total between 0 and 9999999999.9999),
  constraint `orders_state` check (state IN ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'refunded')),
  constraint `orders_tax_total` check (tax_total between 0 and 9999999999.9999),
  constraint `orders_total` check (total between 0 and 9999999999.9999),
  constraint `orders_total_adds_up` check (total = items_total - discount_total + tax_total + shipping_total),
  constraint `orders_idempotency_key_key` unique (`idempotency_key`),
  constraint `orders_number_key` unique (`number`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What a customer ordered, with the amounts as they were.';

create table `prices` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `product_id` char(36) character set ascii collate ascii_bin not null,
  `currency` varchar(3) not null,
  `amount` decimal(14,4) not null,
  `compare_at_amount` decimal(14,4),
  `min_quantity` int default 1 not null,
  `valid_from` datetime(6) default (utc_timestamp(6)) not null,
  `valid_until` datetime(6),
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `prices_amount` check (amount between 0 and 9999999999.9999),
  constraint `prices_compare_at_amount` check (compare_at_amount between 0 and 9999999999.9999),
  constraint `prices_compare_at_more` check (compare_at_amount > amount),
  constraint `prices_currency_form` check (currency REGEXP '^[A-Z]{3}$'),
  constraint `prices_min_quantity` check (min_quantity > 0),
  constraint `prices_validity` check (valid_until > valid_from),
  constraint `prices_once` unique (`product_id`, `currency`, `min_quantity`, `valid_from`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What a product costs, by currency, quantity and time.';

create table `product_attributes` (
  `product_id` char(36) character set ascii collate ascii_bin not null,
  `attribute_id` char(36) character set ascii collate ascii_bin not null,
  `position` int default 0 not null,
  `kind` varchar(20) not null,
  `text_value` varchar(500),
  `number_value` decimal(18,6),
  `boolean_value` tinyint(1),
  `date_value` date,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`product_id`, `attribute_id`, `position`),
  constraint `product_attributes_boolean_value` check ((boolean_value is not null) = (kind = 'boolean')),
  constraint `product_attributes_date_value` check ((date_value is not null) = (kind = 'date')),
  constraint `product_attributes_number_limits` check (number_value between -999999999999.999999 and 999999999999.999999),
  constraint `product_attributes_number_value` check ((number_value is not null) = (kind = 'number')),
  constraint `product_attributes_text_value` check ((text_value is not null) = (kind = 'text'))
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What is said of a product: one typed value in each row.';

create table `product_categories` (
  `product_id` char(36) character set ascii collate ascii_bin not null,
  `category_id` char(36) character set ascii collate ascii_bin not null,
  `position` int default 0 not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`product_id`, `category_id`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='Which products stand in a category, in which order.';

create table `product_media` (
  `product_id` char(36) character set ascii collate ascii_bin not null,
  `media_id` char(36) character set ascii collate ascii_bin not null,
  `position` int default 0 not null,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`product_id`, `media_id`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='The pictures of a product, in their order.';

create table `seo_settings` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `subject_kind` varchar(20) not null,
  `store_wide` int comment '1 in the one row that is about the whole store.',
  `product_id` char(36) character set ascii collate ascii_bin,
  `category_id` char(36) character set ascii collate ascii_bin,
  `page_id` char(36) character set ascii collate ascii_bin,
  `meta_title` varchar(200),
  `meta_description` varchar(500),
  `canonical_url` varchar(2000),
  `robots` varchar(100) default 'index,follow' not null,
  `image_id` char(36) character set ascii collate ascii_bin,
  `structured` json,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  `updated_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `seo_settings_of_category` check ((category_id is not null) = (subject_kind = 'category')),
  constraint `seo_settings_of_page` check ((page_id is not null) = (subject_kind = 'page')),
  constraint `seo_settings_of_product` check ((product_id is not null) = (subject_kind = 'product')),
  constraint `seo_settings_of_store` check ((store_wide is not null) = (subject_kind = 'store')),
  constraint `seo_settings_store_wide` check (store_wide = 1),
  constraint `seo_settings_subject_kind` check (subject_kind IN ('store', 'product', 'category', 'page')),
  constraint `seo_settings_category_id_key` unique (`category_id`),
  constraint `seo_settings_page_id_key` unique (`page_id`),
  constraint `seo_settings_product_id_key` unique (`product_id`),
  constraint `seo_settings_store_wide_key` unique (`store_wide`)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='What search engines read about the store, a product, a category or a page.';

create table `inventory_movements` (
  `id` char(36) character set ascii collate ascii_bin not null,
  `product_id` char(36) character set ascii collate ascii_bin not null,
  `location` varchar(60) not null,
  `quantity` int not null,
  `kind` varchar(20) not null,
  `order_id` char(36) character set ascii collate ascii_bin,
  `note` varchar(500),
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`id`),
  constraint `inventory_movements_kind` check (kind IN ('receipt', 'sale', 'return', 'correction')),
  constraint `inventory_movements_quantity` check (quantity <> 0)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='Why the stock is what it is: its sum is what is on hand.';

create table `order_items` (
  `order_id` char(36) character set ascii collate ascii_bin not null,
  `line_number` int not null,
  `product_id` char(36) character set ascii collate ascii_bin,
  `sku` varchar(100) not null,
  `name` varchar(300) not null,
  `unit_price` decimal(14,4) not null,
  `quantity` int not null,
  `line_total` decimal(14,4) generated always as (unit_price * quantity) stored,
  `created_at` datetime(6) default (utc_timestamp(6)) not null,
  primary key (`order_id`, `line_number`),
  constraint `order_items_line_number` check (line_number > 0),
  constraint `order_items_name_given` check (name != ''),
  constraint `order_items_quantity` check (quantity > 0),
  constraint `order_items_sku_given` check (sku != ''),
  constraint `order_items_unit_price` check (unit_price between 0 and 9999999999.9999)
) engine=InnoDB row_format=Dynamic default charset=utf8mb4 collate=utf8mb4_bin comment='The lines of an order with name and price as they were.';

create index `categories_parent_id_idx` on `categories` (`parent_id`);

create index `customers_created_at_id_idx` on `customers` (`created_at`, `id`);

create index `media_library_created_at_id_idx` on `media_library` (`created_at`, `id`);

create index `products_barcode_idx` on `products` (`barcode`);

create index `products_brand_idx` on `products` (`brand`);

create index `products_is_active_created_at_id_idx` on `products` (`is_active`, `created_at`, `id`);

create index `products_variant_of_idx` on `products` (`variant_of`);

create index `customer_addresses_customer_id_idx` on `customer_addresses` (`customer_id`);

create index `discount_products_product_id_idx` on `discount_products` (`product_id`);

create index `orders_customer_id_placed_at_id_idx` on `orders` (`customer_id`, `placed_at`, `id`);

create index `orders_discount_id_idx` on `orders` (`discount_id`);

create index `orders_placed_at_id_idx` on `orders` (`placed_at`, `id`);

create index `orders_state_placed_at_id_idx` on `orders` (`state`, `placed_at`, `id`);

create index `orders_updated_at_id_idx` on `orders` (`updated_at`, `id`);

create index `product_attributes_attribute_id_kind_idx` on `product_attributes` (`attribute_id`, `kind`);

create index `product_attributes_number_idx` on `product_attributes` (`attribute_id`, `number_value`);

create index `product_attributes_text_idx` on `product_attributes` (`attribute_id`, `text_value`);

create index `product_categories_category_id_position_idx` on `product_categories` (`category_id`, `position`);

create index `product_media_media_id_idx` on `product_media` (`media_id`);

create index `seo_settings_image_id_idx` on `seo_settings` (`image_id`);

create index `inventory_movements_order_id_idx` on `inventory_movements` (`order_id`);

create index `inventory_movements_product_id_location_created_at_idx` on `inventory_movements` (`product_id`, `location`, `created_at`);

create index `order_items_product_id_idx` on `order_items` (`product_id`);

alter table `categories` add constraint `categories_parent_id_fkey` foreign key (`parent_id`) references `categories` (`id`) on delete restrict;

alter table `products` add constraint `products_variant_of_fkey` foreign key (`variant_of`) references `products` (`id`) on delete cascade;

alter table `attribute_options` add constraint `attribute_options_attribute_id_fkey` foreign key (`attribute_id`) references `attributes` (`id`) on delete cascade;

alter table `customer_addresses` add constraint `customer_addresses_customer_id_fkey` foreign key (`customer_id`) references `customers` (`id`) on delete cascade;

alter table `discount_products` add constraint `discount_products_discount_id_fkey` foreign key (`discount_id`) references `discounts` (`id`) on delete cascade;

alter table `discount_products` add constraint `discount_products_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete cascade;

alter table `inventory` add constraint `inventory_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete cascade;

alter table `orders` add constraint `orders_customer_id_fkey` foreign key (`customer_id`) references `customers` (`id`) on delete set null;

alter table `orders` add constraint `orders_discount_id_fkey` foreign key (`discount_id`) references `discounts` (`id`) on delete set null;

alter table `prices` add constraint `prices_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete cascade;

alter table `product_attributes` add constraint `product_attributes_attribute_id_kind_fkey` foreign key (`attribute_id`, `kind`) references `attributes` (`id`, `kind`) on delete cascade;

alter table `product_attributes` add constraint `product_attributes_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete cascade;

alter table `product_categories` add constraint `product_categories_category_id_fkey` foreign key (`category_id`) references `categories` (`id`) on delete cascade;

alter table `product_categories` add constraint `product_categories_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete cascade;

alter table `product_media` add constraint `product_media_media_id_fkey` foreign key (`media_id`) references `media_library` (`id`) on delete cascade;

alter table `product_media` add constraint `product_media_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete cascade;

alter table `seo_settings` add constraint `seo_settings_category_id_fkey` foreign key (`category_id`) references `categories` (`id`) on delete cascade;

alter table `seo_settings` add constraint `seo_settings_image_id_fkey` foreign key (`image_id`) references `media_library` (`id`) on delete set null;

alter table `seo_settings` add constraint `seo_settings_page_id_fkey` foreign key (`page_id`) references `cms_pages` (`id`) on delete cascade;

alter table `seo_settings` add constraint `seo_settings_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete cascade;

alter table `inventory_movements` add constraint `inventory_movements_order_id_fkey` foreign key (`order_id`) references `orders` (`id`) on delete set null;

alter table `inventory_movements` add constraint `inventory_movements_product_id_location_fkey` foreign key (`product_id`, `location`) references `inventory` (`product_id`, `location`) on delete cascade;

alter table `order_items` add constraint `order_items_order_id_fkey` foreign key (`order_id`) references `orders` (`id`) on delete cascade;

alter table `order_items` add constraint `order_items_product_id_fkey` foreign key (`product_id`) references `products` (`id`) on delete set null;
