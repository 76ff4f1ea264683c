-- Stores that are no more pay for nothing.

create policy keep_house on public.subscriptions to current_user using (true) with check (true);
create policy keep_house on public.stores to current_user using (true) with check (true);
update public.subscriptions u
set status = 'cancelled',
  cancelled_at = now()
from public.stores s
where s.id = u.store_id
  and s.deleted_at is not null
  and u.status in ('active', 'trial');
update public.stores
set subscription_status = 'cancelled'
where deleted_at is not null
  and subscription_status in ('active', 'trial');
drop policy keep_house on public.stores;
drop policy keep_house on public.subscriptions;

-- migrate:down
-- What was cancelled stays so.
select 1;
