-- The statements with {braces} are put together in service.py; `:name` is a parameter.

-- name: search_products
-- One page of what was found, as the JSON body of the answer.
with {found}, page as materialized (
  select h.product_id, row_number() over (order by {order}) - :offset::integer as place
  from hits h
  order by place
  limit {limit} offset :offset
)
select row_to_json(b)::text
from (
  select :text::text as query, {corrected} as corrected, (select count(*) from hits) as total,
    {limit} as "limit", :offset as "offset", coalesce(({cards}), '[]') as items,
    {facets} as facets
) b

-- name: by_words
-- What fits the words; when nothing does, what fits the words that come next to them.
asked as materialized (
  select websearch_to_tsquery(:language::text::regconfig, :text)
    || websearch_to_tsquery('simple', :text)
    || (websearch_to_tsquery(:language::text::regconfig, :head::text)
      && to_tsquery('simple', :prefix::text)) as query
), exact as materialized (
  select s.product_id, {key} as key, ts_rank(s.document, a.query) as rank
  from asked a
  join public.product_search s on s.document @@ a.query
  where true
    {filters}
  limit {found_max}
), corrected as materialized (
  select private.correct_words(:words::text[]) as words
  where not exists (select 1 from exact)
), spelt as materialized (
  select websearch_to_tsquery(:language::text::regconfig, c.words)
    || websearch_to_tsquery('simple', c.words) as query
  from corrected c
  where c.words is not null
), hits as materialized (
  select product_id, key, rank
  from exact
  union all
  (
    select s.product_id, {key} as key, ts_rank(s.document, a.query) as rank
    from spelt a
    join public.product_search s on s.document @@ a.query
    where true
      {filters}
    limit {found_max}
  )
)

-- name: by_filters
-- Everything that the filters leave.
hits as materialized (
  select s.product_id, {key} as key
  from public.product_search s
  where true
    {filters}
  limit {found_max}
)

-- name: corrected
-- The words that were searched for instead, null when the given ones were good.
(select c.words from corrected c where exists (select 1 from hits))

-- name: key_newest
-- When it was added.
s.listed_at

-- name: key_price
-- What its cheapest variant costs.
s.price_min

-- name: key_name
-- Its title.
s.title_key

-- name: key_rating
-- How customers like it.
s.rating

-- name: order_relevance
-- What fits best comes first, of equals what customers like.
h.rank desc, h.key desc, h.product_id

-- name: order_up
-- From the lowest to the highest.
h.key, h.product_id

-- name: order_down
-- From the highest to the lowest.
h.key desc, h.product_id desc

-- name: highlight
-- Title and description with the words that fit between <mark> and </mark>; the rest is escaped.
,
    (
      select json_build_object(
        'title', ts_headline(p.language::regconfig,
          replace(replace(replace(p.title, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), q.query,
          'StartSel=<mark>, StopSel=</mark>, HighlightAll=true'),
        'description', ts_headline(p.language::regconfig,
          replace(replace(replace(left(p.description, 1000), '&', '&amp;'), '<', '&lt;'),
            '>', '&gt;'), q.query,
          'StartSel=<mark>, StopSel=</mark>, MaxWords=30, MinWords=10')
      )
      from (
        select coalesce((select query from spelt), (select query from asked)) as query
      ) q
    ) as highlight

-- name: facets
-- How many of the found products each further filter would leave.
(
  with found as materialized (
    select s.category_path, s.brand, s.price_min, s.facts, s.in_stock
    from hits h
    join public.product_search s on s.product_id = h.product_id
  )
  select json_build_object(
    'categories', coalesce((
      select json_agg(json_build_object('id', c.id, 'slug', c.slug, 'name', c.name,
        'parent_id', c.parent_id, 'count', n.count) order by c.depth, n.count desc, c.name)
      from (
        select u.id, sum(f.count)::integer as count
        from (
          select category_path, count(*) as count
          from found
          group by category_path
        ) f
        cross join unnest(f.category_path) as u (id)
        group by u.id
      ) n
      join public.categories c on c.id = n.id
    ), '[]'),
    'brands', coalesce((
      select json_agg(json_build_object('value', n.brand, 'count', n.count)
        order by n.count desc, n.brand)
      from (
        select f.brand, count(*) as count
        from found f
        where f.brand is not null
        group by f.brand
        order by count desc, f.brand
        limit :facet_max::integer
      ) n
    ), '[]'),
    'prices', coalesce((
      select json_agg(json_build_object('from', (:price_borders::numeric[])[n.bucket]::text,
        'to', (:price_borders::numeric[])[n.bucket + 1]::text, 'count', n.count) order by n.bucket)
      from (
        select width_bucket(f.price_min, :price_borders::numeric[]) as bucket, count(*) as count
        from found f
        group by bucket
      ) n
    ), '[]'),
    'attributes', coalesce((
      select json_agg(json_build_object('code', a.code, 'name', a.name, 'kind', a.kind,
        'unit', a.unit, 'values', n.given) order by a.position, a.code)
      from (
        select v.code, json_agg(json_build_object('value', v.value, 'count', v.count)
          order by v.count desc, v.value) as given
        from (
          select split_part(u.fact, '=', 1) as code, substr(u.fact, strpos(u.fact, '=') + 1) as value,
            count(*) as count,
            row_number() over (
              partition by split_part(u.fact, '=', 1) order by count(*) desc, u.fact
            ) as place
          from found f
          cross join unnest(f.facts) as u (fact)
          group by u.fact
        ) v
        where v.place <= :facet_max
        group by v.code
      ) n
      join public.product_attributes a on a.code = n.code
    ), '[]'),
    'in_stock', (select count(*) from found f where f.in_stock)
  )
)
