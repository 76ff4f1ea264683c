"""`bulkhead event`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from bulkhead.cli.output import Output
from bulkhead.cli.session import application_option, run_opened
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.engine.system import System

database_option = click.option("-d", "--database", help="Only the outbox of this database.")
PAGE = 50


@click.group(cls=Noun)
def event() -> None:
    """Look at events and their deliveries, resend dead ones."""


@event.command("list", examples=["bulkhead event list --type commerce.order_confirmed --limit 20"])
@application_option
@database_option
@click.option("--type", "kind", help="Only events of this type.")
@click.option("--limit", type=click.IntRange(1, 1000), default=PAGE, show_default=True)
@click.pass_obj
def list_published(
    output: Output, *, application: str, database: str | None, kind: str | None, limit: int
) -> None:
    """List what was published, newest first."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.messaging.event_log import list_events

    async def work(system: System) -> list[dict[str, Any]]:
        found = []
        for each in system.router:
            if database in (None, each.name):
                async with each.transaction(SERVICE, read_only=True) as tx:
                    found += await list_events(tx, kind=kind, limit=limit)
        found.sort(key=lambda envelope: envelope.id, reverse=True)
        return [
            {
                "id": envelope.id,
                "database": envelope.source,
                "type": envelope.type,
                "key": envelope.key,
                "occurred_at": envelope.occurred_at.isoformat(timespec="seconds"),
            }
            for envelope in found[:limit]
        ]

    columns = ("id", "database", "type", "key", "occurred_at")
    output.rows(columns, run_opened(output, application, work))


@event.command("show", examples=["bulkhead event show 01890a5d-ac96-774b-bcce-b302099a8057"])
@application_option
@click.argument("event_id", type=click.UUID)
@click.pass_obj
def show_event(output: Output, *, application: str, event_id: UUID) -> None:
    """Tell the life of one event: outbox, deliveries, and the inboxes that have it."""
    import json

    from bulkhead.engine.messaging.event_log import EventUnknown, get_event

    async def work(system: System) -> dict[str, Any]:
        for name in system.router.databases:
            try:
                story = await get_event(system.router, name, event_id)
            except EventUnknown:
                continue
            return {
                "id": story.envelope.id,
                "database": story.envelope.source,
                "type": story.envelope.type,
                "key": story.envelope.key,
                "occurred_at": story.envelope.occurred_at,
                "payload": json.loads(story.envelope.payload),
                "received": [
                    {"handler": r.handler, "database": r.database, "at": r.received_at}
                    for r in story.receipts
                ],
                "pending": [
                    {
                        "handler": p.handler,
                        "attempts": p.attempts,
                        "dead_at": p.dead_at,
                        "error": p.error,
                    }
                    for p in story.pending
                ],
            }
        raise EventUnknown(database=f"{application}.*", event_id=event_id)

    found = run_opened(output, application, work)
    output.data(found, text=json.dumps(found, indent=2, default=str))


@event.command(
    "resend",
    examples=[
        (
            "bulkhead event resend 01890a5d-ac96-774b-bcce-b302099a8057 -d orders "
            "--handler products.sell"
        )
    ],
)
@application_option
@click.option("-d", "--database", required=True, help="The outbox it is in.")
@click.option("--handler", required=True, help="The handler that shall get it again.")
@click.argument("event_id", type=click.UUID)
@click.pass_obj
def resend_event(
    output: Output, *, application: str, database: str, handler: str, event_id: UUID
) -> None:
    """Have a delivery tried again at once, with all its attempts."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.messaging.dead_letter import resend

    async def work(system: System) -> None:
        async with system.database(database).transaction(SERVICE) as tx:
            await resend(tx, event_id, handler)

    run_opened(output, application, work)
    output.data(
        {"resent": event_id, "handler": handler}, text=f"{event_id} goes to {handler} again."
    )


@event.group("dead")
def dead() -> None:
    """Dead letters: deliveries that were given up on."""


@dead.command("list", examples=["bulkhead event dead list"])
@application_option
@database_option
@click.pass_obj
def list_dead(output: Output, *, application: str, database: str | None) -> None:
    """List dead letters, oldest first; each holds back its own key and no other."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.messaging.dead_letter import list_dead_letters

    async def work(system: System) -> list[dict[str, Any]]:
        rows = []
        for each in system.router:
            if database in (None, each.name):
                async with each.transaction(SERVICE, read_only=True) as tx:
                    rows += [
                        {
                            "event_id": letter.envelope.id,
                            "database": each.name,
                            "type": letter.envelope.type,
                            "key": letter.envelope.key,
                            "handler": letter.handler,
                            "attempts": letter.attempts,
                            "error": letter.error,
                        }
                        for letter in await list_dead_letters(tx)
                    ]
        return rows

    columns = ("event_id", "database", "type", "key", "handler", "attempts", "error")
    output.rows(columns, run_opened(output, application, work))


@dead.command(
    "discard",
    examples=[
        (
            "bulkhead event dead discard 01890a5d-ac96-774b-bcce-b302099a8057 -d orders "
            '--handler products.sell --reason "sold by hand"'
        )
    ],
)
@application_option
@click.option("-d", "--database", required=True, help="The outbox it is in.")
@click.option("--handler", required=True, help="The handler that shall never get it.")
@click.option("--reason", required=True, help="Recorded with it.")
@click.argument("event_id", type=click.UUID)
@click.pass_obj
def discard_dead(
    output: Output, *, application: str, database: str, handler: str, reason: str, event_id: UUID
) -> None:
    """Never deliver a dead letter, and record why; what waits behind it goes on."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.messaging.dead_letter import discard

    async def work(system: System) -> None:
        async with system.database(database).transaction(SERVICE) as tx:
            await discard(tx, event_id, handler, reason)

    run_opened(output, application, work)
    output.data({"discarded": event_id, "handler": handler}, text=f"{event_id} is discarded.")
