-- Returns and support tickets: what customers may open themselves, in their first state only.

create table public.returns (
  id uuid primary key default gen_random_uuid(),
  order_id uuid not null,
  line_number integer not null,
  user_id uuid not null default auth.uid(),
  quantity integer not null check (quantity > 0),
  kind text not null default 'refund' check (kind in ('refund', 'exchange')),
  reason text not null check (
    reason in ('damaged', 'wrong_item', 'not_as_described', 'does_not_fit', 'changed_mind', 'other')
  ),
  comment text not null default '' check (char_length(comment) <= 2000),
  state text not null default 'requested' check (
    state in ('requested', 'approved', 'refused', 'cancelled', 'received', 'inspected', 'refunded',
      'exchanged')
  ),
  disposition text check (disposition in ('restock', 'write_off')),
  staff_note text check (char_length(staff_note) <= 2000),
  exchange_order_id uuid references public.orders (id) on delete set null,
  decided_at timestamptz,
  received_at timestamptz,
  closed_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (order_id, line_number)
    references public.order_items (order_id, line_number) on delete restrict,
  constraint returns_inspected
    check (disposition is not null or state not in ('inspected', 'refunded', 'exchanged'))
);
comment on table public.returns is 'Goods on their way back: each row some pieces of one line.';
create index returns_line on public.returns (order_id, line_number);
create index returns_user on public.returns (user_id, created_at desc, id desc);
create index returns_state on public.returns (state, created_at desc, id desc);
create index returns_exchange on public.returns (exchange_order_id)
  where exchange_order_id is not null;
create trigger returns_edges before update on public.returns
  for each row when (old.state is distinct from new.state)
  execute function private.check_state_edge(
    'requested>approved', 'requested>refused', 'requested>cancelled', 'approved>received',
    'approved>cancelled', 'received>inspected', 'inspected>refunded', 'inspected>exchanged'
  );
create trigger returns_keep before update on public.returns
  for each row when (
    (old.order_id, old.line_number, old.user_id, old.quantity)
    is distinct from (new.order_id, new.line_number, new.user_id, new.quantity)
  )
  execute function private.refuse_change('line');

create function private.stamp_return() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at := now();
  if new.state <> old.state then
    case new.state
      when 'approved' then new.decided_at := now();
      when 'received' then new.received_at := now();
      when 'inspected' then null;
      else new.closed_at := now();
    end case;
  end if;
  return new;
end
$$;
comment on function private.stamp_return() is
  'Trigger before update: keeps updated_at and the time of each state.';
create trigger returns_stamp before update on public.returns
  for each row execute function private.stamp_return();

create function private.count_returned() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  returned integer := 0;
  line public.returns := coalesce(new, old);
begin
  if tg_op <> 'INSERT' and old.state not in ('refused', 'cancelled') then
    returned := returned - old.quantity;
  end if;
  if tg_op <> 'DELETE' and new.state not in ('refused', 'cancelled') then
    returned := returned + new.quantity;
  end if;
  if returned <> 0 then
    update public.order_items i
    set returned_quantity = i.returned_quantity + returned
    where i.order_id = line.order_id
      and i.line_number = line.line_number;
  end if;
  return null;
end
$$;
comment on function private.count_returned() is
  'Trigger after a change: counts the return on its line, whose lock and CHECK keep any number of
returns at once from sending back more than was bought.';
create constraint trigger returns_within_line after insert or update or delete on public.returns
  for each row execute function private.count_returned();

create table public.support_tickets (
  id uuid primary key default gen_random_uuid(),
  user_id uuid default auth.uid(),
  order_id uuid references public.orders (id) on delete set null,
  topic text not null default 'other'
    check (topic in ('order', 'payment', 'delivery', 'return', 'product', 'account', 'other')),
  subject text not null check (char_length(subject) between 1 and 200),
  body text not null check (char_length(body) between 1 and 10000),
  opened_by text not null default 'customer' check (opened_by in ('customer', 'system')),
  priority text not null default 'normal' check (priority in ('low', 'normal', 'high')),
  state text not null default 'open' check (state in ('open', 'waiting', 'resolved', 'closed')),
  assigned_to uuid,
  due_at timestamptz not null default now() + interval '1 day',
  resolved_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.support_tickets is
  'Questions of customers, and what the application itself could not settle.';
create index support_tickets_user on public.support_tickets (user_id, created_at desc, id desc);
create index support_tickets_order on public.support_tickets (order_id) where order_id is not null;
create index support_tickets_due on public.support_tickets (due_at, id)
  where state in ('open', 'waiting');
create index support_tickets_newest on public.support_tickets (created_at desc, id desc);
create index support_tickets_assignee on public.support_tickets (assigned_to, created_at desc)
  where assigned_to is not null;
create trigger support_tickets_edges before update on public.support_tickets
  for each row when (old.state is distinct from new.state)
  execute function private.check_state_edge(
    'open>waiting', 'open>resolved', 'open>closed', 'waiting>open', 'waiting>resolved',
    'waiting>closed', 'resolved>open', 'resolved>closed'
  );
create trigger support_tickets_keep_user before update on public.support_tickets
  for each row when (old.user_id is distinct from new.user_id and new.user_id is not null)
  execute function private.refuse_change('user_id');

create function private.stamp_ticket() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at := now();
  if new.state in ('resolved', 'closed') then
    new.resolved_at := coalesce(old.resolved_at, now());
  else
    new.resolved_at := null;
  end if;
  return new;
end
$$;
comment on function private.stamp_ticket() is
  'Trigger before update: keeps updated_at and when the ticket was resolved.';
create trigger support_tickets_stamp before update on public.support_tickets
  for each row execute function private.stamp_ticket();

alter table public.returns enable row level security;
alter table public.returns force row level security;
alter table public.support_tickets enable row level security;
alter table public.support_tickets force row level security;

create policy count_returns_read on public.order_items for select to current_user using (true);
create policy count_returns on public.order_items for update to current_user
  using (true) with check (true);

create policy read_own on public.returns for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_staff on public.returns for select to authenticated
  using ((select private.is_staff()));
create policy request_own on public.returns for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and exists (
      select 1
      from public.orders o
      where o.id = order_id
        and o.user_id = (select auth.uid())
        and o.state in ('shipped', 'delivered')
    )
  );
grant select on public.returns to authenticated;
grant insert (id, order_id, line_number, user_id, quantity, kind, reason, comment)
  on public.returns to authenticated;

create policy read_own on public.support_tickets for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_staff on public.support_tickets for select to authenticated
  using ((select private.is_staff()));
create policy open_own on public.support_tickets for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and (
      order_id is null
      or exists (
        select 1 from public.orders o where o.id = order_id and o.user_id = (select auth.uid())
      )
    )
  );
create policy work_staff on public.support_tickets for update to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.support_tickets to authenticated;
grant insert (id, user_id, order_id, topic, subject, body), update (priority, state, assigned_to)
  on public.support_tickets to authenticated;

-- migrate:down
drop policy count_returns on public.order_items;
drop policy count_returns_read on public.order_items;
drop table public.support_tickets;
drop table public.returns;
drop function private.stamp_ticket();
drop function private.count_returned();
drop function private.stamp_return();
