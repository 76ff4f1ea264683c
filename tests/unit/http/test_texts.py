"""What people are shown has nothing in it that they do not see."""

import unicodedata

import pytest

from bulkhead.http.texts import verify_line, verify_text

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
NO_WIDTH = "\u200b\u2060\u2064\ufeff\u180e\ufff9\U000e0041"
CONTROLS = "\0\x07\x08\x1b\x7f\x85\x9b"
LINE_ENDS = "\n\r\t\u2028\u2029"
MARKS = "\xad\u200e\u200f\u061c"


@pytest.mark.parametrize("character", BIDI + NO_WIDTH + CONTROLS + "\ud800", ids=ascii)
def test_what_nobody_sees_is_refused_wherever_it_stands(character: str) -> None:
    for text in (character, f"{character}Ada", f"Ada{character}Lovelace", f"Ada{character}"):
        for verify in (verify_line, verify_text):
            with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}$"):
                verify(text)


@pytest.mark.parametrize("character", LINE_ENDS + MARKS, ids=ascii)
def test_a_text_may_have_what_a_line_may_not(character: str) -> None:
    text = f"one{character}two"
    assert verify_text(text) == text
    with pytest.raises(ValueError, match="invisible"):
        verify_line(text)


@pytest.mark.parametrize(
    "name",
    [
        "Zoë O'Connor",
        "東京都\u3000港区",
        "می\u200cخ",
        "क्\u200dष",
        "👩\u200d🚀",
        "❤\ufe0f",
        "a\xa0b",
        "",
    ],
)
def test_names_of_all_the_world_are_taken_as_they_are(name: str) -> None:
    assert verify_line(name) == name
    assert verify_text(name) == name


def test_no_control_and_no_override_of_unicode_is_left_out() -> None:
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    passed = set()
    for code in range(0x110000):
        character = chr(code)
        is_control = unicodedata.category(character) in {"Cc", "Cs"}
        if is_control or unicodedata.bidirectional(character) in directions:
            try:
                verify_text(character)
            except ValueError:
                continue
            passed.add(character)
    assert passed == {"\t", "\n", "\r"}
