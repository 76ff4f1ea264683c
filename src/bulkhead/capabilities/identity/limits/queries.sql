-- name: take
-- Take one token out of a bucket of $2 tokens, one of which comes back every $3 seconds; no row
-- when it is empty. The bucket is the instant at which it will be full again.
insert into private.rate_limits as r (key, full_at)
values ($1, clock_timestamp() + make_interval(secs => $3::float8))
on conflict (key) do update
set full_at = greatest(r.full_at, clock_timestamp()) + make_interval(secs => $3::float8)
where greatest(r.full_at, clock_timestamp()) + make_interval(secs => $3::float8)
  <= clock_timestamp() + make_interval(secs => $2::float8 * $3)
returning true

-- name: get_wait
-- In how many seconds an empty bucket will have a token again.
select extract(epoch from
    full_at - make_interval(secs => ($2::float8 - 1) * $3::float8) - clock_timestamp()
  )::float8
from private.rate_limits
where key = $1

-- name: refill
-- Fill a bucket.
delete from private.rate_limits
where key = $1

-- name: prune
-- Forget buckets that are full.
delete from private.rate_limits
where full_at < now()
