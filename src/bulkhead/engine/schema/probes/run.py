"""Run probes: make sample rows, try everything, undo everything.

All happens in one transaction that is rolled back. The statements run inside the server, thousands
per second, each in a savepoint of its own under its own role and claims.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.schema.introspect import Connection, qualified_names
from bulkhead.engine.schema.probes.actors import ALICE, CLERK
from bulkhead.engine.schema.probes.probe import Outcome, Probe, ProbeReport, Result, judge
from bulkhead.engine.schema.probes.rows import (
    SampleBook,
    SampleImpossible,
    SampleRow,
    Target,
    find_targets,
)
from bulkhead.engine.schema.probes.samples import Case, Samples
from bulkhead.engine.schema.probes.surface import generate_surface_probes
from bulkhead.engine.schema.probes.tables import TableCase, generate_table_probes
from bulkhead.engine.schema.relations import read_relations
from bulkhead.engine.topology import Database

QUERIES = load_queries(__package__, "run.sql")
BATCH_MAX = 500
"""How many probes travel in one message."""
DONE = "BHP00"

_FUNCTION = re.compile(
    r"^(?:PL/pgSQL function (?!pg_temp\S*\.run_probes)|SQL function )", re.MULTILINE
)


class _Undone(Exception):
    """Ends a transaction without keeping it."""


@dataclass(frozen=True, slots=True)
class ProbeSession:
    """A prepared database: its probes, and the sample rows they try to reach."""

    connection: Connection
    book: SampleBook
    probes: tuple[Probe, ...]

    async def run(self, probes: Sequence[Probe]) -> list[Result]:
        """Run `probes`; nothing of what they do remains."""
        results: list[Result] = []
        for start in range(0, len(probes), BATCH_MAX):
            batch = probes[start : start + BATCH_MAX]
            rows = await self.connection.fetch(
                QUERIES.run,
                [probe.sql for probe in batch],
                [probe.actor.role for probe in batch],
                [probe.actor.claims for probe in batch],
            )
            for probe, row in zip(batch, rows, strict=True):
                outcome = _outcome(row)
                results.append(Result(probe, outcome, judge(probe, outcome)))
        return results


async def probe_database(
    connection: Connection, database: Database, samples: Samples | None = None
) -> ProbeReport:
    """Try every relation and function as every actor, and compare with the declaration.

    `connection` is an administrator's, outside of any transaction; nothing remains of the attempt.
    Leaks and over-denials are both failures. Raises SampleImpossible where a row to try on cannot
    be made.
    """
    async with open_session(connection, database, samples or Samples()) as session:
        started_s = monotonic_s()
        results = await session.run(session.probes)
        return ProbeReport(tuple(results), monotonic_s() - started_s)


@asynccontextmanager
async def open_session(
    connection: Connection, database: Database, samples: Samples
) -> AsyncIterator[ProbeSession]:
    """Make sample rows and generate the probes; the block's end undoes everything."""
    async with undone(connection):
        await connection.execute(
            "set local search_path = public, extensions; set local lock_timeout = '5s';"
            "set local statement_timeout = 0; set local jit = off"
        )
        async with qualified_names(connection):
            relations = await read_relations(connection)
        targets = find_targets(database, samples, relations)
        book = SampleBook(targets, samples)
        await make_rows(connection, book, CLERK)
        probes = [
            probe
            for table_case in _table_cases(book)
            for probe in generate_table_probes(table_case)
        ]
        probes += await generate_surface_probes(connection, samples, targets, relations)
        await connection.execute(QUERIES.create_runner)
        yield ProbeSession(connection, book, tuple(probes))


@asynccontextmanager
async def undone(connection: Connection) -> AsyncIterator[None]:
    """A transaction, or a savepoint within one, of which nothing is kept."""
    try:
        async with connection.transaction():
            yield
            raise _Undone  # noqa: TRY301
    except _Undone:
        pass


async def make_rows(connection: Connection, book: SampleBook, *more_users: UUID) -> None:
    """Make users, and as the service a row of every declared table, case and owner."""
    if book.samples.user_statement is not None:
        for user_id in (*book.users, *more_users):
            await _make_user(connection, book.samples.user_statement, user_id)
    await connection.execute(
        f"set local role service_role; set local request.jwt.claims = {literal(SERVICE.json)}"
    )
    for target in book.targets.values():
        if target.relation.is_table:
            for case in book.samples.cases_of(target.table.name):
                for user in book.owners_of(target):
                    book.add(await _make_row(connection, book, target, case, user))
    await connection.execute("reset role; set constraints all immediate")


async def _make_user(connection: Connection, statement: str, user_id: UUID) -> None:
    try:
        await connection.execute(statement, user_id)
    except asyncpg.PostgresError as error:
        raise SampleImpossible(
            table="users", case="usual", reason=error.message, statement=statement
        ) from error


async def _make_row(
    connection: Connection, book: SampleBook, target: Target, case: Case, user: UUID | None
) -> SampleRow:
    listed = ", ".join(
        f"{identifier(name)}::text as {identifier(name)}" for name in target.relation.columns
    )
    if case.found:
        marks = book.marks_of_found(target, case, user)
        conditions = [f"{identifier(name)} = {value}" for name, value in marks.items()]
        statement = f"select {listed} from {target.name} where {' and '.join(conditions)}"
    else:
        columns = book.columns_of_another(target, case, user)
        names = ", ".join(identifier(name) for name in columns)
        given = f"({names}) values ({', '.join(columns.values())})" if columns else "default values"
        statement = f"insert into {target.name} {given} returning {listed}"
    try:
        row = await connection.fetchrow(statement)
    except asyncpg.PostgresError as error:
        raise _impossible(target, case, error.message, statement) from error
    if row is None:
        raise _impossible(target, case, "no such row is there", statement)
    return SampleRow(target.table.name, case, user, dict(row))


def _impossible(target: Target, case: Case, reason: str, statement: str) -> SampleImpossible:
    return SampleImpossible(
        table=target.table.name, case=case.name, reason=reason, statement=statement
    )


def _table_cases(book: SampleBook) -> list[TableCase]:
    cases = []
    for name, target in book.targets.items():
        for case in book.samples.cases_of(name):
            row = book.find(name, case.name, ALICE)
            if row is None:
                row = SampleRow(name, case, book.owners_of(target)[0], {})
            cases.append(TableCase(target, case, row, book))
    return cases


def _outcome(row: asyncpg.Record) -> Outcome:
    if row["state"] == DONE:
        return Outcome(row["changed"])
    nested = _FUNCTION.search(row["place"] or "") is not None
    return Outcome(None, row["state"], row["message"], nested)
