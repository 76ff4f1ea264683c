"""What the description of the API needs besides the schema: rights, and the schema's comment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.gateway.rest.config import OpenApiMode
from bulkhead.gateway.rest.functions import arrange_functions
from bulkhead.gateway.rest.schema import Function, Name, Schema, Table
from bulkhead.gateway.rest.schema_load import QUERIES

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction


@dataclass(frozen=True, slots=True)
class OpenApiFacts:
    """The tables and functions to describe, by name, and what is said about them all."""

    tables: Sequence[Table]
    functions: Mapping[Name, Sequence[Function]]
    comment: str | None = None
    """Its first line is the title."""


async def load_openapi_facts(
    tx: Transaction, name: str, schema: Schema, mode: OpenApiMode
) -> OpenApiFacts:
    """Find what the role of `tx` may use of the schema called `name`, or all of it.

    Types of parameters are named as the search path of `tx` lets them be named.
    """
    comment = await tx.fetchval(QUERIES.schema_description, name)
    tables = [table for table in schema.tables.values() if table.name.schema == name]
    if mode is OpenApiMode.IGNORE_PRIVILEGES:
        functions = {each: some for each, some in schema.functions.items() if each.schema == name}
        return OpenApiFacts(tables, functions, comment)
    accessible = {row["name"] for row in await tx.fetch(QUERIES.accessible_tables, name)}
    rows = await tx.fetch(QUERIES.functions, [name], False)  # noqa: FBT003 - not of everybody
    return OpenApiFacts(
        [table for table in tables if table.name.name in accessible],
        arrange_functions(rows, ()),
        comment,
    )
