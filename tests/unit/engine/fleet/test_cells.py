import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.fleet.cells import Kind, canonical, for_mysql, hash_rows

SAME = [
    (Kind.BOOLEAN, ["t", "true", "1"]),
    (Kind.BOOLEAN, ["f", "false", "0"]),
    (Kind.NUMBER, ["7.50", "7.5", "7.5000", "75e-1"]),
    (Kind.NUMBER, ["0", "0.00", "-0"]),
    (Kind.NUMBER, ["1200", "1200.00", "12e2"]),
    (
        Kind.INSTANT,
        [
            "2026-11-26 12:00:00.5+00",
            "2026-11-26T12:00:00.500000",
            "2026-11-26 17:30:00.500+05:30",
            "2026-11-26 12:00:00.5",
        ],
    ),
    (Kind.JSON, ['{"b": 1.0, "a": [true]}', '{"a":[true],"b":1}']),
    (Kind.TEXT, ["a"]),
]
OTHER = [
    (Kind.BOOLEAN, "t", "f"),
    (Kind.NUMBER, "7.5", "75"),
    (Kind.NUMBER, "1", "10"),
    (Kind.NUMBER, "-1", "1"),
    (Kind.NUMBER, "0", "10"),
    (Kind.INSTANT, "2026-11-26 12:00:00+00", "2026-11-26 12:00:00+01"),
    (Kind.JSON, '{"a": 1}', '{"a": "1"}'),
    (Kind.JSON, "null", "{}"),
    (Kind.TEXT, "1.0", "1"),
    (Kind.TEXT, "", " "),
]


@pytest.mark.parametrize(("kind", "cells"), SAME)
def test_a_value_has_one_form_however_it_was_written(kind: Kind, cells: list[str]) -> None:
    assert len({canonical(kind, cell) for cell in cells}) == 1


@pytest.mark.parametrize(("kind", "one", "other"), OTHER)
def test_other_values_have_other_forms(kind: Kind, one: str, other: str) -> None:
    assert canonical(kind, one) != canonical(kind, other)
    assert canonical(kind, one) != canonical(kind, None)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.integers(0, 8))
def test_numbers_are_equal_when_they_are(number: Decimal, zeros: int) -> None:
    same = f"{number:f}" + "0" * zeros
    assert canonical(Kind.NUMBER, str(number)) == canonical(Kind.NUMBER, same)
    more = number + Decimal("0.0001")
    assert canonical(Kind.NUMBER, str(number)) != canonical(Kind.NUMBER, str(more))


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(9998, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - bounds of naive ones
def test_instants_reach_mysql_in_utc(instant: dt.datetime) -> None:
    expected = instant.astimezone(dt.UTC).replace(tzinfo=None)
    assert for_mysql(Kind.INSTANT, instant.isoformat(" ")) == expected
    assert canonical(Kind.INSTANT, instant.isoformat()) == expected.isoformat()


@pytest.mark.parametrize("cell", ["infinity", "-infinity", "4713-01-01 BC", "12026-01-01", "soon"])
def test_an_instant_beyond_the_calendar_is_no_value_of_mysql(cell: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        for_mysql(Kind.INSTANT, cell)


def test_bytes_and_booleans_reach_mysql_as_such() -> None:
    assert for_mysql(Kind.BYTES, "\\x00ff") == b"\x00\xff"
    assert (for_mysql(Kind.BOOLEAN, "t"), for_mysql(Kind.BOOLEAN, "f")) == ("1", "0")
    assert for_mysql(Kind.TEXT, None) is None


@given(st.lists(st.tuples(st.none() | st.text(), st.sampled_from(["t", "f", "1"])), max_size=6))
def test_a_hash_of_rows_does_not_depend_on_their_order(
    rows: list[tuple[str | None, str]],
) -> None:
    kinds = (Kind.TEXT, Kind.BOOLEAN)
    assert hash_rows(kinds, rows) == hash_rows(kinds, list(reversed(rows)))
    assert hash_rows(kinds, rows) != hash_rows(kinds, [*rows, ("x", "t")])
