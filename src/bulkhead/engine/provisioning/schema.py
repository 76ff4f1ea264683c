"""What every database of a fleet has: its tables, its migrations and its first rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, ServerConnection
from bulkhead.engine.extract.extract import ExtractOptions, extract
from bulkhead.engine.extract.model import Extracted
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.model import TenantId

IDENTITY: Final = "_identity"
"""The table in which a database says whose it is; every schema of a fleet has it."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The tenant whose database gets its first rows."""

    id: TenantId
    label: str


@dataclass(frozen=True, slots=True)
class MigrationCall:
    """A database whose tables are there, to be brought to the schema's version."""

    connection: ServerConnection
    """With the rights of who owns the tables; not within a transaction."""
    spec: DatabaseSpec | None
    """None for a database that its owner runs."""
    is_fresh: bool
    """Whether all tables were made as they are declared now, so that nothing is left to do but to
    note the version."""
    is_clone: bool = False
    """Whether it was copied from a template, of an older release perhaps: it has a record of what
    it has had, and what is missing there has to run."""


NOTES: Final = ("_migrations", "_migration_statements")
"""The tables in which `migrate` may note, in a database that its owner runs, what it has had."""

Seed = Callable[[TenantConnection, Newcomer], Awaitable[None]]
Migrate = Callable[[MigrationCall], Awaitable[None]]


async def seed_nothing(connection: TenantConnection, newcomer: Newcomer) -> None:
    """The seed of a schema that begins empty."""


async def migrate_nothing(call: MigrationCall) -> None:
    """The migrations of a schema that keeps no record of them in the database."""


@dataclass(frozen=True, slots=True, eq=False)
class FleetSchema:
    """The schema of a fleet, declared once for every dialect.

    `metadata` has a table `_identity` whose column `tenant_id` names the tenant. `version` is that
    of the newest migration, for the registry; `migrate` brings a database there, and may be called
    again after it was interrupted anywhere. `seed` writes the first rows into tables that were all
    made by the job; it runs once, in one transaction, with the tenant's rights.
    """

    fleet: str
    metadata: sa.MetaData
    version: int = 1
    seed: Seed = seed_nothing
    migrate: Migrate = migrate_nothing
    _extracted: dict[tuple[Dialect, bool], Extracted] = field(default_factory=dict)
    _fingerprints: dict[tuple[Dialect, bool], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises Invalid for a fleet whose name cannot begin the name of a database."""
        DatabaseSpec(self.fleet)
        assert "tenant_id" in self.identity.columns, "the identity names the tenant"

    @property
    def identity(self) -> sa.Table:
        """The table that says whose database it is."""
        return self.metadata.tables[IDENTITY]

    def extracted(self, dialect: Dialect, *, client_roles: bool) -> Extracted:
        """The schema in the SQL of `dialect`; raises SchemaUnsupported."""
        key = (dialect, client_roles)
        if key not in self._extracted:
            options = ExtractOptions(client_roles=client_roles)
            self._extracted[key] = extract(self.metadata, dialect, options)
        return self._extracted[key]

    def fingerprint(self, dialect: Dialect) -> str:
        """By which spares of this schema are known: of its tables and its version."""
        return f"{self.version}:{self.tables_fingerprint(dialect, client_roles=True)}"

    def tables_fingerprint(self, dialect: Dialect, *, client_roles: bool) -> str:
        """That of what is extracted, which takes milliseconds to compute and never changes."""
        key = (dialect, client_roles)
        if key not in self._fingerprints:
            extracted = self.extracted(dialect, client_roles=client_roles)
            self._fingerprints[key] = extracted.fingerprint
        return self._fingerprints[key]
