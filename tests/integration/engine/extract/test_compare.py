"""Missing is made, differing is reported and left alone, extra is listed."""

import pytest
import sqlalchemy as sa
from tests.integration.engine.extract.subject import Subject

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.compare import (
    Missing,
    RowsWithoutValue,
    SchemaDiffers,
    create_missing,
)
from bulkhead.engine.extract.ddl import qualified
from bulkhead.engine.extract.extract import extract
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.extract.model import Extracted
from bulkhead.engine.extract.portable import Id

METADATA = sa.MetaData()
AUTHORS = sa.Table(
    "authors",
    METADATA,
    sa.Column("id", Id(), nullable=False),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("country", sa.String(2), nullable=False, server_default="DE"),
    sa.Column("motto", sa.String(20), nullable=False, server_default="none"),
    sa.Column("books", sa.Integer(), nullable=False, server_default="0"),
    sa.PrimaryKeyConstraint("id", name="authors_pkey"),
    sa.CheckConstraint("books >= 0", name="authors_books"),
    sa.UniqueConstraint("name", name="authors_name_key"),
    sa.Index("authors_country_idx", "country", "id"),
)
BOOKS = sa.Table(
    "books",
    METADATA,
    sa.Column("id", Id(), nullable=False),
    sa.Column("author_id", Id(), nullable=False),
    sa.Column("title", sa.String(80), nullable=False),
    sa.PrimaryKeyConstraint("id", name="books_pkey"),
    sa.ForeignKeyConstraint(
        ["author_id"], ["authors.id"], name="books_author_id_fkey", ondelete="cascade"
    ),
    sa.Index("books_author_id_idx", "author_id"),
)


@pytest.fixture
async def extracted(subject: Subject) -> Extracted:
    return await make(subject)


async def make(subject: Subject) -> Extracted:
    await subject.empty()
    found = extract(METADATA, subject.dialect, subject.options)
    await create_missing(subject.connection, found)
    return found


def drop(subject: Subject, what: str, name: str) -> str:
    is_mysql = subject.dialect is Dialect.MYSQL
    kind = {"constraint": "constraint", "index": "index", "column": "column"}[what]
    if what == "index" and not is_mysql:
        return f"drop index {name}"
    table = qualified("books" if name.startswith("books") else "authors", subject.dialect)
    return f"alter table {table} drop {kind} {name}"


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("constraint", "authors_books"),
        ("constraint", "authors_name_key"),
        ("index", "authors_country_idx"),
        ("constraint", "books_author_id_fkey"),
        ("column", "books"),
        ("column", "motto"),
    ],
)
async def test_what_was_dropped_is_made_again(
    subject: Subject, extracted: Extracted, what: str, name: str
) -> None:
    if what == "column":
        table = qualified("authors", subject.dialect)
        if subject.dialect is Dialect.MYSQL and name == "books":
            await subject.run([f"alter table {table} drop constraint authors_books"])
        await subject.run([f"alter table {table} drop column {name}"])
    else:
        await subject.run([drop(subject, what, name)])
    assert not (await subject.compare(extracted)).is_equal
    await create_missing(subject.connection, extracted)
    assert await subject.fingerprint(extracted) == extracted.fingerprint


async def test_a_dropped_table_comes_back_with_its_references(
    subject: Subject, extracted: Extracted
) -> None:
    await subject.run([f"drop table {qualified('books', subject.dialect)}"])
    found = await create_missing(subject.connection, extracted)
    assert found.missing_tables == ("books",)
    assert (await subject.compare(extracted)).is_equal


POSTGRESQL_CHANGES = [
    ("alter table authors alter column name type varchar(90)", "type"),
    ("alter table authors alter column name drop not null", "nullable"),
    ("alter table authors alter column country set default 'FR'", "default"),
    ('alter table authors alter column name type varchar(80) collate "C"', "collation"),
    (
        (
            "alter table authors drop constraint authors_books;"
            "alter table authors add constraint authors_books check (books > 0)"
        ),
        "expression",
    ),
    (
        "drop index authors_country_idx;create index authors_country_idx on authors (id, country)",
        "columns",
    ),
    (
        (
            "drop index authors_country_idx;"
            "create unique index authors_country_idx on authors (country, id)"
        ),
        "unique",
    ),
    (
        (
            "alter table books drop constraint books_author_id_fkey;"
            "alter table books add constraint books_author_id_fkey foreign key (author_id) "
            "references authors (id)"
        ),
        "on delete",
    ),
    ("alter table authors disable row level security", "enabled"),
    ("alter policy owner_all on authors using (false)", "using"),
]
MYSQL_CHANGES = [
    ("alter table authors modify name varchar(90) collate utf8mb4_bin not null", "type"),
    ("alter table authors modify name varchar(80) collate utf8mb4_bin", "nullable"),
    ("alter table authors alter column country set default 'FR'", "default"),
    (
        "alter table authors modify name varchar(80) collate utf8mb4_general_ci not null",
        "collation",
    ),
    (
        (
            "alter table authors drop constraint authors_books;"
            "alter table authors add constraint authors_books check (books > 0)"
        ),
        "expression",
    ),
    (
        (
            "alter table authors drop index authors_country_idx;"
            "create index authors_country_idx on authors (id, country)"
        ),
        "columns",
    ),
    (
        (
            "alter table authors drop index authors_country_idx;"
            "create unique index authors_country_idx on authors (country, id)"
        ),
        "unique",
    ),
    (
        (
            "alter table books drop foreign key books_author_id_fkey;"
            "alter table books add constraint books_author_id_fkey foreign key (author_id) "
            "references authors (id)"
        ),
        "on delete",
    ),
    ("drop table books;alter table authors engine=Aria", "engine"),
]


