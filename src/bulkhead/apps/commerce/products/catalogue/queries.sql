-- The statements with {braces} are put together in service.py; `:name` is a parameter.

-- name: list_products
-- One page of products as the JSON body of the answer.
with page as materialized (
  {page}
)
select row_to_json(b)::text
from (
  select coalesce(({cards}), '[]') as items, (
      select translate(
        encode(convert_to(json_build_array(:sort::text, g.sort_key, g.product_id)::text, 'UTF8'),
          'base64'),
        e'+/=\n', '-_')
      from page g
      where g.place = {limit}
        and exists (select 1 from page f where f.place > {limit})
    ) as next_cursor
) b

-- name: cards
-- The products of a page, each with its variants, prices, stock and first image.
select json_agg(c)
from (
  select p.id, p.slug, p.title, p.brand, p.category_id, s.price_min::text, s.price_max::text,
    v.currency, s.in_stock, (
      select row_to_json(r)
      from (
        select p.rating_count as count,
          round(p.rating_sum::numeric / nullif(p.rating_count, 0), 2) as average
      ) r
    ) as rating, (
      select row_to_json(i)
      from (
        select i.url, i.alt, i.width, i.height
        from public.product_images i
        where i.product_id = p.id
        order by i.position, i.id
        limit 1
      ) i
    ) as image,
    coalesce(v.variants, '[]') as variants{more}
  from page g
  join public.product_search s on s.product_id = g.product_id
  join public.products p on p.id = g.product_id
  cross join lateral (
    select min(r.currency) as currency, json_agg(r) as variants
    from (
      select r.id, r.sku, r.title, r.options, r.price::text, r.compare_at_price::text, r.currency,
        coalesce(k.available, 0) as available
      from public.product_variants r
      left join public.stock k on k.variant_id = r.id
      where r.product_id = p.id
        and r.archived_at is null
      order by r.position, r.id
    ) r
  ) v
  where g.place <= {limit}
  order by g.place
) c

-- name: page_newest
-- What was added last comes first.
select s.product_id, to_json(s.listed_at) as sort_key,
  row_number() over (order by s.listed_at desc, s.product_id desc) as place
from public.product_search s
where (s.listed_at, s.product_id) < (:after::timestamptz, :after_id::uuid)
  {filters}
order by s.listed_at desc, s.product_id desc
limit {limit} + 1

-- name: page_price
-- The cheapest comes first.
select s.product_id, to_json(s.price_min::text) as sort_key,
  row_number() over (order by s.price_min, s.product_id) as place
from public.product_search s
where (s.price_min, s.product_id) > (:after::numeric, :after_id::uuid)
  {filters}
order by s.price_min, s.product_id
limit {limit} + 1

-- name: page_price_desc
-- The dearest comes first.
select s.product_id, to_json(s.price_min::text) as sort_key,
  row_number() over (order by s.price_min desc, s.product_id desc) as place
from public.product_search s
where (s.price_min, s.product_id) < (:after::numeric, :after_id::uuid)
  {filters}
order by s.price_min desc, s.product_id desc
limit {limit} + 1

-- name: page_name
-- In the order of the alphabet.
select s.product_id, to_json(s.title_key) as sort_key,
  row_number() over (order by s.title_key, s.product_id) as place
from public.product_search s
where (s.title_key, s.product_id) > (:after::text, :after_id::uuid)
  {filters}
order by s.title_key, s.product_id
limit {limit} + 1

-- name: page_rating
-- What customers like best comes first.
select s.product_id, to_json(s.rating) as sort_key,
  row_number() over (order by s.rating desc, s.product_id desc) as place
from public.product_search s
where (s.rating, s.product_id) < (:after::double precision, :after_id::uuid)
  {filters}
order by s.rating desc, s.product_id desc
limit {limit} + 1

-- name: page_position
-- In the order of the collection.
select s.product_id, to_json(m.position) as sort_key,
  row_number() over (order by m.position, s.product_id) as place
from public.collections o
join public.collection_products m on m.collection_id = o.id
join public.product_search s on s.product_id = m.product_id
where o.slug = :collection::text
  and (m.position, s.product_id) > (:after::bigint, :after_id::uuid)
  {filters}
order by m.position, s.product_id
limit {limit} + 1

-- name: only_category
-- Filed in a category, given by slug or id, or anywhere below it.
and s.category_path @> array[(
  select c.id
  from public.categories c
  where c.slug = :category::text
    or c.id::text = :category::text
)]

-- name: only_collection
-- Part of a collection.
and exists (
  select 1
  from public.collections o
  join public.collection_products m on m.collection_id = o.id
  where o.slug = :collection::text
    and m.product_id = s.product_id
)

-- name: only_brands
-- Of one of these brands.
and s.brand = any (:brands::text[])

-- name: only_price_min
-- With a variant that costs no less.
and s.price_max >= :price_min::numeric

