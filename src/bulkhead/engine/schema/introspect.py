"""A snapshot of a database's catalogue: everything that a migration can make, as plain values.

Each object is a kind, a name and one canonical text. Role names that derive from the physical
database are replaced by `{owner}`, `{client}` and `{service}`, so that two databases with
different names compare equal when the same files built them.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bulkhead.engine.connections.queries import load_queries

QUERIES = load_queries(__package__, "introspect.sql")

Connection = Any  # asyncpg's connection class is generic over records.


class Kind(StrEnum):
    """What an object of the catalogue is; each has a query of that name."""

    SCHEMA = "schema"
    EXTENSION = "extension"
    TYPE = "type"
    SEQUENCE = "sequence"
    TABLE = "table"
    COLUMN = "column"
    CONSTRAINT = "constraint"
    INDEX = "index"
    POLICY = "policy"
    TRIGGER = "trigger"
    RULE = "rule"
    VIEW = "view"
    FUNCTION = "function"
    GRANT = "grant"
    DEFAULT_PRIVILEGE = "default_privilege"
    COMMENT = "comment"
    PUBLICATION = "publication"
    EVENT_TRIGGER = "event_trigger"
    STATISTICS = "statistics"
    TEXT_SEARCH = "text_search"
    SETTING = "setting"


@dataclass(frozen=True, slots=True, order=True)
class CatalogObject:
    """One object: `policy`, `public.orders.orders_select_own`, and all that defines it."""

    kind: Kind
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything of a database that migrations make, by kind and name."""

    objects: Mapping[tuple[Kind, str], CatalogObject]

    @classmethod
    def of(cls, objects: Iterable[CatalogObject]) -> "Snapshot":
        """Key `objects` by kind and name."""
        return cls({(each.kind, each.name): each for each in objects})

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all objects; equal if and only if the snapshots are."""
        digest = hashlib.sha256()
        for each in sorted(self.objects.values()):
            for part in (each.kind.value, each.name, each.definition):
                digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()

    def of_kind(self, kind: Kind) -> tuple[CatalogObject, ...]:
        """The objects of one kind, in the order of their names."""
        return tuple(sorted(each for each in self.objects.values() if each.kind is kind))


async def introspect(connection: Connection) -> Snapshot:
    """Read the catalogue: one query for each kind, in one transaction that changes nothing.

    `connection` needs no right but to connect, and may stand in a transaction.
    """
    async with qualified_names(connection):
        normalise = _normaliser(await connection.fetchval(QUERIES.owner))
        objects = [
            CatalogObject(kind, normalise(row["name"]), normalise(row["definition"]))
            for kind in Kind
            for row in await connection.fetch(getattr(QUERIES, kind.value))
        ]
    return Snapshot.of(objects)


@asynccontextmanager
async def qualified_names(connection: Connection) -> AsyncIterator[None]:
    """Within a transaction in which the server writes every name with its schema."""
    async with connection.transaction():
        before = await connection.fetchval("select current_setting('search_path')")
        await connection.execute("set local search_path = ''")
        yield
        # In a savepoint the setting would outlive the block.
        await connection.fetchval("select set_config('search_path', $1, true)", before)


def _normaliser(owner: str) -> Callable[[str | None], str]:
    prefix = re.escape(owner.removesuffix("_owner"))
    names = re.compile(rf'"?\b{prefix}_(owner|client|service)\b"?')

    def normalise(text: str | None) -> str:
        return names.sub(r"{\1}", text or "")

    return normalise
