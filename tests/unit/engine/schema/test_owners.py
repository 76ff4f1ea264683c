import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.schema.owners import Hop, OwnerPath, parse_owner

names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)


def test_a_column_is_a_path_without_hops() -> None:
    assert parse_owner("user_id") == OwnerPath((), "user_id")
    assert parse_owner("user_id").first_column == "user_id"


def test_a_path_follows_foreign_keys() -> None:
    path = parse_owner("order_id>orders.user_id")
    assert path == OwnerPath((Hop("order_id", "orders"),), "user_id")
    assert path.first_column == "order_id"


@given(st.lists(st.tuples(names, names), max_size=4), names)
def test_what_is_written_is_read_back(hops: list[tuple[str, str]], column: str) -> None:
    columns = [*[hop[0] for hop in hops], column]
    text = columns[0]
    for (_, table), following in zip(hops, columns[1:], strict=True):
        text += f">{table}.{following}"
    path = parse_owner(text)
    assert [(hop.column, hop.table) for hop in path.hops] == hops
    assert path.column == column


@pytest.mark.parametrize("text", ["", "a>b", "a>b.", "a>.c", "a b", "a>b c.d", "a>b.c>d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="owner path"):
        parse_owner(text)