-- name: only_price_max
-- With a variant that costs no more.
and s.price_min <= :price_max::numeric

-- name: only_in_stock
-- With a variant that can be sent now.
and s.in_stock

-- name: only_attribute
-- With one of the wanted values of an attribute, each as code=value.
and s.facts && :attribute_{number}::text[]

-- name: get_product
-- One product with everything that its page shows, as the JSON body of the answer.
select json_build_object(
  'id', p.id,
  'slug', p.slug,
  'title', p.title,
  'description', p.description,
  'brand', p.brand,
  'language', p.language,
  'published_at', p.published_at,
  'categories', coalesce((
    select json_agg(json_build_object('id', n.id, 'slug', n.slug, 'name', n.name) order by n.depth)
    from public.categories c
    join public.categories n on n.id = any (c.path)
    where c.id = p.category_id
  ), '[]'),
  'collections', coalesce((
    select json_agg(json_build_object('slug', o.slug, 'name', o.name) order by o.position, o.name)
    from public.collection_products m
    join public.collections o on o.id = m.collection_id
    where m.product_id = p.id
  ), '[]'),
  'images', coalesce((
    select json_agg(json_build_object(
      'url', i.url, 'alt', i.alt, 'width', i.width, 'height', i.height, 'variant_id', i.variant_id
    ) order by i.position, i.id)
    from public.product_images i
    where i.product_id = p.id
  ), '[]'),
  'attributes', coalesce((
    select json_agg(json_build_object(
      'code', a.code, 'name', a.name, 'kind', a.kind, 'unit', a.unit, 'values', a.given
    ) order by a.position, a.code)
    from (
      select b.code, b.name, b.kind, b.unit, b.position, json_agg(
        coalesce(to_json(w.text_value), to_json(trim_scale(w.number_value)),
          to_json(w.boolean_value), to_json(w.date_value))
        order by w.text_value, w.number_value, w.boolean_value, w.date_value) as given
      from public.product_attribute_values w
      join public.product_attributes b on b.id = w.attribute_id
      where w.product_id = p.id
      group by b.id
    ) a
  ), '[]'),
  'rating', json_build_object(
    'count', p.rating_count,
    'average', round(p.rating_sum::numeric / nullif(p.rating_count, 0), 2),
    'stars', (
      select json_object_agg(n.stars, coalesce(g.count, 0) order by n.stars desc)
      from generate_series(1, 5) as n (stars)
      left join (
        select r.rating, count(*) as count
        from public.product_reviews r
        where r.product_id = p.id
          and r.state = 'approved'
        group by r.rating
      ) g on g.rating = n.stars
    )
  ),
  'variants', coalesce((
    select json_agg(json_build_object(
      'id', r.id, 'sku', r.sku, 'title', r.title, 'options', r.options, 'price', r.price::text,
      'compare_at_price', r.compare_at_price::text, 'currency', r.currency,
      'weight_grams', r.weight_grams, 'available', coalesce(k.available, 0)
    ) order by r.position, r.id)
    from public.product_variants r
    left join public.stock k on k.variant_id = r.id
    where r.product_id = p.id
      and r.archived_at is null
  ), '[]')
)::text
from public.products p
where {match}
  and p.state = 'published'

-- name: match_id
-- The product with this id.
p.id = :id::uuid

-- name: match_slug
-- The product with this slug.
p.slug = :slug::text

-- name: list_categories
-- All categories, parents before children, with how many products are filed in them or below.
select c.id, c.parent_id, c.slug, c.name, c.description, coalesce(n.count, 0) as product_count
from public.categories c
left join (
  select u.id, sum(s.count)::integer as count
  from (
    select category_path, count(*) as count
    from public.product_search
    group by category_path
  ) s
  cross join unnest(s.category_path) as u (id)
  group by u.id
) n on n.id = c.id
order by c.depth, c.position, c.name, c.id

-- name: list_collections
-- All published collections as the JSON body of the answer.
select json_build_object('items', coalesce(json_agg(json_build_object(
    'id', c.id, 'slug', c.slug, 'name', c.name, 'description', c.description,
    'image_url', c.image_url, 'product_count', c.product_count
  ) order by c.position, c.name), '[]'))::text
from (
  select o.id, o.slug, o.name, o.description, o.image_url, o.position, (
      select count(*)
      from public.collection_products m
      join public.product_search s on s.product_id = m.product_id
      where m.collection_id = o.id
    ) as product_count
  from public.collections o
  where o.published_at <= now()
) c

-- name: get_collection
-- One published collection as the JSON body of the answer.
select json_build_object(
    'id', o.id, 'slug', o.slug, 'name', o.name, 'description', o.description,
    'image_url', o.image_url, 'published_at', o.published_at, 'product_count', (
      select count(*)
      from public.collection_products m
      join public.product_search s on s.product_id = m.product_id
      where m.collection_id = o.id
    )
  )::text
from public.collections o
where o.slug = :slug::text
  and o.published_at <= now()
