import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.schema import (
    Cardinality,
    Function,
    Name,
    Parameter,
    Relationship,
    ReturnType,
    Schema,
    Table,
)
from bulkhead.gateway.rest.similar import (
    CHARACTERS_MAX,
    TABLES_MAX,
    edit_distance,
    find_similar,
    measure_similarity,
    suggest_function,
    suggest_relation,
    suggest_table,
)


def slow_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for number, left in enumerate(one, 1):
        before, row = row, [number]
        for place, right in enumerate(other, 1):
            row.append(min(before[place - 1] + (left != right), before[place] + 1, row[-1] + 1))
    return row[-1]


texts = st.text(st.sampled_from("abcde_ñ"), max_size=70)


@given(texts, texts)
def test_the_edit_distance_is_that_of_the_matrix(one: str, other: str) -> None:
    assert edit_distance(one, other) == slow_distance(one, other)


@given(st.text(max_size=20), st.text(max_size=20))
def test_similarity_lies_between_nothing_and_one_and_has_no_direction(one: str, other: str) -> None:
    score = measure_similarity(one, other)
    assert 0 <= score <= 1
    assert score == measure_similarity(other, one)
    assert (score == 1) == (one == other)


@given(st.lists(st.text(max_size=20), max_size=10), st.text(max_size=20))
def test_what_is_similar_is_one_of_the_names(names: list[str], wanted: str) -> None:
    found = find_similar(names, wanted)
    assert {each.name for each in found} <= set(names)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_a_name_written_with_other_capital_letters_is_the_same() -> None:
    assert [each.name for each in find_similar(["Items", "item"], "ITEMS")] == ["Items"]


def test_nothing_is_similar_to_a_text_longer_than_any_name() -> None:
    assert not find_similar(["a" * CHARACTERS_MAX], "a" * (CHARACTERS_MAX + 1))


def table(name: str) -> Name:
    return Name("api", name)


def films() -> Schema:
    def leads_to(target: str) -> Relationship:
        return Relationship(table("films"), table(target), Cardinality.MANY_TO_ONE)

    relationships = tuple(map(leads_to, ("directors", "roles", "actors")))
    return Schema(
        version=1,
        tables={table(name): Table(table(name), {}) for name in ("films", "directors")},
        relationships={(table("films"), "api"): relationships},
        functions={},
    )


@pytest.mark.parametrize(
    ("origin", "relation", "hint"),
    [
        ("film", "directors", "Perhaps you meant 'films' instead of 'film'."),
        ("films", "role", "Perhaps you meant 'roles' instead of 'role'."),
        ("films", "actors", None),
        ("noclosealternative", "roles", None),
        ("films", "noclosealternative", None),
    ],
)
def test_a_relationship_is_suggested_as_by_postgrest(
    origin: str, relation: str, hint: str | None
) -> None:
    assert suggest_relation(films(), table(origin), relation) == hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("film", "Perhaps you meant the table 'api.films'"),
        ("fil", None),
        ("projectx", None),
    ],
)
def test_a_table_is_suggested_only_when_most_of_it_was_known(name: str, hint: str | None) -> None:
    assert suggest_table(films(), table(name)) == hint


def test_a_large_schema_gets_no_hints_about_tables() -> None:
    names = [table(f"films{number}") for number in range(TABLES_MAX)]
    schema = Schema(1, {name: Table(name, {}) for name in names}, {}, {})
    assert suggest_table(schema, table("films")) is None


def functions() -> Schema:
    def overload(name: str, *parameters: str) -> Function:
        return Function(
            table(name),
            tuple(Parameter(each, "text", is_required=True) for each in parameters),
            ReturnType(Name("pg_catalog", "text"), is_set=False, is_composite=False),
        )

    some = (overload("test", "id", "attr"), overload("test", "val", "param", "name"))
    return Schema(
        1,
        {},
        {},
        {
            table("test"): some,
            table("another"): (overload("another"),),
            Name("private", "other"): (overload("other"),),
        },
    )


@pytest.mark.parametrize(
    ("name", "keys", "hint"),
    [
        ("testt", ("val",), "test"),
        ("other", (), None),
        ("noclosealternative", (), None),
        ("test", ("vall", "pqaram", "naem"), "test(name, param, val)"),
        ("test", ("val", "param"), "test(name, param, val)"),
        ("test", ("id", "attrs"), "test(attr, id)"),
        ("test", ("id",), "test(attr, id)"),
        ("test", ("noclosealternative",), None),
    ],
)
def test_a_function_is_suggested_as_by_postgrest(
    name: str, keys: tuple[str, ...], hint: str | None
) -> None:
    expected = None if hint is None else f"Perhaps you meant to call the function api.{hint}"
    assert suggest_function(functions(), table(name), keys) == expected
