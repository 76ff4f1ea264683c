from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.apps.commerce.products.catalogue.model import ParameterInvalid
from bulkhead.apps.commerce.products.search.model import (
    Language,
    Search,
    SearchSort,
    parse_search,
)


def parse(query: str) -> Search:
    return parse_search(parse_qsl(query, keep_blank_values=True))


def test_words_are_found_by_how_well_they_fit() -> None:
    search = parse("q=++oak++table+&language=german&limit=5&offset=10&facets=true&highlight=true")
    assert search == Search(
        text="oak table",
        language=Language.GERMAN,
        sort=SearchSort.RELEVANCE,
        limit=5,
        offset=10,
        facets=True,
        highlight=True,
    )


def test_without_words_the_newest_are_shown_and_nothing_is_marked() -> None:
    assert parse("q=+&highlight=true") == Search(sort=SearchSort.NEWEST)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Oak-Table, 2 m", ["oak", "table", "2", "m"]),
        ("été ÜBER", ["été", "über"]),
        ("' or 1=1 --", ["or", "1", "1"]),
        ("&|!():*<->", []),
        ("a b c d e f g h i j", list("abcdefgh")),
        ("x" * 50, ["x" * 40, "x" * 10]),
    ],
)
def test_words_are_what_could_be_misspelt(text: str, words: list[str]) -> None:
    assert Search(text=text).words == words


@pytest.mark.parametrize(
    ("text", "head", "prefix"),
    [
        ("oak tab", "oak ", "tab:*"),
        ("tab", "", "tab:*"),
        ("oak t", "", ""),
        ('oak "tab', "", ""),
        ("oak -tab", "", ""),
        ("oak tab!", "", ""),
        ("oak tab:*", "", ""),
        ("oak t_b", "", ""),
    ],
)
def test_only_a_plain_last_word_may_be_unfinished(text: str, head: str, prefix: str) -> None:
    assert Search(text=text).unfinished == (head, prefix)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("q=" + "x" * 201, "q"),
        ("q=%00", "q"),
        ("q=a&q=b", "q"),
        ("query=a", "query"),
        ("language=klingon", "language"),
        ("sort=relevance", "sort"),
        ("q=a&sort=position", "sort"),
        ("offset=10001", "offset"),
        ("offset=-1", "offset"),
        ("facets=1", "facets"),
        ("cursor=abc", "cursor"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(query: str, parameter: str) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        parse(query)
    assert refused.value.details["parameter"] == parameter


@given(st.text(max_size=200))
def test_a_prefix_holds_letters_and_digits_only(text: str) -> None:
    _, prefix = Search(text=text).unfinished
    assert not prefix or prefix.removesuffix(":*").isalnum()
