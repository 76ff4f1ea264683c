"""The errors of a real server, as the engine sees them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.errors import (
    CheckViolated,
    ExclusionViolated,
    ForeignKeyViolated,
    LockTimeout,
    NotNullViolated,
    PermissionDenied,
    RaisedBySql,
    ReadOnlyViolated,
    SerializationFailed,
    SqlError,
    StatementTimeout,
    UniqueViolated,
    ValueInvalid,
    is_connection_loss,
    translate,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.errors import BulkheadError

SPEC = DatabaseSpec("errors_of_sql")
TABLES = """
create table parents (id integer primary key);
create table things (
  id integer primary key,
  parent_id integer references parents (id) on delete restrict,
  name text not null,
  price numeric(4, 2) check (price > 0),
  span int4range,
  exclude using gist (span with &&)
);
insert into parents (id) values (1);
insert into things (id, parent_id, name, span) values (1, 1, 'secret', '[1,5)');
create function public.fail(state text) returns void language plpgsql as
$$ begin raise exception 'Said by us' using errcode = state, hint = 'Try less.'; end $$;
"""


@pytest.fixture(scope="module")
async def database(embedded: EmbeddedDriver) -> AsyncIterator[DatabaseSpec]:
    await embedded.ensure_database(SPEC)
    connection = await embedded.connect(SPEC, Login.ADMIN, timeout_s=10)
    await connection.execute(TABLES)
    await connection.close()
    yield SPEC
    await embedded.drop_database(SPEC)


@pytest.fixture
async def admin(embedded: EmbeddedDriver, database: DatabaseSpec) -> AsyncIterator[Any]:
    connection = await embedded.connect(database, Login.ADMIN, timeout_s=10)
    yield connection
    connection.terminate()


async def failure(connection: Any, sql: str, *args: object) -> BulkheadError:
    try:
        await connection.execute(sql, *args)
    except Exception as error:  # noqa: BLE001
        translated = translate(error)
        translated.__cause__ = error
        return translated
    pytest.fail(f"nothing failed: {sql}")


INSERT = "insert into things (id, parent_id, name, price, span) values "


@pytest.mark.parametrize(
    ("sql", "expected", "constraint", "column"),
    [
        (INSERT + "(1, 1, 'secret', 1, null)", UniqueViolated, "things_pkey", None),
        (INSERT + "(2, 9, 'secret', 1, null)", ForeignKeyViolated, "things_parent_id_fkey", None),
        ("delete from parents where id = 1", ForeignKeyViolated, "things_parent_id_fkey", None),
        (INSERT + "(2, 1, 'secret', 0, null)", CheckViolated, "things_price_check", None),
        (INSERT + "(2, 1, null, 1, null)", NotNullViolated, None, "name"),
        (INSERT + "(2, 1, 'secret', 1, '[2,3)')", ExclusionViolated, "things_span_excl", None),
        (INSERT + "(2, 1, 'secret', 1000, null)", ValueInvalid, None, None),
        ("select 'secret'::uuid", ValueInvalid, None, None),
        ("select 1 / 0", ValueInvalid, None, None),
        ("select secret from nowhere", SqlError, None, None),
    ],
)
async def test_a_violation_names_the_rule_and_hides_the_row(
    admin: Any, sql: str, expected: type[SqlError], constraint: str | None, column: str | None
) -> None:
    found = await failure(admin, sql)
    assert type(found) is expected
    assert isinstance(found, SqlError)
    assert (found.constraint, found.column) == (constraint, column)
    assert "secret" not in str(found.to_json())
    assert not is_connection_loss(found)


async def test_what_a_function_raises_is_passed_on(admin: Any) -> None:
    found = await failure(admin, "select public.fail('P0001')")
    assert isinstance(found, RaisedBySql)
    assert (found.message, found.details["raised_hint"]) == ("Said by us", "Try less.")
    own = await failure(admin, "select public.fail('BH042')")
    assert isinstance(own, RaisedBySql)
    assert own.sqlstate == "BH042"
    standard = await failure(admin, "select public.fail('check_violation')")
    assert isinstance(standard, CheckViolated)
    assert standard.message == "Said by us"


async def test_missing_rights_and_read_only_transactions(admin: Any) -> None:
    await admin.execute("set role anon")
    assert isinstance(await failure(admin, "select id from things"), PermissionDenied)
    await admin.execute("reset role; begin read only")
    assert isinstance(await failure(admin, "delete from things"), ReadOnlyViolated)


async def test_time_outs_of_statements_and_locks(
    admin: Any, embedded: EmbeddedDriver, database: DatabaseSpec
) -> None:
    await admin.execute("set statement_timeout = '10ms'")
    assert isinstance(await failure(admin, "select pg_sleep(10)"), StatementTimeout)
    await admin.execute("set statement_timeout = 0; begin; lock table parents")
    other = await embedded.connect(database, Login.ADMIN, timeout_s=10)
    await other.execute("set lock_timeout = '10ms'")
    found = await failure(other, "update parents set id = 1")
    assert isinstance(found, LockTimeout)
    assert isinstance(found, SerializationFailed)
    await other.close()


async def test_a_value_of_the_wrong_type_is_refused_before_it_is_sent(admin: Any) -> None:
    found = await failure(admin, "select id from things where id = $1", "secret")
    assert isinstance(found, ValueInvalid)
    assert "secret" not in str(found.to_json())


async def test_a_killed_session_loses_the_answer(
    admin: Any, embedded: EmbeddedDriver, database: DatabaseSpec
) -> None:
    other = await embedded.connect(database, Login.ADMIN, timeout_s=10)
    await admin.execute("select pg_terminate_backend($1)", other.get_server_pid())
    found = await failure(other, "select 1")
    assert is_connection_loss(found)
    assert found.retry_after_s is not None
    assert is_connection_loss(await failure(other, "select 1"))


async def test_changes_of_one_entry_of_the_catalogue_that_meet_can_be_repeated(
    admin: Any, embedded: EmbeddedDriver, database: DatabaseSpec
) -> None:
    other: Any = await embedded.connect(database, Login.ADMIN, timeout_s=10)
    grant = f"grant connect on database {database.name} to service_role"
    async with admin.transaction():
        await admin.execute(grant)
        second = asyncio.create_task(other.execute(grant))
        await _until_it_waits(admin, other.get_server_pid())
    with pytest.raises(asyncpg.InternalServerError) as caught:
        await second
    assert isinstance(translate(caught.value), SerializationFailed)
    await other.execute(grant)
    await other.close()


async def _until_it_waits(admin: Any, pid: int) -> None:
    for _ in range(3000):
        if await admin.fetchval("select cardinality(pg_blocking_pids($1)) > 0", pid):
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody waits")
