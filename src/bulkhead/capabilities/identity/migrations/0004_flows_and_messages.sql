-- A code remembers the sign-in it belongs to, and text messages wait beside the mail.

alter table auth.one_time_tokens
  add column flow_state_id uuid references auth.flow_state (id) on delete set null;
comment on column auth.one_time_tokens.flow_state_id is
  'The sign-in under way that ends with a code for the client, when one was begun (PKCE).';
create index one_time_tokens_flow_state_id_idx on auth.one_time_tokens (flow_state_id)
  where flow_state_id is not null;

alter table private.mail_queue
  add column channel text not null default 'email' check (channel in ('email', 'sms', 'whatsapp'));
comment on column private.mail_queue.channel is
  'What the recipient is: an e-mail address, or a telephone number in digits.';

-- migrate:down
alter table private.mail_queue drop column channel;
alter table auth.one_time_tokens drop column flow_state_id;
