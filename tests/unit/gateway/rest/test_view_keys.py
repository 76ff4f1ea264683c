from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.schema import Name
from bulkhead.gateway.rest.view_keys import COPIES_MAX, View, trace_views

TABLE = 1


def origin(view: int, number: int, relation: int, origin_number: int) -> dict[str, Any]:
    return {
        "view": view,
        "schema": "api" if view < 100 else "other",
        "name": f"view_{view}",
        "column": f"c{number}",
        "number": number,
        "relation": relation,
        "origin_number": origin_number,
    }


def keys_of(rows: list[dict[str, Any]], *numbers: int) -> dict[str, list[tuple[str, ...]]]:
    below = trace_views(rows, ["api"])
    found = {view.name.name: list(view.find_keys(TABLE, numbers)) for view in below.get(TABLE, ())}
    return {name: keys for name, keys in found.items() if keys}


def test_a_view_has_a_key_when_it_has_all_of_its_columns() -> None:
    rows = [origin(10, 1, TABLE, 2), origin(10, 2, TABLE, 1), origin(11, 1, TABLE, 1)]
    assert keys_of(rows, 1, 2) == {"view_10": [("c2", "c1")]}
    assert keys_of(rows, 1) == {"view_10": [("c2",)], "view_11": [("c1",)]}


def test_a_column_that_is_there_twice_makes_two_keys() -> None:
    rows = [origin(10, 1, TABLE, 1), origin(10, 2, TABLE, 1)]
    assert keys_of(rows, 1) == {"view_10": [("c1",), ("c2",)]}


def test_views_are_followed_through_views_of_other_schemas() -> None:
    rows = [origin(10, 1, 100, 3), origin(100, 3, 101, 2), origin(101, 2, TABLE, 1)]
    assert keys_of(rows, 1) == {"view_10": [("c1",)]}


def test_only_so_many_copies_of_a_key_are_followed() -> None:
    view = View(10, Name("api", "wide"), {(TABLE, n): [f"c{i}" for i in range(30)] for n in (1, 2)})
    assert len(list(view.find_keys(TABLE, [1, 2]))) == COPIES_MAX


@st.composite
def origins(draw: st.DrawFn) -> list[dict[str, Any]]:
    views = st.integers(min_value=2, max_value=6)
    columns = st.integers(min_value=1, max_value=3)
    drawn = draw(st.dictionaries(st.tuples(views, columns), st.tuples(st.integers(1, 6), columns)))
    return [origin(*column, *below) for column, below in drawn.items()]


def below(rows: list[dict[str, Any]], view: int, number: int) -> Iterator[tuple[int, int]]:
    following = {
        (row["view"], row["number"]): (row["relation"], row["origin_number"]) for row in rows
    }
    column = (view, number)
    for _ in range(len(rows)):
        if column not in following:
            return
        column = following[column]
        yield column


@given(origins())
def test_columns_are_followed_to_the_end_even_in_circles(rows: list[dict[str, Any]]) -> None:
    found = {
        (view.oid, column, origin)
        for some in trace_views(rows, ["api"]).values()
        for view in some
        for origin, columns in view.columns.items()
        for column in columns
    }
    assert found == {
        (row["view"], row["column"], origin)
        for row in rows
        for origin in below(rows, row["view"], row["number"])
        if origin != (row["view"], row["number"])
    }
