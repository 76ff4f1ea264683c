-- Orders know the request that placed them, and are found by when they were changed last.

alter table "public"."orders" add column "request_hash" character varying(64);

comment on column "public"."orders"."request_hash" is 'Of the request that came with the key, so that another one is refused.';

create index "orders_updated_at_id_idx" on "public"."orders" ("updated_at", "id");

-- migrate:down
drop index "public"."orders_updated_at_id_idx";
alter table "public"."orders" drop column "request_hash";
