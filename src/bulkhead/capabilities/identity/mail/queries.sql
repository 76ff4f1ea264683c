-- name: queue_mail
-- A mail to hand over once this transaction is committed; none if $6 is no user of ours. Of mails
-- that wait for one another the last one is the latest, whoever began first.
insert into private.mail_queue (id, recipient, subject, text_body, html_body, channel, created_at)
select $1::uuid, $2::text, $3::text, $4::text, $5::text, $7::text, clock_timestamp()
where $6::uuid is null
  or exists (
    select
    from auth.users
    where id = $6
  )

-- name: claim_mail
-- Take over mails that are due; nobody else gets them before the lease of $2 seconds has run out.
update private.mail_queue m
set attempts = m.attempts + 1, due_at = now() + make_interval(secs => $2)
from (
  select id
  from private.mail_queue
  where state = 'queued'
    and due_at <= now()
  order by due_at
  limit $1
  for update skip locked
) due
where m.id = due.id
returning m.id, m.recipient, m.subject, m.text_body, m.html_body, m.channel,
  m.attempts

-- name: mark_sent
-- The mail was handed over; its secrets are forgotten when $3 is true.
update private.mail_queue
set state = 'sent', sent_at = now(), last_error = null,
  text_body = case when $3 then '' else text_body end,
  html_body = case when $3 then '' else html_body end
where id = $1
  and attempts = $2
  and state = 'queued'

-- name: postpone_mail
-- Try again later.
update private.mail_queue
set due_at = now() + make_interval(secs => $3), last_error = $4
where id = $1
  and attempts = $2
  and state = 'queued'

-- name: park_mail
-- Give up: only a person can help.
update private.mail_queue
set state = 'parked', last_error = $3
where id = $1
  and attempts = $2
  and state = 'queued'

-- name: list_mail
-- The latest mails, newest first, to one recipient or to anybody.
select id, recipient, subject, text_body, html_body, channel, state, attempts, last_error,
  created_at
from private.mail_queue
where ($1::text is null or recipient = $1)
  and channel = any ($3)
order by created_at desc, id desc
limit $2

-- name: count_mail
-- How many mails wait, and how many were given up.
select count(*) filter (where state = 'queued') as queued,
  count(*) filter (where state = 'parked') as parked
from private.mail_queue
where state <> 'sent'

-- name: prune_mail
-- Forget mails that were handed over or given up long ago.
delete from private.mail_queue
where state <> 'queued'
  and created_at < now() - make_interval(days => $1)
