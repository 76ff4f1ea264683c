import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity.durations import UNITS_S, parse_duration

parts = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS_S))), min_size=1, max_size=8
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h", 86_400.0),
        ("1h30m", 5_400.0),
        ("876000h", 3_153_600_000.0),
        ("1.5h", 5_400.0),
        ("1.s", 1.0),
        (".5s", 0.5),
        ("300ms", 0.3),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("0", 0.0),
        ("-0", 0.0),
        ("+5s", 5.0),
        ("-5s", -5.0),
        ("0h", 0.0),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "h", "1", "-", "+", ".s", "1 h", "1d", "1y", "none", "1h ", "h1", "1h1", "--1s"),
        *(
            "1e3s",
            "0x1s",
            "1_0s",
            "٣h",
            "1H",
            "2562048h",
            "1" * 99 + "h",
            "1s" * 100,
            "nan",
            "infs",
        ),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        parse_duration(text)


@given(parts)
def test_the_parts_of_a_duration_add_up(drawn: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in drawn)
    if len(text) <= 100:
        expected = float(sum(number * UNITS_S[unit] for number, unit in drawn))
        assert math.isclose(parse_duration(text), expected)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert math.isfinite(parse_duration(text))
    except ValueError:
        return