@pytest.mark.parametrize(("statements", "facet"), POSTGRESQL_CHANGES)
async def test_what_differs_on_postgresql_is_reported_and_left_alone(
    postgresql: Subject, statements: str, facet: str
) -> None:
    await change_and_compare(postgresql, statements, facet)


@pytest.mark.parametrize(("statements", "facet"), MYSQL_CHANGES)
async def test_what_differs_on_mysql_is_reported_and_left_alone(
    mysql: Subject, statements: str, facet: str
) -> None:
    await change_and_compare(mysql, statements, facet)


async def change_and_compare(subject: Subject, statements: str, facet: str) -> None:
    extracted = await make(subject)
    await subject.run(statements.split(";"))
    before = await introspect(subject.connection)
    [differing] = (await subject.compare(extracted)).differing
    assert differing.facets == (facet,)
    assert str(differing.required.key) in str(differing)
    with pytest.raises(SchemaDiffers):
        await create_missing(subject.connection, extracted)
    assert (await introspect(subject.connection)).fingerprint == before.fingerprint


async def test_what_nobody_asked_for_is_listed_and_left_alone(
    subject: Subject, extracted: Extracted
) -> None:
    authors = qualified("authors", subject.dialect)
    await subject.run(
        [
            f"create table {qualified('guests', subject.dialect)} (id integer primary key)",
            f"alter table {authors} add column nickname varchar(20)",
            f"create index authors_nickname_idx on {authors} (nickname)",
        ]
    )
    found = await subject.compare(extracted)
    assert found.is_equal
    assert {str(key) for key in found.extra} >= {
        "table guests",
        "column authors.nickname",
        "index authors.authors_nickname_idx",
    }
    assert await subject.fingerprint(extracted) == extracted.fingerprint


async def test_who_was_let_in_besides_is_listed(postgresql: Subject) -> None:
    extracted = await make(postgresql)
    await postgresql.run(
        [
            "create policy everybody on authors for select to public using (true)",
            "grant select (name) on authors to anon",
            "grant delete on books to public",
        ]
    )
    found = await postgresql.compare(extracted)
    assert found.is_equal
    assert {str(key) for key in found.extra} == {
        "policy authors.everybody",
        "grant authors.select (name) to anon",
        "grant books.delete to public",
    }


async def test_a_column_without_a_value_is_added_to_an_empty_table_only(
    subject: Subject, extracted: Extracted
) -> None:
    authors = qualified("authors", subject.dialect)
    await subject.run(
        [
            drop(subject, "constraint", "authors_name_key"),
            f"alter table {authors} drop column name",
            f"insert into {authors} (id) values ('00000000-0000-0000-0000-000000000001')",
        ]
    )
    with pytest.raises(RowsWithoutValue):
        await create_missing(subject.connection, extracted)
    await subject.run([f"delete from {authors}"])
    await create_missing(subject.connection, extracted)
    assert (await subject.compare(extracted)).is_equal


async def test_rows_keep_their_values_when_a_column_with_a_default_is_added(
    subject: Subject, extracted: Extracted
) -> None:
    authors = qualified("authors", subject.dialect)
    await subject.run(
        [
            f"alter table {authors} drop column motto",
            (
                f"insert into {authors} (id, name)"
                " values ('00000000-0000-0000-0000-000000000001', 'Ada')"
            ),
        ]
    )
    await create_missing(subject.connection, extracted)
    rows = await subject.connection.fetch(f"select name, motto from {authors}", (), timeout_s=10)
    assert [dict(row) for row in rows] == [{"name": "Ada", "motto": "none"}]


async def test_what_was_made_half_way_is_finished(mysql: Subject) -> None:
    """Whichever statement was the last."""
    extracted = extract(METADATA, mysql.dialect)
    for count in range(len(extracted.statements) + 1):
        await mysql.empty()
        await mysql.run(extracted.statements[:count])
        await create_missing(mysql.connection, extracted)
        assert (await mysql.compare(extracted)).is_equal


class Died(Exception):
    pass


async def test_on_postgresql_everything_is_made_at_once(postgresql: Subject) -> None:
    extracted = extract(METADATA, postgresql.dialect)
    for last in range(4):
        await postgresql.empty()
        made = 0

        async def die(_each: Missing, last: int = last) -> None:
            nonlocal made
            made += 1
            if made > last:
                raise Died

        with pytest.raises(Died):
            await create_missing(postgresql.connection, extracted, before=die)
        assert (await introspect(postgresql.connection)).objects == {}
    await create_missing(postgresql.connection, extracted)
    assert (await postgresql.compare(extracted)).is_equal


async def test_everything_can_be_taken_back(subject: Subject, extracted: Extracted) -> None:
    await subject.run(extracted.drops)
    assert (await introspect(subject.connection)).objects == {}
