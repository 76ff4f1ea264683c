-- name: column_facts
-- Type, nullability and index of some columns of a table; a domain counts as what it is made of.
select a.attname::text as name,
  format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), null) as type,
  a.attnotnull as required,
  exists (
    select
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    join pg_catalog.pg_am m on m.oid = c.relam
    where i.indrelid = a.attrelid
      and i.indkey[0] = a.attnum
      and i.indisvalid
      and m.amname = 'btree'
      and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname))
  ) as indexed
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
where a.attrelid = to_regclass($1::text)
  and a.attname = any($2::text[])
  and not a.attisdropped
