-- Orders know the request that placed them, and are found by when they were changed last.

alter table `orders` add column `request_hash` varchar(64) comment 'Of the request that came with the key, so that another one is refused.';

create index `orders_updated_at_id_idx` on `orders` (`updated_at`, `id`);

-- migrate:down
drop index `orders_updated_at_id_idx` on `orders`;
alter table `orders` drop column `request_hash`;
