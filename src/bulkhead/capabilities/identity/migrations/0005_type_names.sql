-- The names of Supabase's types, for SQL that casts to them; the columns hold text that is checked.

create domain auth.aal_level as text check (value in ('aal1', 'aal2', 'aal3'));
create domain auth.code_challenge_method as text check (value in ('s256', 'plain'));
create domain auth.factor_status as text check (value in ('unverified', 'verified'));
create domain auth.factor_type as text check (value in ('totp', 'webauthn', 'phone'));
create domain auth.one_time_token_type as text check (value in (
  'confirmation_token', 'reauthentication_token', 'recovery_token', 'email_change_token_new',
  'email_change_token_current', 'phone_change_token'
));

-- migrate:down
drop domain auth.one_time_token_type;
drop domain auth.factor_type;
drop domain auth.factor_status;
drop domain auth.code_challenge_method;
drop domain auth.aal_level;
