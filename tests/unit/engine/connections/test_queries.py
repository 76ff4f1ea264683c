import pytest

from bulkhead.engine.connections.queries import parse_queries

TEXT = """-- Orders.

-- name: get_order
-- One order.
select id
from orders
where id = $1;

-- name: count_orders
-- All of them.
select count(*) from orders
"""


def test_each_query_is_found_by_its_name_without_its_comment() -> None:
    queries = parse_queries(TEXT)
    assert queries.get_order == "select id\nfrom orders\nwhere id = $1"
    assert queries.count_orders == "select count(*) from orders"


def test_a_missing_query_is_named() -> None:
    with pytest.raises(AttributeError, match="list_orders"):
        _ = parse_queries(TEXT).list_orders


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\n-- Once.\nselect 1\n-- name: a\n-- Twice.\nselect 2", "twice"),
        ("-- name: a\n-- Nothing.\n", "empty"),
        ("select 1;\n-- name: a\n-- One.\nselect 1", "before the first"),
    ],
)
def test_a_malformed_file_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_queries(text)
