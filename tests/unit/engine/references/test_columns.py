from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.references.columns import ColumnFacts, KeyKind, TableFacts


def column(kind: str, name: str = "id") -> ColumnFacts:
    return ColumnFacts(name, kind, required=True, indexed=True)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("uuid", KeyKind.UUID),
        ("smallint", KeyKind.INTEGER),
        ("bigint", KeyKind.INTEGER),
        ("text", KeyKind.TEXT),
        ("character varying", KeyKind.TEXT),
    ],
)
def test_a_type_decides_how_its_keys_travel(kind: str, expected: KeyKind) -> None:
    assert column(kind).kind is expected


@given(st.lists(st.uuids(), max_size=20))
def test_packed_uuids_come_apart_again(keys: list[UUID]) -> None:
    facts = column("uuid")
    unpacked = facts.unpack(b"".join(key.bytes for key in keys))
    assert [facts.text(key) for key in unpacked] == [str(key) for key in keys]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_packed_integers_come_apart_again(keys: list[int]) -> None:
    facts = column("bigint")
    unpacked = facts.unpack(b"".join(key.to_bytes(8, "big", signed=True) for key in keys))
    assert [facts.text(key) for key in unpacked] == [str(key) for key in keys]


def test_an_empty_page_has_no_keys() -> None:
    assert column("uuid").unpack(None) == ()


def test_the_key_of_a_row_is_its_text_or_a_list() -> None:
    one = TableFacts("t", column("uuid"), (column("bigint", "id"),))
    two = TableFacts("t", column("uuid"), (column("text", "shelf"), column("integer", 'a"b')))
    assert one.row_key == '"id"::text'
    assert two.row_key == 'jsonb_build_array("shelf"::text, "a""b"::text)::text'
