-- Deleted users leave a tombstone, by which the other databases learn of it.

create trigger user_profiles_tombstone after delete on public.user_profiles
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');

-- migrate:down
drop trigger user_profiles_tombstone on public.user_profiles;
