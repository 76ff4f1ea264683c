"""What is known of the columns of a table: their types, and the functions that stand for them.

Source: PostgREST v14, `resolveTypeOrUnknown` and the transformers of `Plan.hs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bulkhead.gateway.rest.plan_tree import PlanField
from bulkhead.gateway.rest.query import Field, Filter, Operator
from bulkhead.gateway.rest.schema import Column, Name, Schema, Table

_JSON_TYPES = frozenset({"json", "jsonb"})
_FTS = frozenset({Operator.FTS, Operator.PLAIN_FTS, Operator.PHRASE_FTS, Operator.WEB_FTS})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one table, or of what a function returns."""

    schema: Schema
    name: Name
    returned: Mapping[str, str] = field(default_factory=dict)
    """The types of columns that a function returns where that is no table."""

    @property
    def table(self) -> Table | None:
        """The table, if it is one."""
        return self.schema.tables.get(self.name)

    def resolve(self, asked: Field) -> PlanField:
        """The column for an order: as it is, or what is inside it."""
        column = self._find(asked.name)
        return PlanField(
            name=asked.name,
            path=asked.path,
            to_jsonb=bool(asked.path) and not (column and column.nominal_type in _JSON_TYPES),
        )

    def resolve_output(self, asked: Field) -> PlanField:
        """The column as it is shown."""
        column = self._find(asked.name)
        plain = self.resolve(asked)
        return plain if column is None else self._shown(plain, column)

    def resolve_filter(self, condition: Filter) -> PlanField:
        """The column as it is compared, with what becomes of the value."""
        asked = condition.field
        column = self._find(asked.name)
        plain = self.resolve(asked)
        parser = column and self.schema.representations.get(("text", column.nominal_type))
        is_whole = column is not None and not asked.path and parser is None
        return replace(
            plain,
            cast_type=self._cast_type(asked, column),
            transform=parser.function if parser else None,
            is_enum=is_whole and column is not None and bool(column.enum),
            is_foreign=is_whole and column is not None and _is_foreign(column),
            to_tsvector=(
                condition.operator in _FTS and column is not None and column.type != "tsvector"
            ),
        )

    def list_outputs(self) -> tuple[PlanField, ...]:
        """All columns as they are shown; none if the table is not known."""
        table = self.table
        if table is None:
            return ()
        return tuple(
            self._shown(PlanField(column.name), column) for column in table.columns.values()
        )

    def has_representation(self) -> bool:
        """Whether a column is shown by a function, so that `*` must name all columns."""
        table = self.table
        return table is not None and any(
            (column.nominal_type, "json") in self.schema.representations
            for column in table.columns.values()
        )

    def _find(self, name: str) -> Column | None:
        table = self.table
        return None if table is None else table.columns.get(name)

    def _shown(self, plain: PlanField, column: Column) -> PlanField:
        shown = self.schema.representations.get((column.nominal_type, "json"))
        return plain if shown is None else replace(plain, transform=shown.function)

    def _cast_type(self, asked: Field, column: Column | None) -> str | None:
        if asked.path:
            if asked.path[-1].as_text:
                return "text"
            return "json" if column is not None and column.nominal_type == "json" else "jsonb"
        if column is not None:
            return column.base_cast_type or column.cast_type
        computed = self.schema.computed_columns.get((self.name, asked.name))
        return computed or self.returned.get(asked.name)


def _is_foreign(column: Column) -> bool:
    """Whether the type is none of PostgreSQL's own, whose names have no schema."""
    type_name = column.base_cast_type or column.cast_type
    return "." in type_name and not column.is_composite and not column.enum
