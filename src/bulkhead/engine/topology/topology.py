"""The topology of an application: its databases and what links them, valid once built."""

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from bulkhead.engine.errors import TopologyInvalid
from bulkhead.engine.topology.database import Database
from bulkhead.engine.topology.reference import OnDelete, Reference
from bulkhead.engine.topology.table import Column, Table

PRIVATE_SCHEMAS = frozenset({"auth", "bulkhead", "information_schema", "pg_catalog"})
"""What no API may expose: who the users are, and how databases are kept in one piece."""
VARIABLE = re.compile(r"[A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Topology:
    """The databases of one application and the references between them.

    Raises TopologyInvalid when built with a name used twice, a reference from or to a table
    that is not declared, a reference inside one database (that is a foreign key), a cycle between
    databases of which no reference is declared a fence, or a schema exposed that is nobody's.
    """

    application: str
    databases: tuple[Database, ...]
    references: tuple[Reference, ...] = ()

    def __post_init__(self) -> None:
        _check_names(self)
        _check_exposures(self)
        for reference in self.references:
            _check_reference(self, reference)
        _ = self.deploy_order

    def database(self, name: str) -> Database:
        """The database called `name`; raises TopologyInvalid when there is none."""
        for database in self.databases:
            if database.name == name:
                return database
        known = ", ".join(database.name for database in self.databases)
        raise TopologyInvalid(
            application=self.application, reason=f"no database '{name}'; declared are {known}"
        )

    def home(self, table: str) -> Database:
        """The database in which `table` lives; raises TopologyInvalid when none has it."""
        for database in self.databases:
            if database.table(table) is not None:
                return database
        raise TopologyInvalid(application=self.application, reason=f"no table '{table}'")

    def references_from(self, database: str) -> tuple[Reference, ...]:
        """The references whose source lives in `database`."""
        return tuple(r for r in self.references if r.source.database == database)

    def references_to(self, database: str) -> tuple[Reference, ...]:
        """The references whose target lives in `database`."""
        return tuple(r for r in self.references if r.target.database == database)

    @property
    def deploy_order(self) -> tuple[Database, ...]:
        """The databases, each after those it refers to; ties in the order of declaration."""
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for database in self.databases:
            sorter.add(database.name)
        for reference in self.references:
            if not reference.fence:
                sorter.add(reference.source.database, reference.target.database)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise TopologyInvalid(
                application=self.application,
                reason=f"the references form a cycle ({cycle}); declare one of them fence=True",
            ) from None
        order: list[Database] = []
        position = {database.name: index for index, database in enumerate(self.databases)}
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=position.__getitem__)
            order += [self.databases[position[name]] for name in ready]
            sorter.done(*ready)
        return tuple(order)


def _check_names(topology: Topology) -> None:
    names = [database.name for database in topology.databases]
    _check_unique(topology, "database", names)
    for database in topology.databases:
        if not database.name.isidentifier() or database.name != database.name.lower():
            raise TopologyInvalid(
                application=topology.application,
                reason=f"'{database.name}' is not a lower-case identifier",
            )
    _check_unique(
        topology,
        "table",
        [table.name for database in topology.databases for table in database.tables],
    )


def _check_exposures(topology: Topology) -> None:
    exposed = [database for database in topology.databases if database.api.enabled]
    for database in exposed:
        private = sorted(PRIVATE_SCHEMAS.intersection(database.api.schemas))
        if private or not database.api.schemas:
            what = f"schema '{private[0]}'" if private else "no schema"
            raise TopologyInvalid(
                application=topology.application,
                reason=f"the API of '{database.name}' exposes {what}",
            )
        if not VARIABLE.fullmatch(database.variable):
            raise TopologyInvalid(
                application=topology.application,
                reason=f"'{database.variable}' cannot stand in the name of a variable",
            )
    _check_unique(topology, "variable", [database.variable for database in exposed])


def _check_unique(topology: Topology, noun: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TopologyInvalid(
            application=topology.application, reason=f"{noun} declared twice: {', '.join(twice)}"
        )


def _check_reference(topology: Topology, reference: Reference) -> None:
    _find_table(topology, reference, reference.source)
    target = _find_table(topology, reference, reference.target)
    if reference.source.database == reference.target.database:
        raise TopologyInvalid(
            application=topology.application,
            reason=f"{reference.name} stays inside one database; make it a foreign key",
        )
    if target.key != (reference.target.column,):
        raise TopologyInvalid(
            application=topology.application,
            reason=f"{reference.name} does not point at the key of '{target.name}'",
        )
    if (
        reference.on_delete is OnDelete.SET_NULL
        and reference.source.column
        in (
            topology.database(reference.source.database).table(reference.source.table) or target
        ).key
    ):
        raise TopologyInvalid(
            application=topology.application,
            reason=f"{reference.name} cannot be set null: the column is part of the key",
        )


def _find_table(topology: Topology, reference: Reference, column: Column) -> Table:
    table = topology.database(column.database).table(column.table)
    if table is None:
        raise TopologyInvalid(
            application=topology.application,
            reason=f"{reference.name}: no table '{column.table}' in '{column.database}'",
        )
    return table
