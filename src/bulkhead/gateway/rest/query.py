"""What an address asks for: select, filters, logic, order, as values.

The values in filters are apart from their shape. `Slot(0)` stands for the first value of the
request, so that two addresses which differ in values only are equal here, and share one plan and
one SQL text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

EmbedPath = tuple[str, ...]
"""From the resource down: `()` is the resource itself, `("orders", "items")` two levels below."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value of the request, by its place in `ApiRequest.values`."""

    index: int


Value = Slot | str
"""A value to bind; a plain text is one that is part of the shape, as in `or=(a.eq.1,b.eq.2)`."""


@dataclass(frozen=True, slots=True)
class JsonStep:
    """One step into a JSON column: `->key`, `->>key`, `->0`, `->-1`."""

    key: str
    is_index: bool = False
    as_text: bool = False
    """Whether it is `->>`."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or a place inside a JSON or composite column; `*` only in a select list."""

    name: str
    path: tuple[JsonStep, ...] = ()


class Aggregate(StrEnum):
    """A function over many rows; `count` may stand without a field, which then is `*`."""

    SUM = "sum"
    AVG = "avg"
    COUNT = "count"
    MAX = "max"
    MIN = "min"


class Join(StrEnum):
    """Whether a row of the parent needs a row of the embedding: `!inner`, `!left`."""

    INNER = "inner"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class SelectField:
    """`alias:field->path::cast.aggregate()::aggregate_cast`."""

    field: Field
    alias: str | None = None
    cast: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None


@dataclass(frozen=True, slots=True)
class SelectEmbed:
    """`alias:relation!hint!inner(items)`, or `...relation(items)` when it is spread."""

    relation: str
    items: tuple[SelectItem, ...]
    alias: str | None = None
    hint: str | None = None
    join: Join | None = None
    is_spread: bool = False


SelectItem = SelectField | SelectEmbed


class Operator(StrEnum):
    """The operators of filters, by their names in addresses."""

    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    LIKE = "like"
    ILIKE = "ilike"
    MATCH = "match"
    IMATCH = "imatch"
    IN = "in"
    IS = "is"
    ISDISTINCT = "isdistinct"
    CONTAINS = "cs"
    CONTAINED = "cd"
    OVERLAPS = "ov"
    STRICTLY_LEFT = "sl"
    STRICTLY_RIGHT = "sr"
    NOT_RIGHT = "nxr"
    NOT_LEFT = "nxl"
    ADJACENT = "adj"
    FTS = "fts"
    PLAIN_FTS = "plfts"
    PHRASE_FTS = "phfts"
    WEB_FTS = "wfts"


class Quantifier(StrEnum):
    """`eq(any).{1,2}`, `like(all).{a*,*b}`."""

    ANY = "any"
    ALL = "all"


class IsValue(StrEnum):
    """What `is` compares with; always part of the shape."""

    NULL = "null"
    NOT_NULL = "not_null"
    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Filter:
    """`field=not.operator(quantifier).value`.

    `value` is the text after the operator: for `in` still with its parentheses when it is a Slot,
    and to be read with `parse_list`; for `is` an IsValue in `is_value` and no value.
    """

    field: Field
    operator: Operator
    value: Value = ""
    negated: bool = False
    quantifier: Quantifier | None = None
    language: str | None = None
    """Of a full-text search."""
    is_value: IsValue | None = None


class Connective(StrEnum):
    """How the members of a group are joined."""

    AND = "and"
    OR = "or"


@dataclass(frozen=True, slots=True)
class Logic:
    """`not.or=(a.eq.1,and(b.eq.2,c.eq.3))`."""

    connective: Connective
    items: tuple[Condition, ...]
    negated: bool = False


Condition = Filter | Logic


class Direction(StrEnum):
    """`asc` or `desc`."""

    ASC = "asc"
    DESC = "desc"


class Nulls(StrEnum):
    """`nullsfirst` or `nullslast`."""

    FIRST = "nullsfirst"
    LAST = "nullslast"


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """`field.desc.nullslast`, or `relation(field).desc` for a column of a to-one embedding."""

    field: Field
    relation: str | None = None
    direction: Direction | None = None
    nulls: Nulls | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """A value for a parameter of a function, from the address."""

    name: str
    value: Slot


@dataclass(frozen=True, slots=True)
class Query:
    """The query string of a request without its values; hashable, the same for the same shape."""

    select: tuple[SelectItem, ...] = ()
    """Empty when there is no `select`, which means `*`."""
    conditions: tuple[tuple[EmbedPath, Condition], ...] = ()
    """Filters and groups in the order of the address, each with the embedding it is about."""
    order: tuple[tuple[EmbedPath, tuple[OrderTerm, ...]], ...] = ()
    limited: frozenset[EmbedPath] = frozenset()
    """Which levels have a `limit` or an `offset`; the numbers are in `ApiRequest.ranges`."""
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None
    arguments: tuple[Argument, ...] = ()
    """For a function called by GET: what is no filter is an argument; may repeat (variadic)."""


@dataclass(frozen=True, slots=True)
class RowRange:
    """Which rows: from `offset`, at most `limit` of them; None is all of them."""

    offset: int = 0
    limit: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.offset == 0 and self.limit is None


WHOLE = RowRange()
Ranges = Mapping[EmbedPath, RowRange]
