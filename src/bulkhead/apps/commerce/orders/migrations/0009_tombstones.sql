-- Deleted orders leave a tombstone, by which the other databases learn of it.

create trigger orders_tombstone after delete on public.orders
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');
create trigger returns_tombstone after delete on public.returns
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');
create trigger support_tickets_tombstone after delete on public.support_tickets
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');

-- migrate:down
drop trigger support_tickets_tombstone on public.support_tickets;
drop trigger returns_tombstone on public.returns;
drop trigger orders_tombstone on public.orders;
