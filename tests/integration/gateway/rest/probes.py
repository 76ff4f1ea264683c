"""The probes of a database as requests: what is tried in SQL, tried through the gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from bulkhead.engine.connections.claims import Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.schema.introspect import qualified_names
from bulkhead.engine.schema.probes.actors import CLERK, ProbeActor
from bulkhead.engine.schema.probes.probe import Outcome, Probe, ProbeVerb
from bulkhead.engine.schema.probes.rows import SampleBook, find_targets
from bulkhead.engine.schema.probes.run import (
    QUERIES,
    ProbeSession,
    _table_cases,
    make_rows,
    undone,
)
from bulkhead.engine.schema.probes.samples import Samples
from bulkhead.engine.schema.probes.tables import TableCase, generate_table_probes
from bulkhead.engine.schema.relations import read_relations
from bulkhead.engine.topology import Database
from bulkhead.gateway.rest.app import RestGateway
from bulkhead.gateway.rest.config import RestConfig, TxEnd

ACTOR = "x-actor"
SQLSTATE_LENGTH = 5
METHODS = {
    ProbeVerb.SELECT: "GET",
    ProbeVerb.SELECT_COLUMN: "GET",
    ProbeVerb.INSERT_OWN: "POST",
    ProbeVerb.INSERT_OTHER: "POST",
    ProbeVerb.INSERT_UNDER_OTHER: "POST",
    ProbeVerb.INSERT_FOR_OTHER: "POST",
    ProbeVerb.INSERT_COLUMN: "POST",
    ProbeVerb.UPDATE_COLUMN: "PATCH",
    ProbeVerb.UPDATE_OWNER: "PATCH",
    ProbeVerb.DELETE: "DELETE",
}
"""What can be tried by a request; locks, TRUNCATE and the like cannot."""


@dataclass(frozen=True, slots=True)
class Try:
    """A probe, what became of it in SQL, and the request that tries the same."""

    probe: Probe
    in_sql: Outcome
    where: Mapping[str, str]
    body: bytes


@asynccontextmanager
async def prepared(
    connection: Any, database: Database, samples: Samples, one_of: int
) -> AsyncIterator[Sequence[Try]]:
    """Make the sample rows to stay, and try one of so many probes in SQL."""
    async with connection.transaction():
        await connection.execute("set local search_path = public, extensions")
        async with qualified_names(connection):
            relations = await read_relations(connection)
        book = SampleBook(find_targets(database, samples, relations), samples)
        await make_rows(connection, book, CLERK)
    chosen = [
        (case, probe)
        for case in _table_cases(book)
        for probe in generate_table_probes(case)
        if probe.verb in METHODS and not probe.actor.impostor
    ][::one_of]
    async with undone(connection):
        await connection.execute("set local search_path = public, extensions")
        await connection.execute(QUERIES.create_runner)
        session = ProbeSession(connection, book, tuple(probe for _, probe in chosen))
        results = await session.run(session.probes)
        yield [
            Try(probe, result.outcome, _where(case, probe), await _body(connection, case, probe))
            for (case, probe), result in zip(chosen, results, strict=True)
        ]


def _where(case: TableCase, probe: Probe) -> Mapping[str, str]:
    """The filters that find the row, as the probe's own statement does."""
    if METHODS[probe.verb] == "POST" or " where " not in probe.sql:
        return {}
    values = case.row.values
    if not values:
        owner = case.target.owner
        return {owner.column: f"eq.{case.row.user}"} if owner is not None else {}
    return {
        name: "is.null" if values[name] is None else f"eq.{values[name]}"
        for name in case.target.table.key
        if name in values
    }


async def _body(connection: Any, case: TableCase, probe: Probe) -> bytes:
    """What is written, as JSON; the expressions are those of the probe's statement."""
    if METHODS[probe.verb] not in {"POST", "PATCH"}:
        return b""
    columns = case.target.relation.columns
    listed = ", ".join(
        f"cast({value} as {columns[name].type}) as {identifier(name)}"
        for name, value in probe.writes.items()
    )
    row = await connection.fetchval(f"select row_to_json(r)::text from (select {listed}) r")
    return str(row).encode()


class ProbeGateway:
    """The gateway, believing whatever a request says of its sender."""

    def __init__(self, database: OpenDatabase) -> None:
        self._actors: dict[str, Claims] = {}
        config = RestConfig(tx_end=TxEnd.ROLLBACK, max_rows=None)
        self.gateway = RestGateway(database, config, self._authenticate)
        transport = httpx.ASGITransport(self.gateway)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def __aenter__(self) -> Self:
        await self.gateway.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await self.gateway.close()

    async def run(self, attempt: Try) -> Outcome:
        """Try it; nothing of it remains."""
        method = METHODS[attempt.probe.verb]
        params = dict(attempt.where)
        if method == "GET":
            params["select"] = attempt.probe.column or next(iter(params), "*")
        answer = await self._http.request(
            method,
            f"/{attempt.probe.relation.rpartition('.')[2]}",
            params=params,
            content=attempt.body,
            headers={
                ACTOR: self._name(attempt.probe.actor),
                "content-type": "application/json",
                "prefer": "count=exact",
            },
        )
        assert answer.status_code < 500, f"{attempt.probe}: {answer.text}"
        if answer.is_success:
            return Outcome(int(answer.headers["content-range"].rpartition("/")[2]))
        error = answer.json()
        return Outcome(None, error["code"], error["message"])

    async def get(
        self,
        path: str,
        actor: ProbeActor,
        headers: Mapping[str, str] | None = None,
        params: Sequence[tuple[str, str]] = (),
    ) -> httpx.Response:
        """Read whatever is at an address."""
        headers = {ACTOR: self._name(actor), **(headers or {})}
        return await self._http.get(path, headers=headers, params=list(params))

    def _name(self, actor: ProbeActor) -> str:
        payload = json.loads(actor.claims)
        self._actors[actor.name] = Claims(actor.role, payload, actor.claims)
        return actor.name

    def _authenticate(self, headers: Sequence[tuple[bytes, bytes]]) -> Claims:
        return self._actors[dict(headers)[ACTOR.encode()].decode()]


def is_same(in_sql: Outcome, by_request: Outcome) -> bool:
    """Whether both saw or changed rows, or neither did, for the same reason."""
    if in_sql.rows is None or by_request.rows is None:
        return in_sql.rows == by_request.rows and in_sql.sqlstate == by_request.sqlstate
    return (in_sql.rows > 0) == (by_request.rows > 0)
