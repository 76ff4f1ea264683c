"""The records and markers of sagas in their databases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.messaging.saga import Json, SagaState

if TYPE_CHECKING:
    import datetime as dt

    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.messaging.saga import Saga

QUERIES = load_queries(__package__, "saga.sql")

LEASE_S = 30.0


@dataclass(frozen=True, slots=True)
class SagaRecord:
    """A row of `bulkhead.sagas`."""

    id: UUID
    name: str
    state: SagaState
    input: Json
    request_hash: str
    result: Json
    error: Mapping[str, Json] | None
    fence: int
    owner: str | None
    """Who works on it, or worked on it last; None when it was given back."""
    attempts: int
    """How often a worker has taken it up."""
    created_at: dt.datetime
    updated_at: dt.datetime
    leased: bool
    """Whether somebody is working on it."""
    overdue: bool
    """Whether its deadline has passed, by the database's clock."""

    def answers(self, request_hash: str) -> bool:
        """Whether it may answer this request; one that was abandoned unrecorded knows no hash."""
        return self.request_hash in ("", request_hash)


@dataclass(frozen=True, slots=True)
class Marker:
    """A row of `bulkhead.saga_steps`."""

    step: str
    undone: bool
    input_hash: str
    """What the step ran for; empty when it never did."""
    output: Json


@dataclass(frozen=True, slots=True)
class Start:
    """What the record of a saga holds from its beginning."""

    saga: Saga
    saga_id: UUID
    input: Json
    request_hash: str
    owner: str
    lease_s: float = LEASE_S

    def is_of(self, record: SagaRecord) -> bool:
        """Whether this is how `record` was begun, and nobody has taken it over since."""
        return (record.owner, record.fence, record.request_hash) == (
            self.owner,
            1,
            self.request_hash,
        )


def begin_sagas(tx: Transaction, starts: Sequence[Start]) -> None:
    """Write the records of new sagas with the commit; a repeat fails on `sagas_pkey`."""
    rows = ",".join(
        f"('{start.saga_id}',{literal(start.saga.name)},{literal(start.input)},"
        f"{literal(start.request_hash)},{literal(start.owner)},"
        f"now()+interval '{start.lease_s} s',now()+interval '{start.saga.deadline_s} s')"
        for start in starts
    )
    tx.at_commit(
        "insert into bulkhead.sagas"
        f"(id,name,input,request_hash,owner,leased_until,deadline_at)values{rows}"
    )


def mark_done(
    tx: Transaction, saga: Saga, step: str, outputs: Sequence[tuple[UUID, str, Json]]
) -> None:
    """Write the markers of a step with the commit; a repeat fails on `saga_steps_pkey`.

    `outputs` are (saga id, hash of the input, output).
    """
    rows = ",".join(
        f"('{saga_id}',{literal(step)},{literal(saga.name)},'done','{hashed}',{_jsonb(output)})"
        for saga_id, hashed, output in outputs
    )
    tx.at_commit(
        f"insert into bulkhead.saga_steps(saga_id,step,saga,state,input_hash,output)values{rows}"
    )


def finish_sagas(tx: Transaction, state: SagaState, ends: Sequence[tuple[UUID, int, Json]]) -> None:
    """End sagas with the commit; it fails with SQLSTATE BHF01 when a fence has moved on.

    `ends` are (saga id, fence, result); for a compensated saga the result is the error.
    """
    ids = ",".join(str(saga_id) for saga_id, _, _ in ends)
    fences = ",".join(str(fence) for _, fence, _ in ends)
    outcomes = ",".join(_jsonb(outcome) for _, _, outcome in ends)
    tx.at_commit(
        f"select bulkhead.finish_sagas('{state}','{{{ids}}}','{{{fences}}}',array[{outcomes}])"
    )


async def turn_back(
    tx: Transaction, saga_id: UUID, fence: int, error: Mapping[str, Json] | None
) -> bool:
    """Record that a saga is taken back because of `error`; False when its fence has moved on."""
    return bool(await tx.fetchval(QUERIES.turn_back, saga_id, fence, json.dumps(error)))


async def undo_once(tx: Transaction, saga: Saga, step: str, saga_id: UUID) -> Marker | None:
    """Mark a step undone for good; return its marker when it had been done until now."""
    # Two statements, because the second must see a marker that was committed during the first.
    if await tx.fetchval(QUERIES.forbid_step, saga_id, step, saga.name):
        return None
    row = await tx.fetchrow(QUERIES.undo_step, saga_id, step)
    if row is None or row["was"] != "done":
        return None
    return Marker(step, undone=True, input_hash=row["input_hash"], output=_loads(row["output"]))


async def refuse_saga(tx: Transaction, start: Start, error: Mapping[str, Json]) -> bool:
    """Record a saga that was refused at its first step; False when it has a record already."""
    return bool(
        await tx.fetchval(
            QUERIES.refuse_saga,
            start.saga_id,
            start.saga.name,
            json.dumps(start.input),
            start.request_hash,
            json.dumps(error),
        )
    )


async def find_saga(tx: Transaction, saga_id: UUID) -> SagaRecord | None:
    """The record of a saga, or None."""
    row = await tx.fetchrow(QUERIES.find_saga, saga_id)
    return None if row is None else parse_record(row)


async def claim_saga(
    tx: Transaction, saga_id: UUID, owner: str, *, lease_s: float = LEASE_S, force: bool = False
) -> SagaRecord | None:
    """Take over an open saga that nobody works on; None when somebody does or it has ended.

    With `force` also one that somebody works on, and one that was left to a human.
    """
    row = await tx.fetchrow(QUERIES.claim_saga, saga_id, owner, lease_s, force)
    return None if row is None else parse_record(row)


async def claim_stale_saga(
    tx: Transaction, names: Sequence[str], owner: str, *, lease_s: float = LEASE_S
) -> SagaRecord | None:
    """Take over the open saga whose lease has run out first; None when there is none."""
    row = await tx.fetchrow(QUERIES.claim_stale_saga, list(names), owner, lease_s)
    return None if row is None else parse_record(row)


async def list_records(
    tx: Transaction, *, state: str | None = None, name: str | None = None, limit: int = 50
) -> list[SagaRecord]:
    """Sagas that the database of `tx` coordinates, newest first."""
    return [parse_record(row) for row in await tx.fetch(QUERIES.list_sagas, state, name, limit)]


async def list_markers(tx: Transaction, saga_id: UUID) -> list[Marker]:
    """The markers of a saga in the database of `tx`."""
    rows = await tx.fetch(QUERIES.list_markers, saga_id)
    return [
        Marker(row["step"], row["state"] == "undone", row["input_hash"], _loads(row["output"]))
        for row in rows
    ]


def parse_record(row: Mapping[str, Any]) -> SagaRecord:
    """Read a row of the queries above."""
    return SagaRecord(
        id=row["id"],
        name=row["name"],
        state=SagaState(row["state"]),
        input=_loads(row["input"]),
        request_hash=row["request_hash"],
        result=_loads(row["result"]),
        error=_loads(row["error"]),
        fence=row["fence"],
        owner=row["owner"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        leased=row["leased"],
        overdue=row["overdue"],
    )


def _loads(text: str | None) -> Json:
    return None if text is None else json.loads(text)


def _jsonb(value: Json) -> str:
    return f"{literal(json.dumps(value, default=str, separators=(',', ':')))}::jsonb"
