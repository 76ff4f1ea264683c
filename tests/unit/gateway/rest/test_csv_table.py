import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.csv_table import csv_to_json, parse_csv
from bulkhead.gateway.rest.errors import BodyInvalid

cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


def test_rows_are_named_by_the_first_line() -> None:
    assert parse_csv('a,"b ""c"""\r\n1,"x,\ny"\r\n\r\nNULL,') == [
        {"a": "1", 'b "c"': "x,\ny"},
        {"a": None, 'b "c"': ""},
    ]


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=4))
def test_what_was_written_as_csv_reads_back(rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    found = [[row["a"], row["b"]] for row in parse_csv(written.getvalue())]
    assert found == [[None if cell == "NULL" else cell for cell in row] for row in rows]


@given(st.text(alphabet='a,"\r\n N', max_size=30))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    try:
        rows, keys = csv_to_json(text)
    except BodyInvalid:
        return
    assert all(row.keys() == keys for row in json.loads(rows))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'parse error (not enough input) at ""'),
        ("a,b\n1,2\n3\n", "All lines must have same number of fields"),
        ('a\n"x', 'parse error at "\\"x"'),
        ('a\nx"y\n', 'parse error at "x\\"y\\n"'),
    ],
)
def test_what_is_no_table_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        parse_csv(text)
    assert caught.value.message == reason
