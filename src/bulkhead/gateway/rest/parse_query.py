"""From the shape of a query string to a `Query`, once for each shape."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_plus

from bulkhead.gateway.rest.errors import QueryInvalid
from bulkhead.gateway.rest.parse_fields import columns, logic_path, tree_path
from bulkhead.gateway.rest.parse_filters import group, head, match_head
from bulkhead.gateway.rest.parse_select import order_terms, select_items
from bulkhead.gateway.rest.query import (
    Argument,
    Condition,
    EmbedPath,
    Field,
    Logic,
    Operator,
    OrderTerm,
    Query,
    SelectItem,
    Slot,
)
from bulkhead.gateway.rest.scanner import Scanner, scan
from bulkhead.gateway.rest.split import LOGIC_DEPTH_MAX, Kind, kind_of

_SHAPES_MAX = 2048
_SHAPE_LENGTH_MAX = 4096
"""Longer ones are parsed each time: what is remembered must be bounded."""


_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(slots=True)
class _Draft:
    """What has been read of a query string."""

    slots: int = 0
    select: tuple[SelectItem, ...] | None = None
    conditions: list[tuple[EmbedPath, Condition]] = field(default_factory=list)
    order: list[tuple[EmbedPath, tuple[OrderTerm, ...]]] = field(default_factory=list)
    limited: set[EmbedPath] = field(default_factory=set)
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None
    arguments: list[Argument] = field(default_factory=list)

    def slot(self) -> Slot:
        """The place of the next value."""
        self.slots += 1
        return Slot(self.slots - 1)

    def single(self, _s: Scanner) -> Slot:
        """A value of a group, which has been taken out."""
        return self.slot()

    def listed(self, _s: Scanner) -> Slot:
        """A list in a group, which has been taken out."""
        return self.slot()


def parse_query(shape: str, *, is_call_read: bool, depth_max: int, filters_max: int) -> Query:
    """Parse the shape of a query string, as `split_query` makes it; raises QueryInvalid.

    `is_call_read` makes arguments out of what has no operator. At most `depth_max` embeddings may
    stand in each other, and `filters_max` conditions in all.
    """
    parse = _parse_cached if len(shape) <= _SHAPE_LENGTH_MAX else _parse
    query = parse(shape, is_call_read=is_call_read, depth_max=depth_max)
    if len(query.conditions) > filters_max or _count_filters(query, filters_max) > filters_max:
        raise QueryInvalid(
            position="The query has too many conditions",
            details=f"At most {filters_max} are read.",
        )
    return query


@lru_cache(maxsize=_SHAPES_MAX)
def _parse_cached(shape: str, *, is_call_read: bool, depth_max: int) -> Query:
    return _parse(shape, is_call_read=is_call_read, depth_max=depth_max)


def _parse(shape: str, *, is_call_read: bool, depth_max: int) -> Query:
    draft = _Draft()
    for piece in shape.split("&") if shape else ():
        key, _, value = piece.partition("=")
        key, value = unquote_plus(key), unquote_plus(value)
        match kind_of(key):
            case Kind.TEXT:
                _add_text(draft, key, value, depth_max)
            case Kind.LOGIC:
                _add_group(draft, key, value)
            case Kind.RANGE:
                draft.limited.add(path_of_range(key))
            case Kind.FILTER:
                _add_filter(draft, key, value, is_call_read=is_call_read)
    return Query(
        select=draft.select or (),
        conditions=tuple(draft.conditions),
        order=tuple(draft.order),
        limited=frozenset(draft.limited),
        columns=draft.columns,
        on_conflict=draft.on_conflict,
        arguments=tuple(draft.arguments),
    )


def path_of_range(key: str) -> EmbedPath:
    """The embedding that `a.b.limit` is about; raises QueryInvalid."""
    return _read_path(key)[0] if "." in key else ()


def _add_text(draft: _Draft, key: str, value: str, depth_max: int) -> None:
    """Add what is no condition; of a key that repeats the first one counts."""
    if key == "select":
        if draft.select is None:
            what = f"select parameter ({value})"
            draft.select = scan(select_items, value, what, depth_max=depth_max)
    elif key == "columns":
        if draft.columns is None:
            draft.columns = scan(columns, value, f"columns parameter ({value})", depth_max=0)
    elif key == "on_conflict":
        if draft.on_conflict is None:
            what = f"on_conflict parameter ({value})"
            draft.on_conflict = scan(columns, value, what, depth_max=0)
    else:
        path = _read_path(key)[0]
        terms = scan(order_terms, value, f"order ({value})", depth_max=0)
        draft.order.append((path, terms))


def _add_group(draft: _Draft, key: str, value: str) -> None:
    path, connective = scan(logic_path, key, f"logic path ({key})", depth_max=0)
    condition = scan(
        lambda s: group(s, draft),
        connective + value,
        f"logic tree ({value})",
        depth_max=LOGIC_DEPTH_MAX,
    )
    draft.conditions.append((path, condition))


def _add_filter(draft: _Draft, key: str, value: str, *, is_call_read: bool) -> None:
    path, column = _read_path(key)
    if is_call_read and not value:
        draft.arguments.append(Argument(column.name, draft.slot()))
        return
    usual = match_head(value)
    found = usual[0] if usual else scan(head, value, f"filter ({value})", depth_max=0)
    slot = "" if found.operator is Operator.IS else draft.slot()
    draft.conditions.append((path, found.filter(column, slot)))


def _count_filters(query: Query, enough: int) -> int:
    """How many conditions there are in groups and outside, counting no further than need be."""
    open_groups = [condition for _, condition in query.conditions]
    count = 0
    while open_groups and count <= enough:
        condition = open_groups.pop()
        if isinstance(condition, Logic):
            open_groups.extend(condition.items)
        else:
            count += 1
    return count


def _read_path(key: str) -> tuple[EmbedPath, Field]:
    if _PLAIN_KEY.fullmatch(key):
        *path, name = key.split(".")
        return tuple(path), Field(name)
    return scan(tree_path, key, f"tree path ({key})", depth_max=0)
