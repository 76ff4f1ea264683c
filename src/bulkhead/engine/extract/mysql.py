"""Read the catalogue of MySQL and MariaDB, which say the same in different words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.extract.expression import canonical
from bulkhead.engine.extract.model import Catalogue, Key, Kind, SchemaObject
from bulkhead.engine.extract.names import in_brackets

QUERIES = load_queries(__package__, "mysql.sql")

Row = Mapping[str, Any]

# MariaDB says how many digits a client may show, MySQL no longer does.
_WIDTH = re.compile(r"^(smallint|int|bigint)\(\d+\)")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


async def read_mysql(connection: ServerConnection, *, timeout_s: float) -> Catalogue:
    """The catalogue of the database that `connection` is in."""
    [version] = await connection.fetch(QUERIES.version, (), timeout_s=timeout_s)
    is_mariadb = "mariadb" in _text(version["version"]).lower()
    checks = QUERIES.checks_mariadb if is_mariadb else QUERIES.checks_mysql
    queries = {
        "tables": QUERIES.tables,
        "columns": QUERIES.columns,
        "checks": checks,
        "foreign_keys": QUERIES.foreign_keys,
        "indexes": QUERIES.indexes,
    }
    rows = {
        section: [
            {name: _text(value) for name, value in row.items()}
            for row in await connection.fetch(query, (), timeout_s=timeout_s)
        ]
        for section, query in queries.items()
    }
    return Catalogue.of(Dialect.MYSQL, _objects(rows, is_mariadb=is_mariadb))


def _objects(rows: Mapping[str, Sequence[Row]], *, is_mariadb: bool) -> Iterator[SchemaObject]:
    for row in rows["tables"]:
        facets = {
            "kind": "" if row["kind"] == "BASE TABLE" else row["kind"].lower(),
            "engine": row["engine"] or "",
            "row format": row["row_format"] or "",
            "collation": row["table_collation"] or "",
        }
        yield SchemaObject(Key(Kind.TABLE, row["table_name"], ""), facets)
    json_columns = set(_json_columns(rows["checks"]))
    for row in rows["columns"]:
        is_json = (row["table_name"], row["name"]) in json_columns
        yield _column(row, is_mariadb=is_mariadb, is_json=is_json)
    for row in rows["checks"]:
        if (row["table_name"], row["name"]) not in json_columns or row["level"] != "Column":
            facets = {"expression": _expression(row["expression"], is_mariadb=is_mariadb)}
            yield SchemaObject(Key(Kind.CHECK, row["table_name"], row["name"]), facets)
    for _, parts in groupby(rows["foreign_keys"], key=lambda row: (row["table_name"], row["name"])):
        yield _foreign_key(list(parts))
    for _, parts in groupby(rows["indexes"], key=lambda row: (row["table_name"], row["name"])):
        yield _index(list(parts))


def _json_columns(checks: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """What MariaDB makes of JSON: a long text with a check of its own."""
    for row in checks:
        expected = f"json_valid(`{row['name'].replace('`', '``')}`)"
        if row["level"] == "Column" and row["expression"] == expected:
            yield row["table_name"], row["name"]


def _column(row: Row, *, is_mariadb: bool, is_json: bool) -> SchemaObject:
    generated = _expression(row["generation_expression"], is_mariadb=is_mariadb)
    facets = {
        "type": "json" if is_json else _WIDTH.sub(r"\1", row["type"]),
        "nullable": "yes" if generated or row["nullable"] == "YES" else "no",
        "default": "" if generated else _default(row, is_mariadb=is_mariadb),
        "generated": generated,
        "identity": "yes" if "auto_increment" in row["extra"].lower() else "",
        "collation": "" if is_json else row["collation"] or "",
    }
    if "on update" in row["extra"].lower():
        facets["on update"] = "yes"
    if generated and "stored" not in row["extra"].lower():
        facets["generated"] += " virtual"
    return SchemaObject(Key(Kind.COLUMN, row["table_name"], row["name"]), facets)


def _default(row: Row, *, is_mariadb: bool) -> str:
    found = row["expression"]
    if found is None or (is_mariadb and found.upper() == "NULL"):
        return ""
    if is_mariadb or "default_generated" in row["extra"].lower():
        return _expression(found, is_mariadb=is_mariadb)
    # MySQL shows what a text is, not how it is written.
    is_text = _NUMBER.fullmatch(found) is None or row["collation"] is not None
    return canonical("'" + found.replace("'", "''") + "'" if is_text else found, Dialect.MYSQL)


def _foreign_key(parts: Sequence[Row]) -> SchemaObject:
    row = parts[0]
    target = row["target"] if row["is_local"] else f"{row['target_schema']}.{row['target']}"
    facets = {
        "columns": in_brackets(part["column_name"] for part in parts),
        "target": in_brackets([target, *(part["target_column"] for part in parts)]),
        "on delete": _action(row["on_delete"]),
        "on update": _action(row["on_update"]),
    }
    return SchemaObject(Key(Kind.FOREIGN_KEY, row["table_name"], row["name"]), facets)


def _index(parts: Sequence[Row]) -> SchemaObject:
    row = parts[0]
    columns = ", ".join(_index_part(part) for part in parts)
    if row["name"] == "PRIMARY":
        return SchemaObject(Key(Kind.PRIMARY_KEY, row["table_name"], ""), {"columns": columns})
    facets = {
        "columns": columns,
        "unique": "no" if row["non_unique"] else "yes",
        "method": row["method"].lower(),
    }
    return SchemaObject(Key(Kind.INDEX, row["table_name"], row["name"]), facets)


def _index_part(part: Row) -> str:
    name = part["column_name"]
    text = in_brackets([name]) if name is not None else "an expression"
    return f"{text} first {part['sub_part']}" if part["sub_part"] else text


def _action(rule: str) -> str:
    # InnoDB checks at once either way.
    return "restrict" if rule == "NO ACTION" else rule.lower()


def _expression(text: str | None, *, is_mariadb: bool) -> str:
    if text is not None and not is_mariadb:
        text = text.replace("\\'", "'")
    return canonical(text, Dialect.MYSQL)


def _text(value: Any) -> Any:  # noqa: ANN401 - clients return some columns as bytes
    return value.decode() if isinstance(value, bytes | bytearray) else value
