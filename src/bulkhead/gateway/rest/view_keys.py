"""Which columns of views are columns of tables below them, so that views have their tables' keys.

Source: PostgreSQL notes for each column of a view from which column of which relation it comes
(`resorigtbl` and `resorigcol` of the rule's target list); computed columns come from nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

from bulkhead.gateway.rest.schema import Name

COPIES_MAX = 100
"""Ways to find a key in one view; a view may have each column of a key several times."""

Origin = tuple[int, int]
"""A column by the oid of its relation and its number there."""


@dataclass(slots=True)
class View:
    """A view and where its columns come from, through all views between."""

    oid: int
    name: Name
    columns: dict[Origin, list[str]] = field(default_factory=dict)
    """The view's columns that are copies of a column below."""

    def find_keys(self, relation: int, numbers: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """The view's columns that are copies of the columns `numbers`, in every combination."""
        copies = [self.columns.get((relation, number), ()) for number in numbers]
        return islice(product(*copies), COPIES_MAX)


ViewsBelow = Mapping[int, Sequence[View]]
"""By the oid of a relation: the views that have any of its columns."""


def trace_views(rows: Iterable[Mapping[str, Any]], schemas: Collection[str]) -> ViewsBelow:
    """Follow the columns of the views of `schemas` down, through views of other schemas too."""
    views: dict[int, View] = {}
    origins: dict[Origin, Origin] = {}
    starts: list[tuple[View, str, Origin]] = []
    for row in rows:
        column = (row["view"], row["number"])
        origins[column] = (row["relation"], row["origin_number"])
        if row["schema"] in schemas:
            name = Name(row["schema"], row["name"])
            view = views.setdefault(row["view"], View(row["view"], name))
            starts.append((view, row["column"], column))
    for view, shown_as, column in starts:
        for origin in _below(column, origins):
            view.columns.setdefault(origin, []).append(shown_as)
    below: dict[int, list[View]] = {}
    for view in views.values():
        for relation in dict.fromkeys(relation for relation, _ in view.columns):
            below.setdefault(relation, []).append(view)
    return below


def _below(column: Origin, origins: Mapping[Origin, Origin]) -> Iterator[Origin]:
    """Every column that `column` is a copy of; rules may go in a circle, since views change."""
    seen = {column}
    origin = origins.get(column)
    while origin is not None and origin not in seen:
        seen.add(origin)
        yield origin
        origin = origins.get(origin)
