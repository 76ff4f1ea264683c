"""Read PostgreSQL's catalogue."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.extract.expression import canonical
from bulkhead.engine.extract.model import Catalogue, Key, Kind, SchemaObject
from bulkhead.engine.extract.names import in_brackets

QUERIES = load_queries(__package__, "postgresql.sql")
SECTIONS: Final = (
    "tables",
    "columns",
    "primary_keys",
    "checks",
    "foreign_keys",
    "indexes",
    "policies",
    "grants",
)

Row = Mapping[str, Any]

_ACTIONS: Final = {
    "a": "no action",
    "r": "restrict",
    "c": "cascade",
    "n": "set null",
    "d": "set default",
}
_DESCENDING, _NULLS_FIRST = 1, 2


async def read_postgresql(connection: ServerConnection, *, timeout_s: float) -> Catalogue:
    """The catalogue of schema `public`, in a transaction that changes nothing."""
    await connection.begin(read_only=True, timeout_s=timeout_s)
    try:
        await connection.fetch(QUERIES.search_path, (), timeout_s=timeout_s)
        rows = {
            section: await connection.fetch(getattr(QUERIES, section), (), timeout_s=timeout_s)
            for section in SECTIONS
        }
    finally:
        await connection.rollback(timeout_s=timeout_s)  # shape: commit - of what only reads
    return Catalogue.of(Dialect.POSTGRESQL, _objects(rows))


def _objects(rows: Mapping[str, Sequence[Row]]) -> Iterator[SchemaObject]:
    for row in rows["tables"]:
        yield SchemaObject(Key(Kind.TABLE, row["table_name"], ""), {"kind": row["kind"] or ""})
        if row["kind"] is not None:
            continue
        facets = {"enabled": _yes(row["enabled"]), "forced": _yes(row["forced"])}
        yield SchemaObject(Key(Kind.ROW_SECURITY, row["table_name"], ""), facets)
    for row in rows["columns"]:
        yield _column(row)
    for row in rows["primary_keys"]:
        facets = {"columns": in_brackets(row["columns"])}
        yield SchemaObject(Key(Kind.PRIMARY_KEY, row["table_name"], ""), facets)
    for row in rows["checks"]:
        facets = {"expression": _canonical(row["expression"]), **_unchecked(row)}
        yield SchemaObject(Key(Kind.CHECK, row["table_name"], row["name"]), facets)
    for row in rows["foreign_keys"]:
        yield _foreign_key(row)
    for _, parts in groupby(rows["indexes"], key=lambda row: (row["table_name"], row["name"])):
        yield _index(list(parts))
    for row in rows["policies"]:
        yield _policy(row)
    for row in rows["grants"]:
        column = row["column_name"]
        what = row["privilege"] if column is None else f"{row['privilege']} ({column})"
        name = f"{what} to {row['role']}"
        yield SchemaObject(Key(Kind.GRANT, row["table_name"], name), {})


def _column(row: Row) -> SchemaObject:
    expression = _canonical(row["expression"])
    facets = {
        "type": row["type"],
        "nullable": _yes(row["nullable"]),
        "default": "" if row["generated"] else expression,
        "generated": expression if row["generated"] else "",
        "identity": "yes" if row["identity"] else "",
        "collation": row["collation"] or "",
    }
    return SchemaObject(Key(Kind.COLUMN, row["table_name"], row["name"]), facets)


def _foreign_key(row: Row) -> SchemaObject:
    facets = {
        "columns": in_brackets(row["columns"]),
        "target": in_brackets([row["target"], *row["target_columns"]]),
        "on delete": _ACTIONS[row["on_delete"]],
        "on update": _ACTIONS[row["on_update"]],
        "deferrable": "yes" if row["deferrable"] else "",
        **_unchecked(row),
    }
    return SchemaObject(Key(Kind.FOREIGN_KEY, row["table_name"], row["name"]), facets)


def _index(parts: Sequence[Row]) -> SchemaObject:
    row = parts[0]
    facets = {
        "columns": ", ".join(_index_part(part) for part in parts if not part["included"]),
        "unique": _yes(row["is_unique"]),
        "method": row["method"],
        "include": in_brackets(part["column_name"] for part in parts if part["included"]),
        "where": _canonical(row["predicate"]),
        "nulls": "not distinct" if row["nulls_not_distinct"] else "",
        "valid": "" if row["valid"] else "no",
    }
    return SchemaObject(Key(Kind.INDEX, row["table_name"], row["name"]), facets)


def _index_part(part: Row) -> str:
    name = part["column_name"]
    text = in_brackets([name]) if name is not None else _canonical(part["expression"])
    is_descending = bool(part["options"] & _DESCENDING)
    text += " desc" if is_descending else ""
    if bool(part["options"] & _NULLS_FIRST) != is_descending:
        text += " nulls last" if is_descending else " nulls first"
    return text


def _policy(row: Row) -> SchemaObject:
    facets = {
        "permissive": _yes(row["permissive"]),
        "command": row["command"],
        "roles": ", ".join(sorted(row["roles"])),
        "using": _canonical(row["using"]),
        "check": _canonical(row["check"]),
    }
    return SchemaObject(Key(Kind.POLICY, row["table_name"], row["name"]), facets)


def _unchecked(row: Row) -> dict[str, str]:
    return {} if row["validated"] else {"validated": "no"}


def _canonical(text: str | None) -> str:
    return canonical(text, Dialect.POSTGRESQL)


def _yes(value: object) -> str:
    return "yes" if value else "no"
