"""A database that somebody else has furnished is read without harm and without believing it."""

import pytest
from tests.integration.engine.extract.subject import Subject
from tests.integration.engine.extract.test_compare import METADATA, make

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.compare import SchemaDiffers, compare, create_missing
from bulkhead.engine.extract.extract import extract
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.extract.model import Kind

SHADOWS = [
    "create function format_type(oid, integer) returns text language sql as $$ select 'evil' $$",
    (
        "create function pg_get_expr(pg_node_tree, oid) returns text language sql"
        " as $$ select 'evil' $$"
    ),
    "create function lower(text) returns text language sql as $$ select 'evil' $$",
    "create function evil(name, name) returns boolean language sql as $$ select false $$",
    "create operator = (leftarg = name, rightarg = name, function = evil)",
    "create table pg_class (oid oid, relname name, relnamespace oid, relkind char)",
    "create view pg_attribute as select 1 as attrelid",
]
FURNITURE = {
    Dialect.POSTGRESQL: [
        "create schema other",
        "create domain amount as numeric check (value > 0)",
        "create type mood as enum ('good', 'bad')",
        (
            'create table "a""b;--" ("%s" mood default \'good\', "select" amount, t tsvector,'
            " r int4range, exclude using gist (r with &&))"
        ),
        ('create index on "a""b;--" (("select" + 1), "select" desc nulls last) where "select" > 1'),
        "create table parts (id integer, at date) partition by range (at)",
        "create table parts_1 partition of parts for values from ('2026-01-01') to ('2027-01-01')",
        "create table other.target (id integer primary key)",
        (
            "create table source (id integer generated always as identity primary key,"
            " target_id integer references other.target (id) deferrable initially deferred,"
            " doubled integer generated always as (id * 2) stored)"
        ),
        "alter table source add constraint later check (id > 0) not valid",
        (
            "create policy strange on source as restrictive for update to public"
            " using (id in (select id from parts where parts.id = source.id limit 1))"
        ),
        "create view v as select * from source",
        "create materialized view m as select * from source",
        'create unlogged table u (a integer[], b text collate "C")',
    ],
    Dialect.MYSQL: [
        (
            "create table `a``b;--` (`%s` enum('good','bad') default 'good', `select` set('x','y'),"
            " g geometry not null, b bit(3) default b'101', y year,"
            " v varchar(20) character set latin1, t text, spatial index (g),"
            " fulltext index (v), index p (t(10)))"
        ),
        (
            "create table source (id integer unsigned auto_increment primary key,"
            " doubled integer generated always as (id * 2) virtual,"
            " changed timestamp not null default current_timestamp on update current_timestamp,"
            " check (json_valid('{}') and 1 <> 5))"
        ),
        "create table parts (id integer) partition by hash (id) partitions 3",
        "create view v as select * from source",
        "create sequence s",
        "create trigger tr before insert on source for each row set @a = 1",
        "create table m (a integer) engine=MyISAM",
    ],
}


async def test_what_shadows_the_catalogue_changes_nothing(postgresql: Subject) -> None:
    extracted = await make(postgresql)
    before = await introspect(postgresql.connection)
    await postgresql.run(SHADOWS)
    found = await introspect(postgresql.connection)
    assert found.only(before.objects).fingerprint == before.fingerprint
    assert compare(extracted, found).is_equal
    assert {key.table for key in found.objects} == {*before.tables, "pg_class", "pg_attribute"}


async def test_whatever_else_is_there_is_listed(subject: Subject) -> None:
    extracted = await make(subject)
    try:
        await subject.run(FURNITURE[subject.dialect])
        found = await introspect(subject.connection)
        difference = compare(extracted, found)
        assert difference.is_equal
        tables = {key.table for key in difference.extra}
        assert tables >= {'a"b;--' if subject.dialect is Dialect.POSTGRESQL else "a`b;--", "source"}
        assert all(key.kind is Kind.TABLE for key in difference.extra)
        assert "parts_1" not in tables
        assert "v" not in found.tables
        assert (await introspect(subject.connection)).fingerprint == found.fingerprint
    finally:
        if subject.dialect is Dialect.POSTGRESQL:
            await subject.run(["drop schema other cascade"])


@pytest.mark.parametrize("table", ["authors", "books"])
async def test_a_view_in_the_place_of_a_table_is_not_a_table(subject: Subject, table: str) -> None:
    await subject.empty()
    await subject.run([f"create view {table} as select 1 as id"])
    extracted = extract(METADATA, subject.dialect, subject.options)
    [differing] = (await subject.compare(extracted)).differing
    assert "kind" in differing.facets
    with pytest.raises(SchemaDiffers, match=f"kind of table {table} is 'view'"):
        await create_missing(subject.connection, extracted)
