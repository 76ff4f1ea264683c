"""A hash of everything that statements can change in a MySQL database but its rows."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.mysql_sql import quote_name
from bulkhead.engine.drivers.protocol import ServerConnection

_JOURNAL: Final = frozenset(["_migrations", "_migration_statements"])
_COUNTER: Final = re.compile(r" AUTO_INCREMENT=\d+")
QUERIES: Final = load_queries(__package__, "mysql_catalogue.sql")
_REST: Final = (
    QUERIES.list_triggers,
    QUERIES.list_routines,
    QUERIES.list_parameters,
    QUERIES.list_events,
)


async def hash_catalogue(connection: ServerConnection, *, timeout_s: float) -> str:
    """Equal before and after a statement if and only if it changed nothing but rows.

    The journal's own tables do not count.
    """
    digest = hashlib.sha256()
    found = await connection.fetch(QUERIES.list_tables, (), timeout_s=timeout_s)
    for row in sorted(list(map(str, each.values())) for each in found):
        name, kind = row[0], row[1]
        if name in _JOURNAL:
            continue
        what = "view" if kind == "VIEW" else "table"
        sql = f"show create {what} {quote_name(name)}".replace("%", "%%")
        _take(digest, await connection.fetch(sql, (), timeout_s=timeout_s))
    for sql in _REST:
        _take(digest, await connection.fetch(sql, (), timeout_s=timeout_s))
    return digest.hexdigest()


def _take(digest: Any, rows: Any) -> None:  # noqa: ANN401
    for row in rows:
        for value in row.values():
            text = _COUNTER.sub("", str(value)).encode("utf-8", "surrogatepass")
            digest.update(b"%d:%s" % (len(text), text))
