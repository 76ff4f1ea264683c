"""Where each logical database lives, and the one way to reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import Budget
from bulkhead.engine.connections.roles import verify_roles
from bulkhead.engine.connections.transaction import EventSink
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver
from bulkhead.engine.errors import NotFound
from bulkhead.engine.settings import Settings


class PlacementUnknown(NotFound):
    """Application '{application}' has no database '{database}'; it has {known}."""

    code = "placement_unknown"


@dataclass(frozen=True, slots=True)
class Placement:
    """On which server, and under which physical name, a logical database lives."""

    database: str
    driver: Driver
    spec: DatabaseSpec


@dataclass(slots=True, eq=False)
class Router:
    """The open databases of one application."""

    application: str
    placements: tuple[Placement, ...]
    settings: Settings = field(default_factory=Settings)
    events: EventSink | None = None
    _open: dict[str, OpenDatabase] = field(default_factory=dict)
    _budgets: dict[str, Budget] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for placement in self.placements:
            budget = self._budgets.setdefault(
                placement.driver.server, Budget(self.settings.server_connections)
            )
            self._open[placement.database] = OpenDatabase(
                self.application,
                placement.database,
                placement.driver,
                placement.spec,
                budget,
                pool_size=self.settings.pool_size,
                statement_timeout_s=self.settings.statement_timeout_s,
                events=self.events,
            )

    def database(self, name: str) -> OpenDatabase:
        """The database called `name`; raises PlacementUnknown."""
        try:
            return self._open[name]
        except KeyError:
            raise PlacementUnknown(
                application=self.application, database=name, known=", ".join(self._open)
            ) from None

    def __iter__(self) -> Iterator[OpenDatabase]:
        """The databases in the order of their placements."""
        return iter(self._open.values())

    @property
    def databases(self) -> Mapping[str, OpenDatabase]:
        """The databases by name."""
        return self._open

    async def verify(self) -> None:
        """Refuse to serve through a role that could pass over row level security.

        Raises RoleUnsafe or whatever keeps a database from answering.
        """
        for database in self:
            await verify_roles(database)

    def reap(self) -> None:
        """Close connections that have been idle for too long."""
        for database in self:
            for pool in database.pools.values():
                pool.reap()

    async def close(self) -> None:
        """Drain and close every pool."""
        for database in self:
            await database.close()
