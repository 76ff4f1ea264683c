-- Mail that is still to be handed over, and how much of each rate limit is used up.

create table private.mail_queue (
  id uuid primary key,
  recipient text not null check (char_length(recipient) between 3 and 255),
  subject text not null,
  text_body text not null,
  html_body text not null,
  state text not null default 'queued' check (state in ('queued', 'sent', 'parked')),
  attempts integer not null default 0,
  due_at timestamptz not null default now(),
  last_error text,
  created_at timestamptz not null default now(),
  sent_at timestamptz,
  check ((state = 'sent') = (sent_at is not null))
);
comment on table private.mail_queue is
  'Written by the transaction that causes the mail, handed over after its commit.';
comment on column private.mail_queue.due_at is
  'When the next attempt is due; whoever makes one moves it on first, which is the lease.';
comment on column private.mail_queue.attempts is
  'Counts attempts, and tells a worker that came too late from the one that took over.';
create index mail_queue_due_idx on private.mail_queue (due_at) where state = 'queued';
create index mail_queue_created_at_idx on private.mail_queue (created_at desc, id desc);

create unlogged table private.rate_limits (
  key text primary key,
  full_at timestamptz not null
) with (fillfactor = 70);
comment on table private.rate_limits is
  'Token buckets: when each will be full again. Not logged: after a crash all of them are full.';

alter table private.mail_queue enable row level security;
alter table private.mail_queue force row level security;
alter table private.rate_limits enable row level security;
alter table private.rate_limits force row level security;

-- migrate:down
drop table private.rate_limits;
drop table private.mail_queue;
