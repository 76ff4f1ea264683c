-- A code of an authenticator counts once, and a challenge for a few attempts.

alter table auth.mfa_factors add column last_used_step bigint;
comment on column auth.mfa_factors.last_used_step is
  'The period of 30 s, counted since 1970, whose code was accepted last; no earlier one counts.';

alter table auth.mfa_challenges add column failed_attempts integer not null default 0;
comment on column auth.mfa_challenges.failed_attempts is 'How many wrong codes were tried.';

-- It would refuse a challenge because another user was challenged in the same microsecond.
alter table auth.mfa_factors drop constraint mfa_factors_last_challenged_at_key;

-- migrate:down
alter table auth.mfa_factors add constraint mfa_factors_last_challenged_at_key
  unique (last_challenged_at);
alter table auth.mfa_challenges drop column failed_attempts;
alter table auth.mfa_factors drop column last_used_step;
