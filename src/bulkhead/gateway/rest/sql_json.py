"""Reading columns out of a JSON body.

Source of the form: PostgREST v14, `fromJsonBodyF` of `SqlFragment.hs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine.connections.sql import literal
from bulkhead.gateway.rest.plan_write import WriteColumn
from bulkhead.gateway.rest.schema import Name
from bulkhead.gateway.rest.sql_parts import Parameters, quote, quote_column
from bulkhead.gateway.rest.statement import BodyBind

BODY = Name("", "pgrst_body")
"""The rows of the body."""


@dataclass(frozen=True, slots=True)
class JsonBody:
    """What is read from the body, and how."""

    columns: Sequence[WriteColumn]
    is_object: bool
    applies_defaults: bool = False
    """Whether a key that is missing is the column's default rather than null."""
    is_one_row: bool = False
    """Whether only the first row counts."""

    def render(self, parameters: Parameters) -> str:
        """Render a `from` clause whose last item is `pgrst_body`."""
        kind = "jsonb" if self.applies_defaults else "json"
        body = parameters.add(BodyBind(), "text")
        shown = ", ".join(_render_parsed(column) for column in self.columns)
        return (
            f" from (select cast({body} as {kind}) as json_data) pgrst_payload,"
            f"{self._render_defaults()}"
            f" lateral (select {shown} from {self._render_rows(kind)}) {BODY.name}"
        )

    def render_columns(self) -> str:
        """Render the columns of `pgrst_body`."""
        return ", ".join(quote_column(BODY, column.name) for column in self.columns)

    def _render_rows(self, kind: str) -> str:
        data = "pgrst_json_defs.val" if self.applies_defaults else "pgrst_payload.json_data"
        if not self.columns:
            # `{}` is one row, `[{}, {}]` two, all of defaults.
            return "(values (1)) _" if self.is_object else f"{kind}_array_elements({data}) _"
        reader = f"{kind}_to_record" if self.is_object else f"{kind}_to_recordset"
        typed = ", ".join(f"{quote(column.name)} {column.type}" for column in self.columns)
        limit = " limit 1" if self.is_one_row else ""
        return f"{reader}({data}) as _({typed}){limit}"

    def _render_defaults(self) -> str:
        if not self.applies_defaults:
            return ""
        pairs = ", ".join(
            f"{literal(column.name)}, {column.default}"
            for column in self.columns
            if column.default is not None
        )
        defaults = f"jsonb_build_object({pairs})"
        if self.is_object:
            return (
                f" lateral (select {defaults} || pgrst_payload.json_data as val) pgrst_json_defs,"
            )
        return (
            f" lateral (select jsonb_agg({defaults} || elem) as val"
            " from jsonb_array_elements(pgrst_payload.json_data) elem) pgrst_json_defs,"
        )


def _render_parsed(column: WriteColumn) -> str:
    name = quote(column.name)
    return name if column.transform is None else f"{column.transform}({name}) as {name}"
