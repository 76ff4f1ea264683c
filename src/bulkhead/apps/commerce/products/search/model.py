"""What is searched for, read from a query string."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from bulkhead.apps.commerce.products.catalogue.model import (
    FILTERS,
    LIMIT_DEFAULT,
    Filters,
    ParameterInvalid,
    group_parameters,
    parse_choice,
    parse_filters,
    parse_flag,
    parse_integer,
    parse_limit,
    single,
)

TEXT_LENGTH_MAX = 200
WORDS_MAX = 8
"""How many words are corrected at most."""
OFFSET_MAX = 10_000
FOUND_MAX = 10_000
"""How many products are counted and put in order at most."""
FACET_VALUES_MAX = 50
PREFIX_LENGTH_MIN = 2
PRICE_BORDERS = tuple(Decimal(border) for border in (0, 25, 50, 100, 250, 500, 1000))

_KNOWN = frozenset({*FILTERS, "q", "language", "sort", "limit", "offset", "facets", "highlight"})
_WORD = re.compile(r"[^\W_]{1,40}")
_LAST_WORD = re.compile(r"(?:^|\s)([^\W_]{2,40})$")


class Language(StrEnum):
    """The languages whose word forms are known; the same words as in the migration."""

    SIMPLE = "simple"
    DANISH = "danish"
    DUTCH = "dutch"
    ENGLISH = "english"
    FINNISH = "finnish"
    FRENCH = "french"
    GERMAN = "german"
    ITALIAN = "italian"
    NORWEGIAN = "norwegian"
    PORTUGUESE = "portuguese"
    SPANISH = "spanish"
    SWEDISH = "swedish"


class SearchSort(StrEnum):
    """The orders in which what was found can be shown."""

    RELEVANCE = "relevance"
    NEWEST = "newest"
    PRICE = "price"
    PRICE_DESC = "-price"
    NAME = "name"
    RATING = "rating"


@dataclass(frozen=True, slots=True)
class Search:
    """One page of a search."""

    text: str | None = None
    """As typed: words, "phrases", `or`, `-` before what is not wanted; None finds everything."""
    language: Language = Language.ENGLISH
    filters: Filters = field(default_factory=Filters)
    sort: SearchSort = SearchSort.NEWEST
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    facets: bool = False
    highlight: bool = False

    @property
    def words(self) -> list[str]:
        """The words in lower case, for looking up the ones they might be meant to be."""
        return [word.lower() for word in _WORD.findall(self.text or "")[:WORDS_MAX]]

    @property
    def unfinished(self) -> tuple[str, str]:
        """What stands before the last word, and that word as a prefix; empty when there is none."""
        match = _LAST_WORD.search(self.text or "")
        if match is None:
            return "", ""
        return (self.text or "")[: match.start(1)], f"{match[1]}:*"


def parse_search(pairs: Iterable[tuple[str, str]]) -> Search:
    """Read the parameters of a search; raises ParameterInvalid."""
    given = group_parameters(pairs, _KNOWN)
    text = " ".join((single(given, "q") or "").split()) or None
    if text is not None and len(text) > TEXT_LENGTH_MAX:
        raise ParameterInvalid(parameter="q", reason=f"at most {TEXT_LENGTH_MAX} characters")
    sort = parse_choice(
        given, "sort", SearchSort, SearchSort.RELEVANCE if text else SearchSort.NEWEST
    )
    if text is None and sort is SearchSort.RELEVANCE:
        raise ParameterInvalid(parameter="sort", reason="relevance needs words in q")
    return Search(
        text=text,
        language=parse_choice(given, "language", Language, Language.ENGLISH),
        filters=parse_filters(given),
        sort=sort,
        limit=parse_limit(given),
        offset=parse_integer(given, "offset", 0, low=0, high=OFFSET_MAX),
        facets=parse_flag(given, "facets"),
        highlight=parse_flag(given, "highlight") and text is not None,
    )
