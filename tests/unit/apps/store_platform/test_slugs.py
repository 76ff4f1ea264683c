"""What a store can be called in an address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.apps.store_platform.master.stores.model import (
    RESERVED,
    SLUG,
    SlugRefused,
    make_slug,
    parse_slug,
)


@given(st.text(max_size=100))
def test_whatever_is_made_of_a_name_is_a_slug_or_refused(name: str) -> None:
    try:
        slug = make_slug(name)
    except SlugRefused:
        return
    assert parse_slug(slug) == slug


@given(st.text(max_size=80) | st.from_regex(SLUG, fullmatch=True))
def test_a_slug_is_what_the_database_takes(text: str) -> None:
    try:
        slug = parse_slug(text)
    except SlugRefused as error:
        assert error.message.isascii()  # noqa: PT017 - a property, not one case
        return
    assert slug.isascii()
    assert 3 <= len(slug) <= 63
    assert SLUG.fullmatch(slug)


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_what_the_platform_needs_itself_is_refused(word: str) -> None:
    with pytest.raises(SlugRefused):
        parse_slug(word)


def test_accents_and_signs_are_left_out_of_a_slug() -> None:
    assert make_slug("Läden & Söhne №1") == "laden-sohne-no1"
    with pytest.raises(SlugRefused):
        make_slug("茶")
