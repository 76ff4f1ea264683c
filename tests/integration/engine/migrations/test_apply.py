import asyncio

import pytest
from tests.integration.engine.empty_database import EmptyDatabase, MakeEmpty

from bulkhead.engine import failpoints
from bulkhead.engine.drivers.errors import CommitUnknown, ConnectionLost
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.files import MigrationSet, build_set, parse_migration
from bulkhead.engine.migrations.plan import MigrationChanged, PlanStale, plan_apply
from bulkhead.engine.migrations.registry import list_applied
from bulkhead.engine.migrations.rollback import roll_back
from bulkhead.engine.migrations.run import (
    BEFORE_COMMIT,
    BEFORE_STATEMENT,
    MigrationFailed,
    TransactionEnded,
)
from bulkhead.engine.migrations.status import read_status
from bulkhead.engine.schema.introspect import introspect

FILES = {
    "0001_products.sql": """-- Products.
create table products (id integer primary key, name text not null);
insert into products (id, name) values (1, 'one; two');

-- migrate:down
drop table products;
""",
    "0002_views.sql": """-- A view and a function.
set local search_path = '';
create view public.names with (security_invoker = true) as select name from public.products;
create function public.twice(n integer) returns integer language sql as $$ select n * 2; $$;

-- migrate:down
drop function public.twice(integer);
drop view public.names;
""",
    "0003_prices.sql": """-- Prices.
alter table products add column price numeric(12, 2) not null default 0;

-- migrate:down
alter table products drop column price;
""",
}


def shop(*extra: tuple[str, str], files: dict[str, str] | None = None) -> MigrationSet:
    texts = [*(FILES if files is None else files).items(), *extra]
    return build_set("shop", [parse_migration("shop", *text) for text in texts], mirrored=True)


async def tables(database: EmptyDatabase) -> list[str]:
    rows = await database.connection.fetch(
        "select c.relname, pg_get_userbyid(c.relowner) as owner from pg_class c "
        "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') order by 1"
    )
    return [f"{row['relname']} {row['owner']}" for row in rows]


async def test_files_are_applied_as_the_owner_recorded_and_mirrored(empty: EmptyDatabase) -> None:
    run = await apply(empty.connection, empty.spec, [shop()])
    assert [step.label for step in run.steps] == ["0001_products", "0002_views", "0003_prices"]
    owner = empty.spec.owner
    assert await tables(empty) == [f"names {owner}", f"products {owner}"]
    applied = await list_applied(empty.connection)
    assert [(row.namespace, row.label) for row in applied] == [
        ("shop", "0001_products"),
        ("shop", "0002_views"),
        ("shop", "0003_prices"),
    ]
    mirror = await empty.connection.fetch(
        "select version, name, statements from supabase_migrations.schema_migrations order by 1"
    )
    assert [(row["version"], row["name"]) for row in mirror] == [
        ("0001", "products"),
        ("0002", "views"),
        ("0003", "prices"),
    ]
    assert mirror[0]["statements"][1].endswith("'one; two')")


async def test_applying_again_finds_nothing_to_do(empty: EmptyDatabase) -> None:
    await apply(empty.connection, empty.spec, [shop()])
    run = await apply(empty.connection, empty.spec, [shop()])
    assert run.steps == ()
    assert (await read_status(empty.connection, empty.spec, [shop()])).is_current


async def test_the_session_keeps_neither_role_nor_settings(empty: EmptyDatabase) -> None:
    before = await empty.connection.fetchrow(
        "select current_user, current_setting('search_path'), current_setting('lock_timeout')"
    )
    await apply(empty.connection, empty.spec, [shop()])
    after = await empty.connection.fetchrow(
        "select current_user, current_setting('search_path'), current_setting('lock_timeout')"
    )
    assert tuple(before) == tuple(after)


async def test_a_setting_of_one_migration_is_gone_in_the_next(empty: EmptyDatabase) -> None:
    # 0002 empties the search path, so that 0003 would not find `products` if it were inherited.
    run = await apply(empty.connection, empty.spec, [shop()])
    assert run.steps[-1].label == "0003_prices"


@pytest.mark.parametrize(
    ("statement", "line", "sqlstate"),
    [
        ("create table gaps (\n  id integer,\n  x nonsense\n)", 5, "42704"),
        ("insert into products (id, name)\nvalues (1, 'again')", 3, "23505"),
        ("select 1 / 0", 3, "22012"),
        ("create table anon.t (id integer)", 3, "3F000"),
    ],
)
async def test_a_failure_names_file_line_and_state_and_changes_nothing(
    empty: EmptyDatabase, statement: str, line: int, sqlstate: str
) -> None:
    text = f"-- Broken.\nselect 1;\n{statement};\n-- migrate:down\nselect 1;"
    with pytest.raises(MigrationFailed) as caught:
        await apply(empty.connection, empty.spec, [shop(("0004_broken.sql", text))])
    assert caught.value.details["file"] == "shop/0004_broken.sql"
    assert caught.value.details["line"] == line
    assert caught.value.details["sqlstate"] == sqlstate
    assert caught.value.advice == statement.splitlines()[0]
    assert await tables(empty) == []
    assert await list_applied(empty.connection) == ()


