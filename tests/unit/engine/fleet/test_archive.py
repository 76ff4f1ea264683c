import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.fleet.archive import (
    ArchiveBroken,
    ArchivedTable,
    HashedFile,
    parse_rows,
    read_rows,
    render_rows,
    split_rows,
)

CELLS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=5))
def test_rows_come_back_as_they_went(rows: list[list[str | None]]) -> None:
    assert list(parse_rows(render_rows(rows).decode())) == rows


def test_null_and_what_looks_like_it_are_told_apart() -> None:
    assert render_rows([[None, "", "\\N", 'a"b']]) == b'\\N,"","\\N","a""b"\n'


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=8))
def test_rows_are_read_one_after_another_as_they_went(rows: list[list[str | None]]) -> None:
    lines = io.StringIO(render_rows(rows).decode(), newline="")
    assert list(split_rows(lines)) == rows


def table_of(content: bytes, columns: tuple[str, ...] = ("a", "b")) -> ArchivedTable:
    digest = hashlib.sha256(content).hexdigest()
    return ArchivedTable("t", "tables/t.csv", columns, 1, len(content), digest, "0")


def read(content: bytes, table: ArchivedTable) -> list[list[str | None]]:
    return list(read_rows(HashedFile(io.BytesIO(content), Path("x.zip"), table)))


def test_a_table_of_an_archive_is_read_without_its_head() -> None:
    content = b'a,b\n1,\\N\n"x\ny",""\n'
    assert read(content, table_of(content)) == [["1", None], ["x\ny", ""]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,c\n1,2\n", "does not begin with its columns"),
        (b"", "does not begin with its columns"),
        (b"a,b\n1\n", "has a row of another length"),
        (b"a,b\n1,2,3\n", "has a row of another length"),
        (b'a,b\n1,"2"3\n', "is no CSV"),
        (b'a,b\n1,"2\n', "is no CSV"),
        (b"a,b\n1,\xff\n", "is no CSV"),
    ],
)
def test_what_is_no_table_of_an_archive_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ArchiveBroken, match=reason):
        read(content, table_of(content))


def test_a_table_that_was_changed_since_is_refused() -> None:
    table = table_of(b"a,b\n1,2\n")
    with pytest.raises(ArchiveBroken, match="was changed"):
        read(b"a,b\n1,3\n", table)
