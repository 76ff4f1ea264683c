"""Which products are asked for: filters, order and place in a list, read from a query string."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID

from bulkhead.engine.errors import Invalid, NotFound

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
VALUES_MAX = 50
ATTRIBUTES_MAX = 10
DIGITS_MAX = 9
POSITION_MAX = 2**31
TEXT_LENGTH_MAX = 200
CURSOR_LENGTH_MAX = 2000
PRICE_MAX = Decimal("9999999999.99")

ATTRIBUTE_PREFIX = "attribute."
FILTERS = ("category", "collection", "brand", "price_min", "price_max", "in_stock")
_LISTING = frozenset({*FILTERS, "sort", "limit", "cursor"})
_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")
_SLUG = re.compile(r"[a-z0-9-]{1,150}")

_AMOUNT = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,2})?", re.ASCII)

Choice = TypeVar("Choice", bound=StrEnum)

FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)


class ParameterInvalid(Invalid):
    """The parameter '{parameter}' cannot be used: {reason}."""

    code = "parameter_invalid"


class ProductUnknown(NotFound):
    """There is no product '{product}' for sale."""

    code = "product_unknown"


class CollectionUnknown(NotFound):
    """There is no collection '{collection}'."""

    code = "collection_unknown"


class Sort(StrEnum):
    """The orders in which products can be listed."""

    NEWEST = "newest"
    PRICE = "price"
    PRICE_DESC = "-price"
    NAME = "name"
    RATING = "rating"
    POSITION = "position"
    """As put together by hand; for one collection only."""


@dataclass(frozen=True, slots=True)
class Place:
    """The last product of the page before: its value in the order of the list, and its id."""

    key: object
    product_id: UUID


BEFORE_ALL: Mapping[Sort, Place] = MappingProxyType(
    {
        Sort.NEWEST: Place(dt.datetime.max.replace(tzinfo=dt.UTC), LAST_ID),
        Sort.PRICE: Place(Decimal(-1), FIRST_ID),
        Sort.PRICE_DESC: Place(PRICE_MAX + 1, LAST_ID),
        Sort.NAME: Place("", FIRST_ID),
        Sort.RATING: Place(float("inf"), LAST_ID),
        Sort.POSITION: Place(-POSITION_MAX - 1, FIRST_ID),
    }
)
"""Where the first page begins."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What products must be like; None and empty mean that it does not matter."""

    category: str | None = None
    """The slug or id of a category; what is filed below it counts."""
    collection: str | None = None
    brands: tuple[str, ...] = ()
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    in_stock: bool = False
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """For each code the values of which one must be given."""

    def shape(self) -> tuple[str, ...]:
        """The names of the filters that matter, which decide the text of the statement."""
        given = {
            "category": self.category,
            "collection": self.collection,
            "brands": self.brands,
            "price_min": self.price_min is not None,
            "price_max": self.price_max is not None,
            "in_stock": self.in_stock,
        }
        names = [name for name, matters in given.items() if matters]
        return (*names, *("attribute" for _ in self.attributes))

    def parameters(self) -> dict[str, object]:
        """The values for the statement, by the names of its parameters."""
        wanted = {
            f"attribute_{number}": [f"{code}={value}" for value in values]
            for number, (code, values) in enumerate(self.attributes)
        }
        return {
            "category": self.category,
            "collection": self.collection,
            "brands": list(self.brands),
            "price_min": self.price_min,
            "price_max": self.price_max,
            **wanted,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list of products."""

    filters: Filters = field(default_factory=Filters)
    sort: Sort = Sort.NEWEST
    limit: int = LIMIT_DEFAULT
    after: Place = BEFORE_ALL[Sort.NEWEST]


def parse_listing(pairs: Iterable[tuple[str, str]]) -> Listing:
    """Read the parameters of a list; raises ParameterInvalid."""
    given = group_parameters(pairs, _LISTING)
    filters = parse_filters(given)
    sort = parse_choice(given, "sort", Sort, Sort.NEWEST)
    if sort is Sort.POSITION and filters.collection is None:
        raise ParameterInvalid(parameter="sort", reason="'position' needs a collection")
    cursor = single(given, "cursor")
    after = BEFORE_ALL[sort] if cursor is None else parse_cursor(cursor, sort)
    return Listing(filters, sort, parse_limit(given), after)


def group_parameters(
    pairs: Iterable[tuple[str, str]], known: frozenset[str]
) -> Mapping[str, list[str]]:
    """Values by name; raises ParameterInvalid for an unknown name or a text no database stores."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in known and not name.startswith(ATTRIBUTE_PREFIX):
            names = ", ".join([*sorted(known), f"{ATTRIBUTE_PREFIX}<code>"])
            raise ParameterInvalid(parameter=_printable(name), reason=f"known are {names}")
        if "\0" in value or not _is_unicode(value):
            raise ParameterInvalid(parameter=name, reason="it contains what is not text")
        given.setdefault(name, []).append(value)
    return given


def parse_filters(given: Mapping[str, list[str]]) -> Filters:
    """Read what products must be like; raises ParameterInvalid."""
    price_min, price_max = parse_price(given, "price_min"), parse_price(given, "price_max")
    if price_min is not None and price_max is not None and price_min > price_max:
        raise ParameterInvalid(parameter="price_min", reason="it is above price_max")
    return Filters(
        category=parse_slug(given, "category"),
        collection=parse_slug(given, "collection"),
        brands=parse_texts("brand", given.get("brand", [])),
        price_min=price_min,
        price_max=price_max,
        in_stock=parse_flag(given, "in_stock"),
        attributes=_parse_attributes(given),
    )


def parse_cursor(text: str, sort: Sort) -> Place:
    """Read the `next_cursor` of a page with the same order; raises ParameterInvalid."""
    try:
        padded = text[:CURSOR_LENGTH_MAX] + "=" * (-len(text) % 4)
        name, key, product_id = json.loads(urlsafe_b64decode(padded.encode("ascii")))
        place = Place(_CURSOR_KEYS[Sort(name)](key), UUID(product_id))
    except (ValueError, TypeError, AttributeError, RecursionError):
        reason = "it is not the next_cursor of a page"
        raise ParameterInvalid(parameter="cursor", reason=reason) from None
    if name != sort.value:
        raise ParameterInvalid(parameter="cursor", reason=f"it belongs to sort={name}")
    return place


def parse_limit(given: Mapping[str, list[str]]) -> int:
    """Read how many products a page holds; raises ParameterInvalid."""
    return parse_integer(given, "limit", LIMIT_DEFAULT, low=1, high=LIMIT_MAX)


def parse_integer(
    given: Mapping[str, list[str]], name: str, default: int, *, low: int, high: int
) -> int:
    """Read a whole number within bounds; raises ParameterInvalid."""
    text = single(given, name)
    if text is None:
        return default
    if not _is_number(text) or not low <= int(text) <= high:
        raise ParameterInvalid(parameter=name, reason=f"it must be a number from {low} to {high}")
    return int(text)


def parse_choice(
    given: Mapping[str, list[str]], name: str, choices: type[Choice], default: Choice
) -> Choice:
    """Read one of the values of an enum; raises ParameterInvalid."""
    text = single(given, name)
    if text is None:
        return default
    try:
        return choices(text)
    except ValueError:
        known = ", ".join(choices)
        raise ParameterInvalid(parameter=name, reason=f"it must be one of {known}") from None


def parse_flag(given: Mapping[str, list[str]], name: str) -> bool:
    """Read `true` or `false`, which is the default; raises ParameterInvalid."""
    text = single(given, name) or "false"
    if text not in {"true", "false"}:
        raise ParameterInvalid(parameter=name, reason="it must be true or false")
    return text == "true"


def parse_price(given: Mapping[str, list[str]], name: str) -> Decimal | None:
    """Read an amount of money; raises ParameterInvalid."""
    text = single(given, name)
    if text is None:
        return None
    if not _AMOUNT.fullmatch(text):
        raise ParameterInvalid(parameter=name, reason="it must be an amount such as 19.90")
    return Decimal(text)


def parse_slug(given: Mapping[str, list[str]], name: str) -> str | None:
    """Read a slug or an id; raises ParameterInvalid."""
    text = single(given, name)
    if text is not None and not is_slug(text):
        raise ParameterInvalid(parameter=name, reason="it is no slug")
    return text


def is_slug(text: str) -> bool:
    """Whether `text` could be the slug or id of something."""
    return _SLUG.fullmatch(text) is not None


def parse_texts(name: str, values: Sequence[str]) -> tuple[str, ...]:
    """Read a parameter that may be repeated; raises ParameterInvalid."""
    if len(values) > VALUES_MAX:
        raise ParameterInvalid(parameter=name, reason=f"at most {VALUES_MAX} values are possible")
    for value in values:
        if not 1 <= len(value) <= TEXT_LENGTH_MAX:
            reason = f"each value has 1 to {TEXT_LENGTH_MAX} characters"
            raise ParameterInvalid(parameter=name, reason=reason)
    return tuple(dict.fromkeys(values))


def single(given: Mapping[str, list[str]], name: str) -> str | None:
    """The one value of a parameter, None when it is absent; raises ParameterInvalid."""
    values = given.get(name, [])
    if len(values) > 1:
        raise ParameterInvalid(parameter=name, reason="it stands there more than once")
    return values[0] if values else None


def _parse_attributes(
    given: Mapping[str, list[str]],
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    wanted = []
    for name in sorted(given):
        if name.startswith(ATTRIBUTE_PREFIX):
            code = name.removeprefix(ATTRIBUTE_PREFIX)
            if not _CODE.fullmatch(code):
                raise ParameterInvalid(parameter=_printable(name), reason="it names no attribute")
            wanted.append((code, parse_texts(name, given[name])))
    if len(wanted) > ATTRIBUTES_MAX:
        reason = f"at most {ATTRIBUTES_MAX} attributes are possible"
        raise ParameterInvalid(parameter=ATTRIBUTE_PREFIX, reason=reason)
    return tuple(wanted)


def _parse_instant(value: Any) -> dt.datetime:  # noqa: ANN401 - from JSON
    instant = dt.datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError
    return instant


def _parse_amount(value: Any) -> Decimal:  # noqa: ANN401 - from JSON
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise ValueError
    return Decimal(value)


def _parse_title(value: Any) -> str:  # noqa: ANN401 - from JSON
    if not isinstance(value, str) or "\0" in value or not _is_unicode(value):
        raise ValueError
    return value


def _parse_rating(value: Any) -> float:  # noqa: ANN401 - from JSON
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _parse_position(value: Any) -> int:  # noqa: ANN401 - from JSON
    if type(value) is not int or abs(value) > POSITION_MAX:
        raise ValueError
    return value


_CURSOR_KEYS: Mapping[Sort, Callable[[Any], object]] = MappingProxyType(
    {
        Sort.NEWEST: _parse_instant,
        Sort.PRICE: _parse_amount,
        Sort.PRICE_DESC: _parse_amount,
        Sort.NAME: _parse_title,
        Sort.RATING: _parse_rating,
        Sort.POSITION: _parse_position,
    }
)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(text: str) -> str:
    return text[:60].encode("ascii", "backslashreplace").decode()
