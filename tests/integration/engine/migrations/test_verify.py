import pytest
from tests.integration.engine.empty_database import EmptyDatabase, MakeEmpty

from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.files import (
    MigrationSet,
    build_set,
    load_migrations,
    parse_migration,
)
from bulkhead.engine.migrations.verify import MigrationUnproven, prove, verify
from bulkhead.engine.schema.diff import Change
from bulkhead.engine.schema.introspect import Kind, introspect
from bulkhead.engine.system import ENGINE_MIGRATIONS

UP = """
create domain money_amount as numeric(12, 2) check (value <> 'NaN');
create table orders (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  total money_amount not null,
  note text
);
comment on table orders is 'Orders.';
create index orders_user_idx on orders (user_id);
alter table orders enable row level security;
alter table orders force row level security;
create policy orders_own on orders for select to authenticated
  using (user_id = (select auth.uid()));
create policy orders_owner on orders to current_user using (true) with check (true);
grant select on orders to authenticated;
grant update (note) on orders to authenticated;
create function private.touch() returns trigger language plpgsql security definer
  set search_path = '' as $$ begin return new; end $$;
create trigger orders_touch before update on orders for each row execute function private.touch();
create view totals with (security_invoker = true) as select sum(total) as total from orders;
"""
DOWN = """
drop view totals;
drop table orders;
drop function private.touch();
drop domain money_amount;
"""


def shop(up: str = UP, down: str = DOWN) -> MigrationSet:
    text = f"{up}-- migrate:down{down}"
    return build_set("shop", [parse_migration("shop", "0001_orders.sql", text)])


async def test_a_database_built_from_its_files_does_not_differ(make_empty: MakeEmpty) -> None:
    database, scratch = await make_empty(), await make_empty()
    await apply(database.connection, database.spec, [shop()])
    found = await verify(database.connection, scratch.connection, scratch.spec, [shop()])
    assert found == ()


DRIFT = [
    ("alter table orders disable row level security", Kind.TABLE, Change.CHANGED),
    ("alter table orders no force row level security", Kind.TABLE, Change.CHANGED),
    ("alter policy orders_own on orders using (true)", Kind.POLICY, Change.CHANGED),
    ("alter policy orders_own on orders to public", Kind.POLICY, Change.CHANGED),
    ("drop policy orders_own on orders", Kind.POLICY, Change.MISSING),
    ("create policy more on orders using (true)", Kind.POLICY, Change.UNEXPECTED),
    ("grant insert on orders to anon", Kind.GRANT, Change.UNEXPECTED),
    ("grant update (total) on orders to authenticated", Kind.GRANT, Change.UNEXPECTED),
    ("revoke select on orders from authenticated", Kind.GRANT, Change.MISSING),
    ("grant create on schema public to public", Kind.GRANT, Change.UNEXPECTED),
    ("alter default privileges in schema public grant select on tables to anon", None, None),
    ("alter table orders alter column note set not null", Kind.COLUMN, Change.CHANGED),
    ("alter table orders alter column note set default 'x'", Kind.COLUMN, Change.CHANGED),
    ("alter table orders add column extra text", Kind.COLUMN, Change.UNEXPECTED),
    ("alter table orders alter column note type varchar(9)", Kind.COLUMN, Change.CHANGED),
    ("alter table orders add check (total > 0)", Kind.CONSTRAINT, Change.UNEXPECTED),
    ("drop index orders_user_idx", Kind.INDEX, Change.MISSING),
    ("alter table orders disable trigger orders_touch", Kind.TRIGGER, Change.CHANGED),
    ("drop trigger orders_touch on orders", Kind.TRIGGER, Change.MISSING),
    ("alter function private.touch() security invoker", Kind.FUNCTION, Change.CHANGED),
    ("alter function private.touch() reset all", Kind.FUNCTION, Change.CHANGED),
    ("alter function private.touch() leakproof", Kind.FUNCTION, Change.CHANGED),
    ("alter view totals set (security_invoker = false)", Kind.VIEW, Change.CHANGED),
    ("alter domain money_amount drop constraint money_amount_check", Kind.TYPE, Change.CHANGED),
    ("create type mood as enum ('good')", Kind.TYPE, Change.UNEXPECTED),
    ("create sequence counter", Kind.SEQUENCE, Change.UNEXPECTED),
    ("create schema other", Kind.SCHEMA, Change.UNEXPECTED),
    ("comment on table orders is 'Changed.'", Kind.COMMENT, Change.CHANGED),
    ("create extension pg_trgm schema extensions", Kind.EXTENSION, Change.UNEXPECTED),
    ("create publication everything for table orders", Kind.PUBLICATION, Change.UNEXPECTED),
    ("create statistics s on user_id, note from orders", Kind.STATISTICS, Change.UNEXPECTED),
    ("create rule r as on delete to orders do instead nothing", Kind.RULE, Change.UNEXPECTED),
    ("alter table orders owner to anon", Kind.TABLE, Change.CHANGED),
]


async def test_every_kind_of_drift_is_found(empty: EmptyDatabase) -> None:
    connection = empty.connection
    await apply(connection, empty.spec, [shop()])
    from_files = await introspect(connection)
    unseen = []
    for statement, kind, change in DRIFT:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(statement)
        found = await introspect(connection)
        await transaction.rollback()
        changes = (
            {
                (key[0], Change.UNEXPECTED)
                for key in found.objects.keys() - from_files.objects.keys()
            }
            | {(key[0], Change.MISSING) for key in from_files.objects.keys() - found.objects.keys()}
            | {
                (key[0], Change.CHANGED)
                for key in from_files.objects.keys() & found.objects.keys()
                if from_files.objects[key] != found.objects[key]
            }
        )
        if (kind, change) not in changes and not (kind is None and changes):
            unseen.append((statement, changes))
    assert unseen == []
    assert await introspect(connection) == from_files


async def test_introspecting_in_a_transaction_leaves_the_search_path(empty: EmptyDatabase) -> None:
    async with empty.connection.transaction():
        await empty.connection.execute("set local search_path = private")
        await introspect(empty.connection)
        assert await empty.connection.fetchval("select current_setting('search_path')") == "private"


async def test_a_migration_with_a_complete_way_down_is_proven(empty: EmptyDatabase) -> None:
    assert await prove(empty.connection, empty.spec, [shop()]) == ("shop/0001_orders.sql",)


@pytest.mark.parametrize(
    ("down", "left"),
    [
        (DOWN.replace("drop domain money_amount;", ""), "type public.money_amount"),
        (DOWN.replace("drop function private.touch();", ""), "function private.touch()"),
    ],
)
async def test_a_way_down_that_forgets_is_not(empty: EmptyDatabase, down: str, left: str) -> None:
    with pytest.raises(MigrationUnproven) as caught:
        await prove(empty.connection, empty.spec, [shop(down=down)])
    assert left in caught.value.advice


async def test_the_engine_s_own_migrations_are_proven(empty: EmptyDatabase) -> None:
    engine = load_migrations("engine", ENGINE_MIGRATIONS)
    assert len(await prove(empty.connection, empty.spec, [engine])) == engine.latest
