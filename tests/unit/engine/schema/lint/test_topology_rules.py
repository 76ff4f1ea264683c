from pathlib import Path

from bulkhead.engine.schema.lint.topology_rules import check_topology
from bulkhead.engine.schema.relations import (
    ColumnFacts,
    ForeignKey,
    Index,
    Relation,
    RelationKind,
)
from bulkhead.engine.topology import Access, Database, Table


def column(name: str, type_: str = "uuid", *, not_null: bool = True) -> ColumnFacts:
    return ColumnFacts(name, type_, type_, not_null=not_null)


def index(*columns: str, is_unique: bool = False) -> Index:
    return Index(columns, is_primary=is_unique, is_unique=is_unique)


def relation(
    name: str,
    *columns: ColumnFacts,
    indexes: tuple[Index, ...] = (),
    keys: tuple[ForeignKey, ...] = (),
) -> Relation:
    by_name = {each.name: each for each in columns}
    return Relation("public", name, RelationKind.TABLE, by_name, keys, indexes)


def check(database: Database, *relations: Relation) -> set[tuple[str, str]]:
    found = {(each.schema, each.name): each for each in relations}
    return {(rule.name, label) for rule, label, _ in check_topology(database, found, ("public",))}


NOTES = relation(
    "notes",
    column("id"),
    column("user_id"),
    indexes=(index("id", is_unique=True), index("user_id")),
)


def declared(*tables: Table) -> Database:
    return Database("d", tables, Path())


def test_what_agrees_has_no_finding() -> None:
    assert check(declared(Table("notes", owner="user_id")), NOTES) == set()


def test_both_sides_must_know_a_table() -> None:
    assert check(declared(Table("ghosts")), NOTES) == {
        ("table_undeclared", "public.notes"),
        ("table_missing", "public.ghosts"),
    }


def test_columns_and_keys_must_be_there() -> None:
    table = Table("notes", Access(), key=("user_id",), update_columns=frozenset({"body"}))
    assert check(declared(table), NOTES) == {
        ("column_missing", "public.notes.body"),
        ("key_differs", "public.notes"),
    }


def test_the_owner_is_looked_for_in_every_statement_and_needs_an_index() -> None:
    bare = relation(
        "notes", column("id"), column("user_id"), indexes=(index("id", is_unique=True),)
    )
    assert check(declared(Table("notes", owner="user_id")), bare) == {
        ("owner_unindexed", "public.notes.user_id")
    }


def test_an_owner_that_may_be_missing_is_pointed_out() -> None:
    loose = relation(
        "notes",
        column("id"),
        column("user_id", not_null=False),
        indexes=(index("id", is_unique=True), index("user_id")),
    )
    assert check(declared(Table("notes", owner="user_id")), loose) == {
        ("owner_nullable", "public.notes.user_id")
    }


def test_a_foreign_key_between_owned_rows_may_cross_owners() -> None:
    key = ForeignKey("replies_note", ("note_id",), ("public", "notes"), ("id",))
    replies = relation(
        "replies",
        column("id"),
        column("user_id"),
        column("note_id"),
        indexes=(index("id", is_unique=True), index("user_id")),
        keys=(key,),
    )
    database = declared(Table("notes", owner="user_id"), Table("replies", owner="user_id"))
    assert check(database, NOTES, replies) == {("foreign_key_crosses_owners", "public.replies")}


def test_a_unique_value_tells_one_owner_of_another() -> None:
    named = relation(
        "notes",
        column("id"),
        column("user_id"),
        column("name", "text"),
        indexes=(
            index("id", is_unique=True),
            index("user_id", "name", is_unique=True),
            index("name", is_unique=True),
        ),
    )
    assert check(declared(Table("notes", owner="user_id")), named) == {
        ("unique_shared_by_owners", "public.notes")
    }