async def test_a_migration_cannot_do_what_the_owner_cannot(empty: EmptyDatabase) -> None:
    text = "alter role anon bypassrls;\n-- migrate:down\nselect 1;"
    with pytest.raises(MigrationFailed, match="42501"):
        await apply(empty.connection, empty.spec, [shop(("0004_rights.sql", text))])


async def test_a_block_cannot_end_the_transaction(
    empty: EmptyDatabase,
) -> None:
    text = "do $$ begin commit; end $$;\n-- migrate:down\nselect 1;"
    with pytest.raises((MigrationFailed, TransactionEnded)):
        await apply(empty.connection, empty.spec, [shop(("0004_commits.sql", text))])
    assert await tables(empty) == []


async def test_of_many_appliers_one_does_the_work_and_the_others_wait(empty: EmptyDatabase) -> None:
    connections = [await empty.connect() for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(apply(each, empty.spec, [shop()])) for each in connections]
    assert sorted(len(task.result().steps) for task in tasks) == [0, 0, 0, 3]
    for connection in connections:
        await connection.close()


async def test_apply_can_be_pinned_to_the_plan_that_was_shown(empty: EmptyDatabase) -> None:
    first = shop(files={"0001_products.sql": FILES["0001_products.sql"]})
    await apply(empty.connection, empty.spec, [first])
    plan = plan_apply(empty.spec.name, [shop()], await list_applied(empty.connection))
    await apply(empty.connection, empty.spec, [shop()], target={"shop": 2})
    with pytest.raises(PlanStale):
        await apply(empty.connection, empty.spec, [shop()], expected_hash=plan.hash)
    plan = plan_apply(empty.spec.name, [shop()], await list_applied(empty.connection))
    run = await apply(empty.connection, empty.spec, [shop()], expected_hash=plan.hash)
    assert run.plan_hash == plan.hash
    assert [step.label for step in run.steps] == ["0003_prices"]


async def test_an_edited_file_is_refused(empty: EmptyDatabase) -> None:
    await apply(empty.connection, empty.spec, [shop()])
    edited = FILES | {"0001_products.sql": FILES["0001_products.sql"].replace("two", "three")}
    with pytest.raises(MigrationChanged, match="0001_products"):
        await apply(empty.connection, empty.spec, [shop(files=edited)])


async def test_rolling_back_leads_to_the_catalogue_before(empty: EmptyDatabase) -> None:
    await apply(empty.connection, empty.spec, ())
    before = await introspect(empty.connection)
    await apply(empty.connection, empty.spec, [shop()])
    run = await roll_back(empty.connection, empty.spec, [shop()], {"shop": 0})
    assert [step.label for step in run.steps] == ["0003_prices", "0002_views", "0001_products"]
    assert (await introspect(empty.connection)).fingerprint == before.fingerprint
    assert await list_applied(empty.connection) == ()
    rows = await empty.connection.fetch("select version from supabase_migrations.schema_migrations")
    assert rows == []


async def test_a_newer_release_is_rolled_back_without_its_files(empty: EmptyDatabase) -> None:
    await apply(empty.connection, empty.spec, [shop()])
    older = shop(files={"0001_products.sql": FILES["0001_products.sql"]})
    await roll_back(empty.connection, empty.spec, [older], {"shop": 1})
    assert (await read_status(empty.connection, empty.spec, [older])).is_current


async def test_killed_before_any_statement_it_runs_again_to_the_same_catalogue(
    make_empty: MakeEmpty,
) -> None:
    reference = await make_empty()
    await apply(reference.connection, reference.spec, [shop()])
    expected = (await introspect(reference.connection)).fingerprint
    statements = sum(len(migration.up_statements) for migration in shop().migrations)
    empty = await make_empty()
    for number in range(statements):
        failpoints.arm(BEFORE_STATEMENT, after=number)
        try:
            with pytest.raises(FailpointReached):
                await apply(empty.connection, empty.spec, [shop()])
        finally:
            failpoints.disarm()
        assert await list_applied(empty.connection) == ()
    await apply(empty.connection, empty.spec, [shop()])
    assert (await introspect(empty.connection)).fingerprint == expected


@pytest.mark.parametrize("point", [BEFORE_STATEMENT, BEFORE_COMMIT])
async def test_a_client_that_dies_leaves_nothing_behind(empty: EmptyDatabase, point: str) -> None:
    victim = await empty.connect()
    failpoints.observe(lambda name: victim.terminate() if name == point else None)
    try:
        with pytest.raises((ConnectionLost, CommitUnknown)):
            await apply(victim, empty.spec, [shop()])
    finally:
        failpoints.observe(None)
    assert await tables(empty) == []
    assert len((await apply(empty.connection, empty.spec, [shop()])).steps) == 3
