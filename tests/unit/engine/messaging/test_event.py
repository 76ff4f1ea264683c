import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.event import (
    PAYLOAD_BYTES_MAX,
    EventInvalid,
    EventTooLarge,
    check_key,
    decode_event,
    encode_event,
)


@dataclass(frozen=True)
class Line:
    variant: UUID
    quantity: int
    price: Decimal


@dataclass(frozen=True)
class OrderPlaced:
    type: ClassVar[str] = "shop.order_placed"
    order: UUID
    lines: tuple[Line, ...]
    placed_at: dt.datetime
    note: str | None = None

    @property
    def key(self) -> str:
        return str(self.order)


@dataclass(frozen=True)
class Noted:
    type: ClassVar[str] = "shop.noted"
    key: str
    text: str = ""


LINES = st.builds(
    Line,
    st.uuids(),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
)
ORDERS = st.builds(
    OrderPlaced,
    st.uuids(),
    st.lists(LINES, max_size=5).map(tuple),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)


@given(ORDERS)
def test_an_event_is_read_as_it_was_written(event: OrderPlaced) -> None:
    assert decode_event(OrderPlaced, encode_event(event)) == event


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_only_a_nul_character_is_refused(text: str) -> None:
    event = Noted("a", text)
    if "\0" in text:
        with pytest.raises(EventInvalid, match="NUL"):
            encode_event(event)
    else:
        assert decode_event(Noted, encode_event(event)) == event


def test_text_that_looks_like_an_escaped_nul_is_no_nul() -> None:
    for text in ("\\u0000", "\\\\u0000", "u0000"):
        assert decode_event(Noted, encode_event(Noted("a", text))).text == text


def test_an_event_from_a_newer_publisher_is_read_without_its_new_fields() -> None:
    payload = '{"key": "a", "text": "b", "added_later": [1, 2]}'
    assert decode_event(Noted, payload) == Noted("a", "b")


def test_an_event_without_a_field_that_is_needed_cannot_be_read() -> None:
    with pytest.raises(ValidationError):
        decode_event(OrderPlaced, f'{{"order": "{new_id()}"}}')


def test_a_large_event_is_refused_with_its_size() -> None:
    with pytest.raises(EventTooLarge) as caught:
        encode_event(Noted("a", "x" * PAYLOAD_BYTES_MAX))
    assert caught.value.details["limit_bytes"] == PAYLOAD_BYTES_MAX
    assert caught.value.status == 422


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_has_one_to_two_hundred_characters(key: str) -> None:
    with pytest.raises(EventInvalid, match="its key has"):
        check_key(Noted(key))
