-- name: create_runner
-- Runs statements under a role and claims, each undone; one round trip for all of them.
create function pg_temp.run_probes(p_sql text[], p_roles text[], p_claims text[])
returns table (changed bigint, state text, message text, place text)
language plpgsql
as $$
begin
  for number in 1 .. cardinality(p_sql) loop
    begin
      perform pg_catalog.set_config('role', p_roles[number], true),
        pg_catalog.set_config('request.jwt.claims', p_claims[number], true);
      execute p_sql[number];
      get diagnostics changed = row_count;
      raise exception using errcode = 'BHP00';
    exception when others then
      get stacked diagnostics
        state = returned_sqlstate,
        message = message_text,
        place = pg_exception_context;
    end;
    if state <> 'BHP00' then
      changed := null;
    end if;
    return next;
  end loop;
end
$$

-- name: drop_runner
-- Takes the function back where the transaction goes on.
drop function pg_temp.run_probes(text[], text[], text[])

-- name: run
-- Runs the probes given as three arrays of the same length.
select r.changed, r.state, r.message, r.place
from pg_temp.run_probes($1, $2, $3) r
