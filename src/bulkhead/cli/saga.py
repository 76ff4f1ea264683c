"""`bulkhead saga`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from bulkhead.cli.output import EXIT_CONFLICT, Output
from bulkhead.cli.session import application_option, run_opened
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.engine.messaging.saga_store import SagaRecord
    from bulkhead.engine.system import System

STATES = ("running", "compensating", "completed", "compensated", "needs_human")


@click.group(cls=Noun)
def saga() -> None:
    """Look at sagas, resume or compensate them."""


@saga.command("list", examples=["bulkhead saga list --state needs_human"])
@application_option
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--name", help="Only sagas of this name.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.pass_obj
def list_sagas(
    output: Output, *, application: str, state: str | None, name: str | None, limit: int
) -> None:
    """List sagas, newest first."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.messaging.saga_store import list_records

    async def work(system: System) -> list[SagaRecord]:
        found: list[SagaRecord] = []
        for home in system.sagas.homes:
            async with system.database(home).transaction(SERVICE, read_only=True) as tx:
                found += await list_records(tx, state=state, name=name, limit=limit)
        return sorted(found, key=lambda record: record.created_at, reverse=True)[:limit]

    records = run_opened(output, application, work)
    columns = ("id", "name", "state", "attempts", "leased", "created_at", "error")
    output.rows(columns, [_row(record) for record in records])


@saga.command("show", examples=["bulkhead saga show 01890a5d-ac96-774b-bcce-b302099a8057"])
@application_option
@click.argument("saga_id", type=click.UUID)
@click.pass_obj
def show_saga(output: Output, *, application: str, saga_id: UUID) -> None:
    """Show one saga with the markers of its steps in every database."""
    import json

    async def work(system: System) -> dict[str, Any]:
        record = await _get(system, saga_id)
        markers = await system.sagas.steps.markers(system.sagas.saga(record.name), saga_id)
        return {
            **_row(record),
            "input": record.input,
            "result": record.result,
            "error": record.error,
            "steps": {
                name: {"state": "undone" if marker.undone else "done", "output": marker.output}
                for name, marker in markers.items()
            },
        }

    found = run_opened(output, application, work)
    output.data(found, text=json.dumps(found, indent=2, default=str))


@saga.command("resume", examples=["bulkhead saga resume 01890a5d-ac96-774b-bcce-b302099a8057"])
@application_option
@click.argument("saga_id", type=click.UUID)
@click.pass_obj
def resume_saga(output: Output, *, application: str, saga_id: UUID) -> int:
    """Take a saga up now, whoever had it; it ends done, or taken back."""

    async def work(system: System) -> SagaRecord:
        record = await _claim(system, saga_id)
        if record is not None:
            await system.sagas.resume(record)
        return await _get(system, saga_id)

    return _report(output, run_opened(output, application, work))


@saga.command(
    "compensate", examples=["bulkhead saga compensate 01890a5d-ac96-774b-bcce-b302099a8057"]
)
@application_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("saga_id", type=click.UUID)
@click.pass_obj
def compensate_saga(output: Output, *, application: str, saga_id: UUID, yes: bool) -> int:
    """Take a saga back: every step that ran is undone, the last first."""
    output.note(f"→ application {application} · saga {saga_id}")
    if not yes:
        click.confirm("Undo everything this saga has done?", abort=True, err=True)

    async def work(system: System) -> SagaRecord:
        from bulkhead.engine.messaging.saga_errors import SagaAbandoned

        record = await _claim(system, saga_id)
        if record is not None:
            await system.sagas.compensate(record, SagaAbandoned())
        return await _get(system, saga_id)

    return _report(output, run_opened(output, application, work))


async def _get(system: System, saga_id: UUID) -> SagaRecord:
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.errors import NotFound
    from bulkhead.engine.messaging.saga_store import find_saga

    for home in system.sagas.homes:
        async with system.database(home).transaction(SERVICE, read_only=True) as tx:
            record = await find_saga(tx, saga_id)
        if record is not None:
            return record
    raise NotFound(what=f"Saga {saga_id}")


async def _claim(system: System, saga_id: UUID) -> SagaRecord | None:
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.messaging.saga_store import claim_saga

    record = await _get(system, saga_id)
    home = system.sagas.saga(record.name).home
    async with system.database(home).transaction(SERVICE) as tx:
        return await claim_saga(tx, saga_id, system.sagas.owner, force=True)


def _report(output: Output, record: SagaRecord) -> int:
    output.data(_row(record), text=f"Saga {record.id} is {record.state.replace('_', ' ')}.")
    return 0 if record.state in {"completed", "compensated"} else EXIT_CONFLICT


def _row(record: SagaRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "state": record.state.value,
        "attempts": record.attempts,
        "leased": record.leased and record.state in {"running", "compensating"},
        "created_at": record.created_at.isoformat(timespec="seconds"),
        "error": (record.error or {}).get("code"),
    }
