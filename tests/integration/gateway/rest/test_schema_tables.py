import pytest
from tests.integration.gateway.rest.library import Library, api

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.schema import Column, MediaHandler, Representation, Schema


def test_relations_of_exposed_schemas_are_known_and_partitions_are_not(schema: Schema) -> None:
    names = {name.name for name in schema.tables if name.schema == "api"}
    assert {"books", "catalogue", "ages", "visits", "writable"} <= names
    assert "visits_2026" not in names
    assert {name.schema for name in schema.tables} == {"api"}


@pytest.mark.parametrize(
    ("table", "is_view", "writable"),
    [
        ("books", False, (True, True, True)),
        ("visits", False, (True, True, True)),
        ("titles", True, (False, False, False)),
        ("shelf_view", True, (True, True, True)),
        ("counted", True, (False, False, False)),
        ("ages", True, (False, False, False)),
        ("writable", True, (True, False, False)),
    ],
)
def test_what_can_be_written_is_known(
    schema: Schema, table: str, *, is_view: bool, writable: tuple[bool, bool, bool]
) -> None:
    known = schema.tables[api(table)]
    assert known.is_view == is_view
    assert (known.insertable, known.updatable, known.deletable) == writable


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("books", ("id",)),
        ("books_subjects", ("book_id", "subject_id")),
        ("places", ()),
        ("open_loans", ("loan",)),
        ("catalogue", ("id", "author")),
        ("titles", ("id",)),
        ("shelf_view", ("r", "n")),
        ("ages", ("id",)),
        ("both_kinds", ()),
        ("counted", ()),
    ],
)
def test_views_have_the_keys_of_the_tables_below_them(
    schema: Schema, table: str, key: tuple[str, ...]
) -> None:
    assert set(schema.tables[api(table)].primary_key) == set(key)


def test_columns_come_in_their_order_without_dropped_ones(schema: Schema) -> None:
    assert list(schema.tables[api("books")].columns)[-3:] == ["title_length", "number", "added_at"]


def book(schema: Schema, column: str) -> Column:
    return schema.tables[api("books")].columns[column]


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("id", ("bigint", "bigint", "bigint", "bigint")),
        (
            "title",
            (
                "character varying",
                "character varying(80)",
                "character varying",
                "character varying",
            ),
        ),
        ("isbn", ("character varying", "api.isbn", "api.isbn", "character varying")),
        ("short_isbn", ("character varying", "api.short_isbn", "api.short_isbn")),
        ("code", ("character", "character(3)", "bpchar", "bpchar")),
        ("flags", ("bit", "bit(4)", '"bit"', '"bit"')),
        ("binding", ("api.binding", "api.binding", "api.binding", "api.binding")),
        ("bindings", ("api.binding[]", "api.binding[]", "api.binding[]")),
        ("stars", ("smallint", "api.stars", "api.stars", "smallint")),
        (
            "added_at",
            (
                "timestamp with time zone",
                "timestamp(3) with time zone",
                "timestamp with time zone",
            ),
        ),
    ],
)
def test_types_are_named_with_and_without_domains_and_lengths(
    schema: Schema, column: str, names: tuple[str, ...]
) -> None:
    known = book(schema, column)
    found = (known.type, known.nominal_type, known.cast_type, known.base_cast_type)
    assert found[: len(names)] == names


@pytest.mark.parametrize(
    ("column", "default"),
    [
        ("id", "nextval('api.books_id_seq'::regclass)"),
        ("title", "'untitled'::character varying"),
        ("isbn", "'0000000000000'::character varying"),
        ("binding", "'paper'::api.binding"),
        ("tags", "'{}'::text[]"),
        ("stars", "3"),
        ("title_length", None),
        ("number", None),
        ("author_id", None),
    ],
)
def test_defaults_are_those_of_the_column_its_domain_or_its_sequence(
    schema: Schema, column: str, default: str | None
) -> None:
    assert book(schema, column).default == default
    if column == "id":
        authors = schema.tables[api("authors")].columns
        assert authors["id"].default == "nextval('api.authors_id_seq')"


def test_what_else_is_known_of_a_column(schema: Schema) -> None:
    assert not book(schema, "title").is_nullable
    assert not book(schema, "stars").is_nullable
    assert book(schema, "isbn").is_nullable
    assert book(schema, "title").max_length == 80
    assert book(schema, "isbn").max_length == 13
    assert book(schema, "code").max_length == 3
    assert book(schema, "flags").max_length == 4
    assert book(schema, "binding").max_length is None
    assert book(schema, "binding").enum == ("paper", "cloth", "leather")
    assert book(schema, "title_length").is_generated
    assert book(schema, "size").is_composite
    assert book(schema, "tags").is_composite
    assert not book(schema, "title").is_composite
    authors = schema.tables[api("authors")]
    assert authors.description == "Who writes"
    assert authors.columns["name"].description == "As printed"


def test_representations_are_implicit_casts_of_domains(schema: Schema) -> None:
    expected = Representation("api.short_isbn", "json", 'api."json"')
    assert schema.representations == {("api.short_isbn", "json"): expected}


async def test_a_representation_is_used_when_some_role_may_call_it(library: Library) -> None:
    function = "function api.json(api.short_isbn)"
    await library.admin.execute(f"revoke execute on {function} from public")
    assert not (await library.load()).representations
    await library.admin.execute(f"grant execute on {function} to authenticated")
    assert (await library.load()).representations


def test_media_handlers_are_found_by_their_domain(schema: Schema) -> None:
    books = MediaHandler(api("marc"), "text/x-marc", api("books"), True, "text/x-marc")  # noqa: FBT003
    anything = MediaHandler(api("anything"), "application/octet-stream", None, True, "*/*")  # noqa: FBT003
    card = MediaHandler(api("card"), "text/x-marc", api("card"), False, "text/x-marc")  # noqa: FBT003
    handlers = schema.media_handlers
    assert handlers[api("books"), "text/x-marc"] == books
    assert handlers[None, "*/*"] == anything
    assert handlers[api("card"), "text/x-marc"] == card


def test_computed_columns_are_found_on_the_search_path_only(schema: Schema) -> None:
    assert schema.computed_columns[api("authors"), "initials"] == "character varying"
    assert schema.computed_columns[api("books"), "words"] == "integer"
    assert (api("authors"), "first_book") not in schema.computed_columns


def test_time_zones_are_known(schema: Schema) -> None:
    assert {"UTC", "Europe/Vienna"} <= schema.time_zones
    assert "Jupiter/Red_Spot" not in schema.time_zones


async def test_a_schema_that_does_not_exist_is_empty(library: Library) -> None:
    schema = await library.load(RestConfig(schemas=("nothing",)))
    assert not schema.tables
    assert not schema.relationships
    assert not schema.functions


async def test_settings_of_roles_are_those_that_the_role_may_set(library: Library) -> None:
    await library.admin.execute(
        "alter role anon set statement_timeout = '3s';"
        "alter role anon set default_transaction_isolation = 'repeatable read';"
        "alter role anon set log_min_messages = 'error'"
    )
    try:
        schema = await library.load()
    finally:
        await library.admin.execute("alter role anon reset all")
    assert schema.role_settings["anon"] == (("statement_timeout", "3s"),)
    assert schema.role_isolation["anon"] == "repeatable read"
