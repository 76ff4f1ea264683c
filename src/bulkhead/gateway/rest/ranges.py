"""Which rows a request asks for: `limit`, `offset` and the `Range` header.

Source: PostgREST, `RangeQuery` and `ApiRequest.getRanges`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from bulkhead.gateway.rest.errors import RangeInvalid, UpsertRangeRefused
from bulkhead.gateway.rest.parse_query import path_of_range
from bulkhead.gateway.rest.query import EmbedPath, Ranges, RowRange

_HEADER = re.compile(r"([0-9]{1,30})-([0-9]{0,30})")
_CACHED_MAX = 4
_CACHED_HEADER_MAX = 64
_BIGINT_MAX = 2**63 - 1


class Span(NamedTuple):
    """Rows by number, from 0, both ends included."""

    first: int = 0
    last: int | None = None
    """None is without end."""

    @property
    def is_empty(self) -> bool:
        """Whether no row is in it."""
        return self.last is not None and self.last < self.first

    @property
    def is_limit_zero(self) -> bool:
        """Whether it is what `limit=0` asks for, the one empty span that is allowed."""
        return self.last == -1

    def within(self, other: Span) -> Span:
        """The rows in both."""
        if self.is_empty or other.is_empty:
            return EMPTY
        ends = [span.last for span in (self, other) if span.last is not None]
        return Span(max(self.first, other.first), min(ends, default=None))

    def to_range(self) -> RowRange:
        """As an offset and a limit, no larger than a bigint."""
        limit = None if self.last is None else 1 + self.last - self.first
        if limit is not None:
            limit = max(min(limit, _BIGINT_MAX), -_BIGINT_MAX)
        return RowRange(max(min(self.first, _BIGINT_MAX), -_BIGINT_MAX), limit)


ALL = Span()
EMPTY = Span(0, -2)
NO_RANGES: Ranges = MappingProxyType({})
LIMIT_ZERO = Span(0, -1)


def plan_ranges(method: str, given: tuple[tuple[str, int], ...], header: str | None) -> Ranges:
    """The rows of each level that has a limit or an offset.

    `given` are keys such as `orders.limit` with their numbers; the last one of a key counts. The
    header is heeded for GET only (RFC 9110). Raises RangeInvalid and UpsertRangeRefused.
    """
    if header is None and not given:
        return NO_RANGES
    if len(given) > _CACHED_MAX or len(header or "") > _CACHED_HEADER_MAX:
        return _plan(method, given, header)
    return _plan_cached(method, given, header)


@lru_cache(maxsize=4096)
def _plan_cached(method: str, given: tuple[tuple[str, int], ...], header: str | None) -> Ranges:
    return _plan(method, given, header)


def _plan(method: str, given: tuple[tuple[str, int], ...], header: str | None) -> Ranges:
    numbers: dict[EmbedPath, dict[str, int]] = {}
    for key, number in given:
        numbers.setdefault(path_of_range(key), {})[key.rpartition(".")[2]] = number
    spans = {path: _span(**one) for path, one in numbers.items()}
    asked = spans.get((), ALL)
    from_header = _parse_header(header) if header is not None and method == "GET" else ALL
    top = LIMIT_ZERO if asked.is_limit_zero else from_header.within(asked)
    if top.is_empty and not asked.is_limit_zero:
        raise RangeInvalid(
            details=(
                "The lower boundary must be lower than or equal to the upper boundary in the "
                "Range header."
                if from_header.is_empty
                else "Limit should be greater than or equal to zero."
            )
        )
    if method == "PUT" and top != ALL:
        raise UpsertRangeRefused
    ranges = {path: span.to_range() for path, span in spans.items()}
    if top != ALL or () in ranges:
        ranges[()] = top.to_range()
    return ranges


def _span(limit: int | None = None, offset: int | None = None) -> Span:
    if offset is None:
        return ALL if limit is None else Span(0, limit - 1)
    return Span(offset) if limit is None else Span(offset, offset + limit - 1)


def _parse_header(header: str) -> Span:
    found = _HEADER.fullmatch(header)
    if not found:
        return ALL
    return Span(int(found[1]), int(found[2]) if found[2] else None)
