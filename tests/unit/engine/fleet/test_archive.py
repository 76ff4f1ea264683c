from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.fleet.archive import parse_rows, render_rows

CELLS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=5))
def test_rows_come_back_as_they_went(rows: list[list[str | None]]) -> None:
    assert list(parse_rows(render_rows(rows).decode())) == rows


def test_null_and_what_looks_like_it_are_told_apart() -> None:
    assert render_rows([[None, "", "\\N", 'a"b']]) == b'\\N,"","\\N","a""b"\n'
