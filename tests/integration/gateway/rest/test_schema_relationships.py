from tests.integration.gateway.rest.library import api

from bulkhead.gateway.rest.schema import (
    Cardinality,
    ComputedRelationship,
    Name,
    Relationship,
    Schema,
)

M2O = Cardinality.MANY_TO_ONE
O2M = Cardinality.ONE_TO_MANY
O2O = Cardinality.ONE_TO_ONE
M2M = Cardinality.MANY_TO_MANY
Ways = list[tuple[Cardinality, str, tuple[tuple[str, str], ...]]]


def found(schema: Schema, table: str, target: str) -> list[Relationship]:
    known = schema.relationships.get((api(table), "api"), ())
    return [each for each in known if isinstance(each, Relationship) and each.target == api(target)]


def ways(schema: Schema, table: str, target: str) -> Ways:
    return [
        (each.cardinality, each.constraint, each.columns) for each in found(schema, table, target)
    ]


def test_a_foreign_key_is_a_way_in_both_directions(schema: Schema) -> None:
    assert ways(schema, "books", "subjects") != []
    assert ways(schema, "authors", "books") == [
        (O2M, "books_author", (("id", "author_id"),)),
        (O2M, "books_editor", (("id", "editor_id"),)),
    ]


def test_a_foreign_key_that_is_unique_leads_from_one_to_one(schema: Schema) -> None:
    [to_parent] = found(schema, "covers", "books")
    [to_child] = found(schema, "books", "covers")
    assert to_parent.cardinality is to_child.cardinality is O2O
    assert (to_parent.is_parent, to_child.is_parent) == (False, True)
    assert to_child.columns == (("id", "book_id"),)


def test_a_table_may_refer_to_itself(schema: Schema) -> None:
    several, one = found(schema, "authors", "authors")
    assert several.is_self
    assert one.is_self
    assert (several.cardinality, one.cardinality) == (O2M, M2O)


def test_a_foreign_key_may_have_several_columns(schema: Schema) -> None:
    [to_shelf] = found(schema, "places", "shelves")
    assert to_shelf.columns == (("room", "room"), ("number", "number"))


def test_two_foreign_keys_within_a_primary_key_make_a_junction(schema: Schema) -> None:
    [way] = found(schema, "books", "subjects")
    assert way.cardinality is M2M
    assert way.junction is not None
    assert way.junction.table == api("books_subjects")
    assert way.junction.source_columns == (("id", "book_id"),)
    assert way.junction.target_columns == (("id", "subject_id"),)
    [back] = found(schema, "subjects", "books")
    assert back.junction is not None
    assert back.junction.source_columns == (("id", "subject_id"),)
    assert not ways(schema, "books", "shelves"), "the foreign keys of places are no primary key"


def test_a_partitioned_table_has_relationships_and_its_partitions_have_none(
    schema: Schema,
) -> None:
    assert [way[0] for way in ways(schema, "visits", "books")] == [M2O]
    assert not ways(schema, "books", "visits_2026")


def test_views_have_the_relationships_of_the_tables_below_them(schema: Schema) -> None:
    book, same = found(schema, "open_loans", "books")
    assert book.columns == (("book", "id"),)
    assert same.columns == (("same_book", "id"),)
    assert book.table_is_view
    assert not book.target_is_view
    assert [way[2] for way in ways(schema, "books", "open_loans")] == [
        (("id", "book"),),
        (("id", "same_book"),),
    ]
    [composite] = found(schema, "places", "shelf_view")
    assert composite.columns == (("room", "r"), ("number", "n"))
    assert composite.target_is_view


def test_views_of_views_and_subqueries_are_looked_through(schema: Schema) -> None:
    assert [way[0] for way in ways(schema, "catalogue", "covers")] == [O2O]
    assert [way[2] for way in ways(schema, "titles", "covers")] == [(("id", "book_id"),)]
    assert ("author", "author_id") in {
        columns[0] for _, _, columns in ways(schema, "catalogue", "ages")
    }


def test_two_views_may_be_related_to_each_other(schema: Schema) -> None:
    way = found(schema, "ages", "catalogue")[0]
    assert way.table_is_view
    assert way.target_is_view
    assert way.columns == (("author_id", "author"),)


def test_what_is_not_exposed_is_related_to_nothing(schema: Schema) -> None:
    schemas = {table.schema for table, _ in schema.relationships}
    targets = {each.target.schema for some in schema.relationships.values() for each in some}
    assert schemas == targets == {"api"}


def test_a_function_of_a_row_that_returns_rows_is_a_relationship(schema: Schema) -> None:
    known = schema.relationships[api("authors"), "api"]
    computed = {
        each.function.name: each for each in known if isinstance(each, ComputedRelationship)
    }
    assert computed["first_book"] == ComputedRelationship(
        function=api("first_book"),
        table=api("authors"),
        target=api("books"),
        table_alias=api("authors"),
        is_to_one=True,
        is_self=False,
    )
    assert computed["colleagues"].is_self
    assert not computed["colleagues"].is_to_one


def test_a_function_called_as_a_table_takes_the_place_of_the_ways_there(schema: Schema) -> None:
    known = schema.relationships[api("books"), "api"]
    to_authors = [each for each in known if each.target == api("authors")]
    assert [type(each) for each in to_authors] == [ComputedRelationship]
    assert to_authors[0].table == Name("api", "books")
