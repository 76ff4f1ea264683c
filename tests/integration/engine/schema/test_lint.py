from dataclasses import replace

from tests.integration.engine.empty_database import EmptyDatabase
from tests.integration.engine.schema.guarded import DATABASE

from bulkhead.engine.schema.lint.findings import Finding, lint
from bulkhead.engine.schema.lint.rules import CATALOGUE_RULES, TOPOLOGY_RULES, Level
from bulkhead.engine.topology import Access, Table

BREAKS = {
    "rls_disabled": "alter table notes disable row level security",
    "rls_not_forced": "alter table notes no force row level security",
    "partition_without_rls": """
        create table events (id uuid, at date, primary key (id, at)) partition by range (at);
        alter table events enable row level security;
        alter table events force row level security;
        create table events_2026 partition of events for values from ('2026-01-01')
          to ('2027-01-01')""",
    "rls_without_policy": "grant select on secrets to authenticated",
    "write_without_read": "grant insert on secrets to authenticated",
    "client_holds_table_right": "grant truncate on notes to authenticated",
    "granted_to_everybody": "grant select on topics to public",
    "materialized_view_exposed": "create materialized view m as select 1 as one",
    "view_bypasses_rls": "alter view pinned_notes reset (security_invoker)",
    "foreign_key_unindexed": "drop index notes_topic",
    "policy_column_unindexed": "drop index notes_user",
    "number_accepts_nan": "alter table notes add column weight numeric check (weight > 0)",
    "table_without_key": "alter table secrets drop constraint secrets_pkey",
    "key_guessable": """
        grant select on secrets to authenticated;
        create policy read on secrets for select to authenticated using (id = 1)""",
    "secret_readable": "alter table notes add column api_key text",
    "publication_shows_all_columns": """
        alter table notes replica identity full;
        create publication changes for table notes""",
    "policy_for_everybody": "create policy more on notes for select using (pinned)",
    "policy_without_check": """
        drop policy update_own on notes;
        create policy update_own on notes for update to authenticated
          using (user_id = (select auth.uid()))""",
    "policy_all_with_or": """
        create policy more on notes for all to authenticated
          using (user_id = (select auth.uid()) or pinned) with check (pinned)""",
    "policy_always_true": """
        create policy more on notes for update to authenticated using (true) with check (pinned)""",
    "policy_trusts_user_metadata": """
        create policy more on notes for select to authenticated
          using ((select auth.jwt() -> 'user_metadata' ->> 'role') = 'staff')""",
    "policy_evaluates_per_row": """
        create policy more on notes for select to authenticated using (user_id = auth.uid())""",
    "policy_reads_own_table": """
        create policy more on notes for select to authenticated
          using (exists (select 1 from notes n where n.topic_id = notes.topic_id))""",
    "policy_without_rls": "alter table notes disable row level security",
    "policy_without_grant": """
        create policy more on secrets for select to authenticated using (id = 1)""",
    "policies_overlap": """
        create policy more on notes for select to authenticated using (pinned)""",
    "policy_inequality": """
        create policy more on notes for select to authenticated
          using (user_id <> (select auth.uid()))""",
    "policy_calls_volatile": """
        create function private.noisy() returns boolean language sql volatile
          set search_path = '' as 'select true';
        create policy more on notes for select to authenticated
          using ((select private.noisy()))""",
    "claims_unguarded": """
        create function private.bad() returns jsonb language sql stable set search_path = ''
          as $$ select current_setting('request.jwt.claims', true)::jsonb $$""",
    "definer_search_path": """
        create function private.bad() returns int language sql security definer
          as 'select 1'""",
    "definer_callable": """
        create function bad() returns int language sql security definer set search_path = ''
          as 'select 1';
        grant execute on function bad() to authenticated""",
    "definer_granted": """
        create function private.bad() returns int language sql security definer
          set search_path = '' as 'select 1';
        grant execute on function private.bad() to anon""",
    "function_for_everybody": "grant execute on function private.is_staff() to public",
    "function_leakproof": "alter function private.is_staff() leakproof",
    "function_search_path": "alter function private.is_staff() reset all",
    "function_changes_scope": """
        create function private.bad() returns void language plpgsql set search_path = ''
          as $$ begin perform set_config('role', 'service_role', true); end $$""",
    "function_pastes_sql": """
        create function private.bad(t text) returns void language plpgsql set search_path = ''
          as $$ begin execute 'select ' || t; end $$""",
    "schema_creatable": "grant create on schema public to public",
    "schema_open": "grant usage on schema bulkhead to authenticated",
    "database_temporary": "do $$ begin execute format('grant temporary on database %I to anon',"
    " current_database()); end $$",
    "database_open": "do $$ begin execute format('grant connect on database %I to public',"
    " current_database()); end $$",
    "role_reaches_bypass": "do $$ begin execute format('grant service_role to %I_client',"
    " current_database()); end $$",
    "client_role_attributes": "alter role anon bypassrls",
    "owner_can_log_in": "create role landlord login; alter table notes owner to landlord",
    "default_privilege_open": "alter default privileges in schema public"
    " grant select on tables to anon",
    "login_without_timeout": "do $$ begin execute format('alter role %I_client reset all',"
    " current_database()); end $$",
    "extension_exposed": "create extension pg_trgm schema public",
    "sequence_writable": "create sequence counter; grant update on sequence counter to anon",
}
NEEDS_A_SERVER = {"foreign_table_exposed"}


