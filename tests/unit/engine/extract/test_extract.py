"""What is declared becomes the same statements every time, or is refused with its reason."""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.access import TableAccess, TablePolicy
from bulkhead.engine.extract.extract import ExtractOptions, extract
from bulkhead.engine.extract.migration import render_migration
from bulkhead.engine.extract.model import Catalogue, Kind, SchemaObject, SchemaUnsupported
from bulkhead.engine.extract.names import quote, quote_text, sendable
from bulkhead.engine.extract.portable import Id
from bulkhead.engine.extract.tokens import TokenKind, split_tokens
from bulkhead.engine.migrations.files import parse_migration

POSTGRESQL, MYSQL = Dialect.POSTGRESQL, Dialect.MYSQL


def one_table(*items: Any, name: str = "things", **options: Any) -> sa.MetaData:
    metadata = sa.MetaData()
    key: sa.Column[Any] = sa.Column("id", Id(), nullable=False)
    sa.Table(name, metadata, key, sa.PrimaryKeyConstraint(key, name="p"), *items, **options)
    return metadata


def refusal(dialect: Dialect, *items: Any, **options: Any) -> str:
    with pytest.raises(SchemaUnsupported) as caught:
        extract(one_table(*items, **options), dialect)
    return str(caught.value)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_order_of_declaration_within_a_table_changes_nothing(dialect: Dialect) -> None:
    parts = [
        lambda: sa.CheckConstraint("a > 0", name="c1"),
        lambda: sa.CheckConstraint("a < 9", name="c2"),
        lambda: sa.UniqueConstraint("a", name="u1"),
        lambda: sa.Index("i1", "a"),
        lambda: sa.Index("i2", "a", "id"),
    ]

    def declare(items: Any) -> sa.MetaData:
        return one_table(sa.Column("a", sa.Integer()), *(item() for item in items))

    one, other = (extract(declare(items), dialect) for items in (parts, reversed(parts)))
    assert one.script == other.script
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("dialect", list(Dialect))
def test_everything_about_an_object_changes_the_fingerprint(dialect: Dialect) -> None:
    catalogue = extract(METADATA, dialect).catalogue
    for key in list(catalogue.objects)[:40]:
        changed = SchemaObject(key, {**catalogue.objects[key].facets, "other": "x"})
        others = [each for each in catalogue.objects.values() if each.key != key]
        assert Catalogue.of(dialect, others).fingerprint != catalogue.fingerprint
        assert Catalogue.of(dialect, [*others, changed]).fingerprint != catalogue.fingerprint
    again = Catalogue.of(dialect, reversed(list(catalogue.objects.values())))
    assert again.fingerprint == catalogue.fingerprint


@pytest.mark.parametrize("dialect", list(Dialect))
def test_what_has_no_name_is_refused(dialect: Dialect) -> None:
    assert "has no name" in refusal(dialect, sa.CheckConstraint("id is not null"))


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_schema_of_its_own_is_refused(dialect: Dialect) -> None:
    assert "names a schema" in refusal(dialect, schema="other")


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_type_that_nobody_knows_is_refused(dialect: Dialect) -> None:
    assert "none of those" in refusal(dialect, sa.Column("a", sa.Interval()))


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("name", ["a\0b", "a\ud800", "ä" * 65])
def test_a_name_that_no_server_can_have_is_refused(dialect: Dialect, name: str) -> None:
    assert "the name" in refusal(dialect, sa.Column(name, sa.Integer()))


def test_a_name_that_postgresql_would_cut_is_refused() -> None:
    assert "more than 63 bytes" in refusal(POSTGRESQL, sa.Column("ä" * 32, sa.Integer()))


@pytest.mark.parametrize(
    ("name", "reason"), [("a ", "ends with a space"), ("😀", "beyond the basic plane")]
)
def test_a_name_that_mysql_cannot_have_is_refused(name: str, reason: str) -> None:
    assert reason in refusal(MYSQL, sa.Column(name, sa.Integer()))
    extract(one_table(sa.Column(name, sa.Integer())), POSTGRESQL)


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("e", "é"), ("straße", "STRASSE")])
def test_names_that_only_postgresql_tells_apart_are_refused_for_mysql(one: str, other: str) -> None:
    def declare() -> list[sa.Column[Any]]:
        return [sa.Column(name, sa.Integer()) for name in (one, other)]

    assert "is also" in refusal(MYSQL, *declare())
    extract(one_table(*declare()), POSTGRESQL)


def test_two_indexes_of_one_name_are_refused_for_postgresql() -> None:
    metadata = one_table(sa.Index("i", "id"))
    key: sa.Column[Any] = sa.Column("id", Id(), nullable=False)
    sa.Table("others", metadata, key, sa.PrimaryKeyConstraint(key, name="q"), sa.Index("i", key))
    with pytest.raises(SchemaUnsupported, match="the index 'i'"):
        extract(metadata, POSTGRESQL)
    extract(metadata, MYSQL)


