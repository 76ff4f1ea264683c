"""What the driver of MySQL does besides the contract, on a real MariaDB."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.engine.drivers.mysql_subject import TIMEOUT_S, MysqlSubject
from tests.integration.engine.drivers.subject import fresh_name

from bulkhead.engine.drivers.errors import (
    CheckViolated,
    DeadlockDetected,
    ForeignKeyViolated,
    LockTimeout,
    LoginRefused,
    NotNullViolated,
    PermissionDenied,
    RaisedBySql,
    ReadOnlyViolated,
    SqlError,
    StatementTimeout,
    TemplateUnusable,
    UniqueViolated,
    ValueInvalid,
)
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.drivers.mysql_connection import PREPARED_MAX, MysqlConnection
from bulkhead.engine.drivers.mysql_sql import quote_name, quote_text
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, Login
from bulkhead.engine.errors import Invalid

TENANT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
OTHER = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
THINGS = """
create table things (
  id integer primary key,
  slug varchar(20) collate utf8mb4_bin unique,
  parent integer,
  amount decimal(12, 2),
  constraint amount_positive check (amount > 0),
  constraint things_parent foreign key (parent) references things (id)
) engine = innodb
"""


@pytest.fixture(scope="module")
async def spec(mysql: MysqlSubject) -> AsyncIterator[DatabaseSpec]:
    async with mysql.database() as spec:
        await mysql.run(THINGS, database=spec.name)
        yield spec


@pytest.fixture
async def service(mysql: MysqlSubject, spec: DatabaseSpec) -> AsyncIterator[MysqlConnection]:
    async with mysql.opened(spec, Login.SERVICE) as service:
        await service.execute("delete from things order by id desc", (), timeout_s=TIMEOUT_S)
        yield service


@pytest.fixture
async def root(mysql: MysqlSubject, spec: DatabaseSpec) -> AsyncIterator[MysqlConnection]:
    async with mysql.look(spec.name) as root:
        yield root


async def test_capabilities_are_what_was_seen(mysql: MysqlSubject, spec: DatabaseSpec) -> None:
    found = await mysql.driver.probe(spec)
    assert found.version_number >= 100600
    assert found.server_version.startswith(str(found.version_number // 10000))
    assert found.advisory_locks
    assert found.skip_locked
    assert found.tls
    assert not found.behind_pooler
    assert not found.transactional_ddl
    assert not found.row_level_security
    assert not found.policy_subquery
    assert not found.template_clone
    assert not found.listen_notify
    assert not found.snapshot_export
    assert not found.set_role
    assert found.extensions == frozenset()
    tables = await mysql.run("show tables", database=spec.name)
    assert sorted(name for row in tables for name in row.values()) == ["_bulkhead", "things"]
    assert mysql.driver.dialect is Dialect.MYSQL


async def test_a_clone_is_refused(mysql: MysqlSubject, spec: DatabaseSpec) -> None:
    clone = DatabaseSpec(fresh_name(), template=spec.name, role_prefix=spec.name)
    with pytest.raises(TemplateUnusable, match="cannot clone"):
        await mysql.driver.ensure_database(clone)


async def test_sessions_are_alike_whatever_the_server_is_set_to(
    mysql: MysqlSubject, spec: DatabaseSpec
) -> None:
    before = (await mysql.run("select @@global.sql_mode as mode"))[0]["mode"]
    await mysql.run("set global sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'")
    await mysql.run("set global time_zone = '+05:00'")
    try:
        async with mysql.opened(spec, Login.SERVICE) as service:
            row = (
                await service.fetch(
                    r"select 'a\\b' as text, @@session.time_zone as zone, "
                    "@@autocommit as autocommit, @@tx_isolation as isolation, "
                    "@@max_statement_time as statement, @@idle_transaction_timeout as idle, "
                    "@@innodb_lock_wait_timeout as waits, @@character_set_client as characters",
                    (),
                    timeout_s=TIMEOUT_S,
                )
            )[0]
    finally:
        await mysql.run("set global sql_mode = %s", before)
        await mysql.run("set global time_zone = 'SYSTEM'")
    assert row == {
        "text": "a\\b",
        "zone": "+00:00",
        "autocommit": 1,
        "isolation": "READ-COMMITTED",
        "statement": Decimal(8),
        "idle": 15,
        "waits": 5,
        "characters": "utf8mb4",
    }


async def test_values_keep_their_types(root: MysqlConnection) -> None:
    await root.execute(
        "create temporary table kinds (n decimal(12, 2), t text, b blob, at datetime(6), d date, "
        "i bigint unsigned, f double, j json, y boolean, u char(36), nothing integer)",
        (),
        timeout_s=TIMEOUT_S,
    )
    at = dt.datetime(2026, 2, 28, 23, 59, 59, 7, dt.UTC)
    values = (
        Decimal("1.50"),
        "a%s?\\'ü😀",
        b"\0\xff'",
        at,
        at.date(),
        2**64 - 1,
        0.1,
        '{"a": 1}',
        True,
        TENANT,
        None,
    )
    marks = ", ".join(["%s"] * len(values))
    sql = f"insert into kinds values ({marks})"
    assert await root.execute(sql, values, timeout_s=TIMEOUT_S) == 1
    row = (await root.fetch("select * from kinds", (), timeout_s=TIMEOUT_S))[0]
    expected = (*values[:3], at.replace(tzinfo=None), *values[4:8], 1, str(TENANT), None)
    assert tuple(row.values()) == expected
    again = (await root.fetch("select * from kinds where i = %s", (2**64 - 1,), timeout_s=9))[0]
    assert again == row


@pytest.mark.parametrize(
    ("sql", "kind", "constraint"),
    [
        ("insert into things (id) values (1)", UniqueViolated, "PRIMARY"),
        ("insert into things (id, slug) values (2, 'first-slug')", UniqueViolated, "slug"),
        ("insert into things (id, parent) values (3, 9)", ForeignKeyViolated, "things_parent"),
        ("delete from things where id = 1", ForeignKeyViolated, "things_parent"),
        ("insert into things (id, amount) values (3, -1)", CheckViolated, "amount_positive"),
        ("insert into things (id) values (null)", NotNullViolated, None),
        ("insert into things (slug) values ('x')", NotNullViolated, None),
        ("insert into things (id, slug) values (3, repeat('x', 21))", ValueInvalid, None),
        ("insert into things (id, amount) values (3, 'x')", ValueInvalid, None),
        ("create table mine (id integer)", PermissionDenied, None),
        ("drop database mysql", PermissionDenied, None),
        ("signal sqlstate '45000' set message_text = 'No more stock'", RaisedBySql, None),
        ("select id from nothing", PermissionDenied, None),
        ("selec 1", SqlError, None),
        ("select 1; select 2", SqlError, None),
    ],
)
async def test_errors_are_translated_and_the_connection_stays(
    service: MysqlConnection, sql: str, kind: type[SqlError], constraint: str | None
) -> None:
    insert = "insert into things (id, slug, parent) values (%s, %s, %s)"
    await service.execute_many(
        insert, [(1, "first-slug", None), (10, None, 1)], timeout_s=TIMEOUT_S
    )
    if "nothing" in sql:
        kind = SqlError
    with pytest.raises(kind) as caught:
        await service.execute(sql, (), timeout_s=TIMEOUT_S)
    assert type(caught.value) is kind
    assert caught.value.constraint == constraint
    assert "first-slug" not in str(caught.value.to_json())
    assert not service.is_closed()
    rows = await service.fetch("select count(*) as n from things", (), timeout_s=TIMEOUT_S)
    assert rows == [{"n": 2}]


async def test_an_update_counts_what_it_found_as_on_postgresql(service: MysqlConnection) -> None:
    await service.execute("insert into things (id) values (1), (2)", (), timeout_s=TIMEOUT_S)
    sql = "update things set slug = null where id > %s"
    assert await service.execute(sql, (0,), timeout_s=TIMEOUT_S) == 2
    assert await service.execute(sql, (5,), timeout_s=TIMEOUT_S) == 0


async def test_many_rows_take_effect_together_or_not_at_all(service: MysqlConnection) -> None:
    insert = "insert into things (id, slug) values (%s, %s)"
    rows = [(n, f"s{n}") for n in range(1, 1203)]
    await service.execute_many(insert, rows, timeout_s=TIMEOUT_S)
    mixed = [(2000, "x"), (2001, 5), (2002, None), (1, "again")]
    with pytest.raises(UniqueViolated):
        await service.execute_many(insert, mixed, timeout_s=TIMEOUT_S)
    count = "select count(*) as n from things"
    assert await service.fetch(count, (), timeout_s=TIMEOUT_S) == [{"n": 1202}]
    await service.begin(read_only=False, timeout_s=TIMEOUT_S)
    await service.execute_many(insert, mixed[:3], timeout_s=TIMEOUT_S)
    await service.rollback(timeout_s=TIMEOUT_S)
    assert await service.fetch(count, (), timeout_s=TIMEOUT_S) == [{"n": 1202}]


async def test_a_transaction_that_may_only_read_does_not_write(service: MysqlConnection) -> None:
    await service.begin(read_only=True, timeout_s=TIMEOUT_S)
    with pytest.raises(ReadOnlyViolated):
        await service.execute("insert into things (id) values (%s)", (1,), timeout_s=TIMEOUT_S)
    await service.rollback(timeout_s=TIMEOUT_S)


async def test_a_prepared_statement_outlives_changes_of_its_table(root: MysqlConnection) -> None:
    name = fresh_name()
    await root.execute(f"create table {name} (id integer)", (), timeout_s=TIMEOUT_S)
    await root.execute(f"insert into {name} values (1)", (), timeout_s=TIMEOUT_S)
    sql = f"select * from {name} where id = %s"
    for change, row in (
        ("add column a integer default 7", {"id": 1, "a": 7}),
        ("modify column a varchar(9)", {"id": 1, "a": "7"}),
        ("drop column a", {"id": 1}),
    ):
        await root.fetch(sql, (1,), timeout_s=TIMEOUT_S)
        await root.execute(f"alter table {name} {change}", (), timeout_s=TIMEOUT_S)
        assert await root.fetch(sql, (1,), timeout_s=TIMEOUT_S) == [row]
    await root.execute(f"drop table {name}", (), timeout_s=TIMEOUT_S)


async def test_no_more_statements_are_kept_prepared_than_planned(root: MysqlConnection) -> None:
    for number in range(PREPARED_MAX + 20):
        sql = f"select %s as value, {number} as n"
        assert (await root.fetch(sql, (1,), timeout_s=TIMEOUT_S))[0]["n"] == number
    prepared = await root.fetch(
        "show session status like 'Com_stmt_close'", (), timeout_s=TIMEOUT_S
    )
    assert int(prepared[0]["Value"]) == 20


async def test_values_of_the_wrong_number_are_refused(service: MysqlConnection) -> None:
    with pytest.raises(Invalid, match="placeholders"):
        await service.fetch("select %s", (), timeout_s=TIMEOUT_S)
    with pytest.raises(Invalid, match="placeholders"):
        await service.fetch("select 1", (1,), timeout_s=TIMEOUT_S)


async def test_a_deadlock_and_a_lock_that_is_held_too_long_have_their_names(
    mysql: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    await service.execute("insert into things (id) values (1), (2)", (), timeout_s=TIMEOUT_S)
    lock = "select id from things where id = %s for update"
    async with mysql.opened(spec, Login.SERVICE) as other:
        for connection, row in ((service, 1), (other, 2)):
            await connection.begin(read_only=False, timeout_s=TIMEOUT_S)
            await connection.fetch(lock, (row,), timeout_s=TIMEOUT_S)
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with asyncio.TaskGroup() as group:
                group.create_task(service.fetch(lock, (2,), timeout_s=TIMEOUT_S))
                group.create_task(other.fetch(lock, (1,), timeout_s=TIMEOUT_S))
        assert caught.group_contains(DeadlockDetected)
        for connection in (service, other):
            if not connection.is_closed():
                await connection.rollback(timeout_s=TIMEOUT_S)
    async with mysql.opened(spec, Login.SERVICE) as one, mysql.opened(spec, Login.SERVICE) as two:
        await two.execute("set session innodb_lock_wait_timeout = 1", (), timeout_s=TIMEOUT_S)
        for connection in (one, two):
            await connection.begin(read_only=False, timeout_s=TIMEOUT_S)
        await one.fetch(lock, (1,), timeout_s=TIMEOUT_S)
        with pytest.raises(LockTimeout):
            await two.fetch(lock, (1,), timeout_s=TIMEOUT_S)
        assert not two.is_closed()


async def test_the_server_stops_a_statement_and_the_client_gives_one_up(
    service: MysqlConnection,
) -> None:
    await service.execute("set session max_statement_time = 0.1", (), timeout_s=TIMEOUT_S)
    with pytest.raises(StatementTimeout):
        await service.fetch("select sleep(3)", (), timeout_s=TIMEOUT_S)
    assert not service.is_closed()
    await service.execute("set session max_statement_time = 5", (), timeout_s=TIMEOUT_S)
    with pytest.raises(StatementTimeout):
        await service.fetch("select sleep(%s)", (3,), timeout_s=0.1)
    assert service.is_closed()


async def test_a_client_only_reads(mysql: MysqlSubject, spec: DatabaseSpec) -> None:
    async with mysql.opened(spec, Login.CLIENT) as client:
        await client.fetch("select id from things", (), timeout_s=TIMEOUT_S)
        with pytest.raises(PermissionDenied):
            await client.execute("insert into things (id) values (1)", (), timeout_s=TIMEOUT_S)


async def test_whose_a_database_is_stands_in_it(
    root: MysqlConnection, mysql: MysqlSubject, spec: DatabaseSpec
) -> None:
    with pytest.raises(IdentityMismatch, match="no table"):
        await root.verify_identity(TENANT, timeout_s=TIMEOUT_S)
    for column, value in (("char(36)", str(TENANT)), ("char(32)", TENANT.hex)):
        await root.execute(f"create table _identity (tenant_id {column})", (), timeout_s=TIMEOUT_S)
        with pytest.raises(IdentityMismatch, match="empty"):
            await root.verify_identity(TENANT, timeout_s=TIMEOUT_S)
        sql = "insert into _identity values (%s)"
        await root.execute(sql, (value,), timeout_s=TIMEOUT_S)
        async with mysql.opened(spec, Login.SERVICE) as service:
            await service.verify_identity(TENANT, timeout_s=TIMEOUT_S)
            with pytest.raises(IdentityMismatch, match="another"):
                await service.verify_identity(OTHER, timeout_s=TIMEOUT_S)
        await root.execute("drop table _identity", (), timeout_s=TIMEOUT_S)


async def test_without_the_right_password_nobody_gets_in(
    mysql: MysqlSubject, spec: DatabaseSpec
) -> None:
    with pytest.raises(LoginRefused) as caught:
        await mysql.with_secret(b"y" * 32).connect(spec, Login.SERVICE, timeout_s=TIMEOUT_S)
    assert "password" not in str(caught.value.details).lower()


NAMES = st.text(
    st.characters(min_codepoint=1, max_codepoint=0xFFFF, exclude_categories=["Cs"]),
    min_size=1,
    max_size=30,
).map(lambda name: name.rstrip(" \t\n\v\f\r") or "x")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, text=st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
@pytest.mark.parametrize("mode", ["", "ANSI,NO_BACKSLASH_ESCAPES"])
async def test_hostile_names_come_back_as_they_were(
    root: MysqlConnection, mode: str, name: str, text: str
) -> None:
    await root.set({"sql_mode": f"'{mode}'"}, timeout_s=TIMEOUT_S)
    column = quote_name(name).replace("%", "%%")
    create = f"create or replace temporary table named ({column} varchar(200))"
    await root.execute(create, (), timeout_s=TIMEOUT_S)
    await root.execute("insert into named values (%s)", (text,), timeout_s=TIMEOUT_S)
    rows = await root.fetch(f"select {column} from named", (), timeout_s=TIMEOUT_S)
    assert rows == [{name: text}]
    if not mode:
        literal = quote_text(text).replace("%", "%%")
        found = await root.fetch(f"select {literal} as value", (), timeout_s=TIMEOUT_S)
        assert found == [{"value": text}]


@pytest.mark.parametrize(
    "name", ["a`b", "a``", 'a"b', "a'b", "a\\", "%s", "ünïcode", "`; drop", "select"]
)
async def test_hostile_names_are_names_of_tables_and_columns(
    root: MysqlConnection, name: str
) -> None:
    table = quote_name(name).replace("%", "%%")
    await root.execute(f"create table {table} ({table} integer)", (), timeout_s=TIMEOUT_S)
    await root.execute(f"insert into {table} values (%s)", (1,), timeout_s=TIMEOUT_S)
    rows = await root.fetch(f"select {table} from {table}", (), timeout_s=TIMEOUT_S)
    assert rows == [{name: 1}]
    await root.execute(f"drop table {table}", (), timeout_s=TIMEOUT_S)
