-- name: bury
-- Leave tombstones and say how many are new.
select bulkhead.bury($1::text, $2::text[])

-- name: delete_keys
-- Delete rows by their keys; the trigger of the table leaves the tombstones.
delete from {table}
where {column} = any($1::text[]::{type}[])

-- name: count_tombstones
-- How many of the keys have a tombstone.
select count(*)
from bulkhead.tombstones
where table_name = $1 and key = any($2::text[])

-- name: place_fences
-- Fence rows that are about to be deleted; a fence that stands keeps its age.
insert into bulkhead.deletion_fences (table_name, key, placed_at)
select $1, key, clock_timestamp()
from unnest($2::text[]) as key
on conflict (table_name, key) do nothing

-- name: age_of_fences
-- For how many seconds the youngest of the fences has stood.
select extract(epoch from clock_timestamp() - max(placed_at))::float8
from bulkhead.deletion_fences
where table_name = $1 and key = any($2::text[])

-- name: lift_fences
-- Take fences away.
delete from bulkhead.deletion_fences
where table_name = $1 and key = any($2::text[])
