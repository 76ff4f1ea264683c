import datetime as dt
from decimal import Decimal
from enum import IntEnum, StrEnum
from uuid import UUID

import pytest

from bulkhead.engine.drivers.errors import ValueInvalid
from bulkhead.engine.drivers.mysql_values import parameter, size_bytes


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    "value",
    [2**64, -(2**63) - 1, "\ud800", float("nan"), float("inf"), Decimal("NaN"), [1], {"a": 1}],
)
def test_what_the_protocol_would_mangle_is_refused(value: object) -> None:
    with pytest.raises(ValueInvalid):
        parameter(value)


def test_instants_lose_their_zone_and_keep_their_moment() -> None:
    east = dt.timezone(dt.timedelta(hours=5, minutes=30))
    local = dt.datetime(2026, 3, 1, 4, 0, 0, 7, east)
    assert parameter(local) == dt.datetime(2026, 2, 28, 22, 30, 0, 7)  # noqa: DTZ001


@pytest.mark.parametrize(
    "value",
    [None, True, 0, 2**64 - 1, "ü", 1.5, Decimal("1.50"), b"\0", dt.date(2026, 1, 1), Level.ONE],
)
def test_what_the_protocol_carries_stays(value: object) -> None:
    assert parameter(value) == value
    assert parameter(Colour.RED) == "red"


def test_a_uuid_becomes_text() -> None:
    text = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert parameter(UUID(text)) == text


def test_sizes_are_never_too_small() -> None:
    values = ["a" * 100, "ü" * 100, b"\0" * 100, 1, None]
    assert size_bytes(values) >= 100 + 200 + 100
    assert size_bytes(["a" * 100]) < 120