def names(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.name for finding in findings}


async def test_a_guarded_database_has_no_finding(guarded: EmptyDatabase) -> None:
    assert await lint(guarded.connection, DATABASE) == (
        *[f for f in await lint(guarded.connection, DATABASE) if f.name == "policies_overlap"],
    )


async def test_each_rule_finds_what_it_is_for(guarded: EmptyDatabase) -> None:
    assert {rule.name for rule in CATALOGUE_RULES} == BREAKS.keys() | NEEDS_A_SERVER
    before = {finding.cache_key for finding in await lint(guarded.connection)}
    silent = []
    for rule, statements in BREAKS.items():
        transaction = guarded.connection.transaction()
        await transaction.start()
        # As the owner would in a migration; what only an administrator can do fails as owner.
        savepoint = guarded.connection.transaction()
        await savepoint.start()
        try:
            await guarded.connection.execute(f"set local role {guarded.spec.owner}; {statements}")
            await guarded.connection.execute("reset role")
        except Exception:  # noqa: BLE001
            await savepoint.rollback()
            await guarded.connection.execute(statements)
        found = await lint(guarded.connection)
        await transaction.rollback()
        if not {f.name for f in found if f.cache_key not in before} >= {rule}:
            silent.append((rule, names(found)))
    assert silent == []


async def test_a_foreign_table_is_an_error(guarded: EmptyDatabase) -> None:
    transaction = guarded.connection.transaction()
    await transaction.start()
    await guarded.connection.execute(
        "create extension postgres_fdw schema extensions;"
        "create server elsewhere foreign data wrapper postgres_fdw;"
        "create foreign table far (id integer) server elsewhere"
    )
    assert "foreign_table_exposed" in names(await lint(guarded.connection))
    await transaction.rollback()


async def test_the_topology_is_held_against_the_catalogue(guarded: EmptyDatabase) -> None:
    notes = DATABASE.table("notes")
    assert notes is not None
    others = tuple(table for table in DATABASE.tables if table.name not in ("notes", "secrets"))
    wrong = replace(
        DATABASE,
        tables=(
            *others,
            Table("ghosts", Access.of(anon="select")),
            replace(notes, key=("topic_id",), owner="created_at", update_columns=frozenset({"no"})),
        ),
    )
    found = {(f.name, f.object) for f in await lint(guarded.connection, wrong)}
    assert found >= {
        ("table_undeclared", "public.secrets"),
        ("table_missing", "public.ghosts"),
        ("key_differs", "public.notes"),
        ("column_missing", "public.notes.no"),
        ("owner_unindexed", "public.notes.created_at"),
    }


async def test_rows_of_several_owners_that_meet_are_pointed_out(guarded: EmptyDatabase) -> None:
    await guarded.connection.execute(
        "alter table notes add column answers uuid references notes (id);"
        "create unique index on notes (body)"
    )
    found = {f.name for f in await lint(guarded.connection, DATABASE)}
    assert {"foreign_key_crosses_owners", "unique_shared_by_owners"} <= found
    assert {rule.name for rule in TOPOLOGY_RULES} >= found & {r.name for r in TOPOLOGY_RULES}


async def test_a_muted_finding_is_left_out(guarded: EmptyDatabase) -> None:
    await guarded.connection.execute("drop index notes_topic")
    (finding,) = [f for f in await lint(guarded.connection) if f.name == "foreign_key_unindexed"]
    assert finding.cache_key == "foreign_key_unindexed:public.notes"
    muted = await lint(guarded.connection, muted={finding.cache_key})
    assert finding not in muted


async def test_errors_come_first(guarded: EmptyDatabase) -> None:
    await guarded.connection.execute(
        "drop index notes_topic; alter table notes disable row level security"
    )
    levels = [finding.level for finding in await lint(guarded.connection)]
    assert levels == sorted(levels, key=list(Level).index)
    assert levels[0] is Level.ERROR
