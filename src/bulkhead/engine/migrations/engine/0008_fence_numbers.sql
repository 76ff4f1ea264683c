-- How long nobody could write while a tenant was moved is a number, and no NaN.

alter table bulkhead.fleet_moves add constraint fleet_moves_fence_ms
  check (fence_ms >= 0 and fence_ms < 'Infinity');

-- migrate:down
alter table bulkhead.fleet_moves drop constraint fleet_moves_fence_ms;
