import re
from itertools import combinations

import pytest

from bulkhead.apps.commerce.products.catalogue.model import Filters, Sort
from bulkhead.apps.commerce.products.catalogue.service import (
    _FILTERS,
    _listing_statement,
    compose,
)

SHAPES = [
    shape for count in range(len(_FILTERS) + 1) for shape in combinations(sorted(_FILTERS), count)
]


def test_parameters_are_numbered_in_the_order_of_their_first_use() -> None:
    statement = compose("select :b::text, :a, :b, x::int from {from}", **{"from": "t where y = :c"})
    assert statement.sql == "select $1::text, $2, $1, x::int from t where y = $3"
    assert statement.arguments({"a": 1, "b": 2, "c": 3, "d": 4}) == [2, 1, 3]


@pytest.mark.parametrize("sort", Sort)
def test_every_shape_of_a_list_is_complete(sort: Sort) -> None:
    for shape in SHAPES:
        statement = _listing_statement(sort, 20, shape)
        assert not re.search(r"\{\w+\}|[^:]:[a-z]", statement.sql)
        assert set(re.findall(r"\$\d+", statement.sql)) == {
            f"${number}" for number in range(1, len(statement.names) + 1)
        }


def test_every_parameter_of_a_list_has_a_value() -> None:
    attributes = tuple((f"a{number}", ("x",)) for number in range(10))
    filters = Filters("a", "b", ("c",), None, None, in_stock=True, attributes=attributes)
    given = {*filters.parameters(), "sort", "after", "after_id"}
    shape = (*(name for name in _FILTERS if name != "attribute"), *["attribute"] * 10)
    for sort in Sort:
        assert set(_listing_statement(sort, 20, shape).names) <= given
