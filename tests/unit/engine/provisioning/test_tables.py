import pytest
import sqlalchemy as sa

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.extract import extract
from bulkhead.engine.extract.model import Catalogue, Extracted, Key, Kind
from bulkhead.engine.provisioning.tables import part_of, undo_statements

METADATA = sa.MetaData()
SHELVES = sa.Table(
    "shelves",
    METADATA,
    sa.Column("id", sa.Integer()),
    sa.PrimaryKeyConstraint("id", name="shelves_pkey"),
)
BOOKS = sa.Table(
    'bo"oks`',
    METADATA,
    sa.Column("id", sa.Integer(), nullable=False),
    sa.Column("shelf", sa.Integer()),
    sa.PrimaryKeyConstraint("id", name="books_pkey"),
    sa.ForeignKeyConstraint(["shelf"], ["shelves.id"], name="books_shelf_fkey"),
    sa.UniqueConstraint("shelf", "id", name="books_shelf_key"),
    sa.CheckConstraint("id > 0", name="books_id"),
    sa.Index("books_shelf_idx", "shelf"),
)
SINGLE = {
    Dialect.POSTGRESQL: [
        'alter table "public"."bo""oks`" drop constraint "books_shelf_fkey"',
        'drop index public."books_shelf_idx"',
        'alter table "public"."bo""oks`" drop constraint "books_shelf_key"',
        'alter table "public"."bo""oks`" drop constraint "books_id"',
        'alter table "public"."bo""oks`" drop constraint "books_pkey"',
        'alter table "public"."bo""oks`" drop column "shelf"',
    ],
    Dialect.MYSQL: [
        'alter table `bo"oks``` drop foreign key `books_shelf_fkey`',
        'alter table `bo"oks``` drop index `books_shelf_idx`',
        'alter table `bo"oks``` drop index `books_shelf_key`',
        'alter table `bo"oks``` drop constraint `books_id`',
        'alter table `bo"oks``` drop primary key',
        'alter table `bo"oks``` drop column `shelf`',
    ],
}


def schema_of(dialect: Dialect) -> tuple[Extracted, Catalogue]:
    schema = extract(METADATA, dialect)
    return schema, schema.catalogue


@pytest.mark.parametrize("dialect", Dialect)
def test_tables_that_were_made_are_dropped_together(dialect: Dialect) -> None:
    schema, catalogue = schema_of(dialect)
    parts = frozenset(part_of(key) for key in catalogue.objects)
    [statement] = undo_statements(parts, catalogue, schema)
    assert statement.startswith("drop table ")
    assert statement.count(",") == 1


@pytest.mark.parametrize("dialect", Dialect)
def test_what_was_added_to_a_table_is_dropped_in_an_order_that_works(dialect: Dialect) -> None:
    schema, catalogue = schema_of(dialect)
    added = [
        key
        for key in catalogue.objects
        if key.table == BOOKS.name and key.kind not in (Kind.TABLE, Kind.POLICY)
        if key.name != "id"
    ]
    statements = undo_statements(frozenset(map(part_of, added)), catalogue, schema)
    assert sorted(statements) == sorted(SINGLE[dialect])
    kinds = [statement.split(" drop ")[-1].split()[0] for statement in statements]
    assert kinds[-1] == "column"
    assert "books_shelf_fkey" in statements[0]


@pytest.mark.parametrize("dialect", Dialect)
def test_what_is_not_there_or_was_not_made_is_left_alone(dialect: Dialect) -> None:
    schema, catalogue = schema_of(dialect)
    parts = frozenset({part_of(Key(Kind.TABLE, "elsewhere", "")), "seed"})
    assert undo_statements(parts, catalogue, schema) == []
    assert undo_statements(frozenset(), catalogue, schema) == []