MYSQL_REFUSES: list[tuple[list[Any], str]] = [
    ([sa.Column("a", sa.Text()), sa.Index("i", "a")], "more than 3072 bytes"),
    ([sa.Column("a", sa.String(800)), sa.UniqueConstraint("a", name="u")], "more than 3072"),
    ([sa.Index("i", sa.func.lower(sa.text("id")))], "is on an expression"),
    (
        [sa.Index("i", "id", unique=True, postgresql_where=sa.text("id is not null"))],
        "is for a part of the rows",
    ),
    (
        [sa.UniqueConstraint("id", name="u", postgresql_nulls_not_distinct=True)],
        "takes nulls for equal",
    ),
    ([sa.CheckConstraint("id <> '\\'", name="c")], "has a backslash"),
    ([sa.Column("a", sa.String(9), server_default="\\")], "a NUL or a backslash"),
    ([sa.Column("a", sa.String(9), comment="x" * 1025)], "more than 1024 characters"),
    (
        [
            sa.Column("a", Id(), nullable=True),
            sa.ForeignKeyConstraint(["a"], ["things.id"], name="f", ondelete="set null"),
            sa.CheckConstraint("a <> id", name="c"),
        ],
        "a check looks at",
    ),
]


@pytest.mark.parametrize(("items", "reason"), MYSQL_REFUSES, ids=[why for _, why in MYSQL_REFUSES])
def test_what_mysql_cannot_do_is_refused_for_it_alone(items: list[Any], reason: str) -> None:
    metadata = one_table(*items)
    with pytest.raises(SchemaUnsupported, match=reason):
        extract(metadata, MYSQL)
    extract(metadata, POSTGRESQL)


def test_a_constraint_may_be_for_one_dialect() -> None:
    check = sa.CheckConstraint("id::text <> ''", name="c", info={"dialect": "postgresql"})
    index = sa.Index("i", sa.text("lower(id)"), info={"dialect": "postgresql"})
    metadata = one_table(check, index)
    assert "i" in {key.name for key in extract(metadata, POSTGRESQL).catalogue.objects}
    assert {key.kind for key in extract(metadata, MYSQL).catalogue.objects} == {
        Kind.TABLE,
        Kind.COLUMN,
        Kind.PRIMARY_KEY,
    }


def test_a_default_that_is_no_number_is_refused_for_a_number() -> None:
    for default in ("1; drop table a", "NaN"):
        column: sa.Column[Any] = sa.Column("a", sa.Integer(), server_default=default)
        assert "is no number" in refusal(POSTGRESQL, column)


def test_without_the_roles_of_clients_the_table_is_the_owner_s_alone() -> None:
    policy = TablePolicy("read", "select", ("anon",), using="true")
    access = TableAccess((policy,), {"anon": ("select",)})
    metadata = one_table(info={"access": access})
    found = extract(metadata, POSTGRESQL, ExtractOptions(client_roles=False))
    assert "anon" not in found.script
    assert "enable row level security" in found.script
    assert "force" not in found.script
    with_roles = extract(metadata, POSTGRESQL)
    assert 'grant select on "public"."things" to "anon"' in with_roles.script
    assert 'create policy "read"' in with_roles.script


@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_first_migration_is_one(dialect: Dialect) -> None:
    extracted = extract(METADATA, dialect)
    text = render_migration(extracted, "A store.")
    migration = parse_migration("store", "0001_store.sql", text)
    assert len(migration.down_statements) == len(extracted.drops)
    plain = [each for each in migration.up_statements if '"anon"' in each.text]
    assert len(plain) == (1 if dialect is POSTGRESQL else 0)


@given(st.text(min_size=1, max_size=20), st.sampled_from(list(Dialect)))
def test_a_quoted_name_is_one_name(name: str, dialect: Dialect) -> None:
    try:
        quoted = quote(name, dialect)
    except SchemaUnsupported:
        return
    [token] = split_tokens(quoted, dialect)
    assert (token.kind, token.value) == (TokenKind.NAME, name)


@given(st.text(max_size=20), st.sampled_from(list(Dialect)))
def test_a_quoted_text_is_one_text(text: str, dialect: Dialect) -> None:
    try:
        quoted = quote_text(text, dialect)
    except SchemaUnsupported:
        return
    [token] = split_tokens(quoted, dialect)
    assert (token.kind, token.value) == (TokenKind.TEXT, text)


def test_a_per_cent_is_no_placeholder() -> None:
    assert sendable("a % b", MYSQL) == "a %% b"
    assert sendable("a % b", POSTGRESQL) == "a % b"
