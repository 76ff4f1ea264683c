"""Loads the schema cache: what the catalogue of a database says, as values.

Source: PostgREST v14, `SchemaCache.hs`, for what is exposed and what is derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.transaction import Record, Transaction
from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.functions import ISOLATION, arrange_functions
from bulkhead.gateway.rest.relationships import (
    Constraint,
    arrange_relationships,
    find_relationships,
    read_constraint,
)
from bulkhead.gateway.rest.schema import (
    ANY_ELEMENT,
    Column,
    ComputedRelationship,
    MediaHandler,
    Name,
    Representation,
    Schema,
    Table,
)
from bulkhead.gateway.rest.view_keys import ViewsBelow, trace_views

QUERIES = load_queries(__package__, "schema_queries.sql")
SEARCH_PATH = "set local search_path = pg_catalog, pg_temp"
"""Before the queries: so that types of all other schemas come out qualified."""
ANY_MEDIA = "*/*"
OCTETS = "application/octet-stream"
_UPDATE, _INSERT, _DELETE = 4, 8, 16


async def load_schema(
    tx: Transaction, config: RestConfig, version: int, time_zones: frozenset[str] | None = None
) -> Schema:
    """Read everything of the exposed schemas that requests need; leaves a search path behind.

    The names of time zones never change, so that a reload can pass those of before.
    """
    await tx.execute(SEARCH_PATH)
    schemas = list(config.schemas)
    path = [*schemas, *config.extra_search_path]
    constraints = [read_constraint(row) for row in await tx.fetch(QUERIES.constraints)]
    views = trace_views(await tx.fetch(QUERIES.view_origins, path), schemas)
    keys = _primary_keys(constraints, views)
    tables = _arrange_tables(
        await tx.fetch(QUERIES.tables, schemas), await tx.fetch(QUERIES.columns, schemas), keys
    )
    functions = await tx.fetch(QUERIES.functions, schemas, True)  # noqa: FBT003 - of everybody
    computed = await tx.fetch(QUERIES.computed, path)
    settings = await tx.fetch(QUERIES.role_settings)
    return Schema(
        version=version,
        tables=tables,
        relationships=arrange_relationships(
            find_relationships(constraints, views, _keys_by_name(constraints, views, keys)),
            _read_computed_relationships(computed),
            schemas,
        ),
        functions=arrange_functions(functions, config.hoisted_settings),
        representations=_read_representations(await tx.fetch(QUERIES.representations)),
        media_handlers=_read_media_handlers(await tx.fetch(QUERIES.media_handlers, schemas)),
        computed_columns=_read_computed_columns(computed),
        time_zones=await load_time_zones(tx) if time_zones is None else time_zones,
        role_settings=_read_role_settings(settings),
        role_isolation={row["role"]: row["value"] for row in settings if row["name"] == ISOLATION},
    )


async def load_time_zones(tx: Transaction) -> frozenset[str]:
    """The names of time zones that the server knows."""
    return frozenset(row["name"] for row in await tx.fetch(QUERIES.time_zones))


async def load_fingerprint(tx: Transaction) -> str:
    """A text that differs from the last one when a definition has changed since."""
    return str(await tx.fetchval(QUERIES.fingerprint))


def _arrange_tables(
    rows: Iterable[Record], columns: Iterable[Record], keys: Mapping[int, Sequence[str]]
) -> Mapping[Name, Table]:
    by_relation: dict[int, dict[str, Column]] = {}
    for row in columns:
        by_relation.setdefault(row["relation"], {})[row["name"]] = _read_column(row)
    tables = {}
    for row in rows:
        name = Name(row["schema"], row["name"])
        tables[name] = Table(
            name=name,
            columns=by_relation.get(row["oid"], {}),
            primary_key=tuple(keys.get(row["oid"], ())),
            is_view=row["is_view"],
            insertable=bool(row["writable"] & _INSERT),
            updatable=bool(row["writable"] & _UPDATE),
            deletable=bool(row["writable"] & _DELETE),
            description=row["description"],
        )
    return tables


def _read_column(row: Record) -> Column:
    return Column(
        name=row["name"],
        type=row["type"],
        nominal_type=row["nominal_type"],
        cast_type=row["cast_type"],
        base_cast_type=row["base_cast_type"],
        is_nullable=row["is_nullable"],
        max_length=row["max_length"],
        default=row["default"],
        enum=tuple(row["enum"] or ()),
        description=row["description"],
        is_generated=row["is_generated"],
        is_composite=row["is_composite"],
    )


def _primary_keys(constraints: Iterable[Constraint], views: ViewsBelow) -> Mapping[int, list[str]]:
    """The keys by the oids of tables and views; a view of two tables has the keys of both."""
    keys: dict[int, list[str]] = {}
    for constraint in constraints:
        if constraint.kind != "p":
            continue
        keys[constraint.relation] = sorted(constraint.columns)
        for view in views.get(constraint.relation, ()):
            found = next(view.find_keys(constraint.relation, constraint.numbers), ())
            keys.setdefault(view.oid, []).extend(found)
    return keys


def _keys_by_name(
    constraints: Iterable[Constraint], views: ViewsBelow, keys: Mapping[int, Sequence[str]]
) -> Mapping[Name, Sequence[str]]:
    names = {view.oid: view.name for some in views.values() for view in some}
    names |= {constraint.relation: constraint.table for constraint in constraints}
    return {names[relation]: key for relation, key in keys.items()}


def _read_computed_relationships(rows: Iterable[Record]) -> Iterator[ComputedRelationship]:
    for row in rows:
        if row["target"] is not None:
            table = Name(row["schema"], row["table"])
            target = Name(row["target_schema"], row["target"])
            yield ComputedRelationship(
                function=Name(row["function_schema"], row["function"]),
                table=table,
                target=target,
                table_alias=table,
                is_to_one=row["is_to_one"],
                is_self=table == target,
            )


def _read_computed_columns(rows: Iterable[Record]) -> Mapping[tuple[Name, str], str]:
    return {
        (Name(row["schema"], row["table"]), row["function"]): row["type"]
        for row in rows
        if row["target"] is None and not row["returns_set"]
    }


def _read_representations(rows: Iterable[Record]) -> Mapping[tuple[str, str], Representation]:
    return {
        (row["source"], row["target"]): Representation(
            row["source"], row["target"], row["function"]
        )
        for row in rows
    }


def _read_media_handlers(
    rows: Iterable[Record],
) -> Mapping[tuple[Name | None, str], MediaHandler]:
    handlers = {}
    for row in rows:
        name = Name(row["target_schema"], row["target"])
        target = None if name == ANY_ELEMENT else name
        accepts = row["accepts"]
        handlers[target, accepts] = MediaHandler(
            function=Name(row["schema"], row["function"]),
            media_type=OCTETS if accepts == ANY_MEDIA else accepts,
            target=target,
            is_aggregate=row["is_aggregate"],
            accepts=accepts,
        )
    return handlers


def _read_role_settings(rows: Iterable[Record]) -> Mapping[str, tuple[tuple[str, str], ...]]:
    settings: dict[str, tuple[tuple[str, str], ...]] = {}
    for row in rows:
        if row["name"] != ISOLATION:
            settings[row["role"]] = (*settings.get(row["role"], ()), (row["name"], row["value"]))
    return settings
