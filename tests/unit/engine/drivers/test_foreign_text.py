import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.drivers.foreign_text import CHARACTERS_MAX, bounded


@pytest.mark.parametrize("text", ["", "Out of stock", "Zeile\nZeile", "\u00fc\u4e2d"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert bounded(text) == text


def test_nothing_stays_nothing() -> None:
    assert bounded(None) is None


@given(st.text(max_size=3 * CHARACTERS_MAX))
def test_no_text_is_long_or_moves_a_cursor(text: str) -> None:
    shown = bounded(text)
    assert shown is not None
    assert len(shown) <= CHARACTERS_MAX
    assert not set(shown) & set("\0\x07\x08\x1b\r\x7f\x9b\u202e\u2028")
