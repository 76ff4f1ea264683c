"""`bulkhead tenant move`, `confirm` and `revert`: stores go from one server to another."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from bulkhead.cli.connection import label_option
from bulkhead.cli.output import Output
from bulkhead.cli.progress import LiveBar
from bulkhead.cli.stores import on_store
from bulkhead.cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.engine.fleet.model import TenantId
    from bulkhead.engine.fleet.move_store import Move

POLL_S = 0.2
VERIFIED = "verified"
STEPS = {
    "started": (5, "Copying the schema"),
    "schema": (20, "Beginning to follow"),
    "copying": (40, "Copying and following rows"),
    "fenced": (80, "Bringing the last changes"),
    "flipped": (90, "Comparing the rows"),
    VERIFIED: (100, "Moved"),
}
"""How far a move is at each of its steps, in percent, and what is done there."""
BACK = {"reverting": (70, "Dropping the new database")}
BACK_FIRST = (10, "Taking it back, with what was written since")


@click.command(
    "move",
    cls=Verb,
    examples=[
        "bulkhead tenant move my-shop --server east",
        "bulkhead tenant move my-shop --label region=eu",
    ],
)
@click.argument("store")
@click.option("--server", help="Where to.  [the emptiest one that fits]")
@label_option
@click.pass_obj
def move(output: Output, *, store: str, server: str | None, labels: Mapping[str, str]) -> None:
    """Move a store to another PostgreSQL server while it is served.

    It can be taken back with `revert` until `confirm` drops the old database. A move that was
    interrupted goes on when this is repeated.
    """

    async def work(platform: Platform, key: TenantId) -> Move:
        from bulkhead.engine.errors import BulkheadError, Conflict

        begun = await platform.mover.start(key, server=server, labels=labels)
        if server not in (None, begun.target):
            way = "confirm" if begun.step.value == VERIFIED else "end"
            reason = f"'{store}' is on its way to '{begun.target}': {way} or revert that first"
            raise Conflict(reason=reason)
        try:
            with LiveBar(output) as bar:
                async with _shown(platform, key, bar, STEPS):
                    ended = await platform.mover.run(key)
        except BaseException as error:
            output.note("The store is still served.")
            # Where the servers do not fit, or rows differ, the move has been taken back.
            if not isinstance(error, BulkheadError) or await _is_open(platform, key):
                note_next(output, store, "started")
            raise
        if ended.step.value == "reverted":
            raise Conflict(reason=f"a move of '{store}' was being taken back; it is by now, repeat")
        return ended

    found = on_store(output, store, work)
    output.data(
        {
            "step": found.step,
            "source": found.source,
            "target": found.target,
            "fence_ms": found.fence_ms,
            "rows": sum(table["rows"] for table in (found.report or {}).values()),
        },
        text=f"Store '{store}' moved from {found.source} to {found.target}; nobody could write"
        f" for {found.fence_ms or 0:.0f} ms.",
    )
    note_next(output, store, VERIFIED)


def note_next(output: Output, store: str, step: str) -> None:
    """Say how a move that has come to `step` ends, either way."""
    if step in BACK:
        output.note(f"Go on taking it back:  bulkhead tenant revert {store}")
        return
    if step == VERIFIED:
        output.note(f"Drop the old database: bulkhead tenant confirm {store}")
    else:
        output.note(f"Go on with the move:   bulkhead tenant move {store}")
    output.note(f"Or take it back:       bulkhead tenant revert {store}")


@click.command("confirm", cls=Verb, examples=["bulkhead tenant confirm my-shop"])
@click.argument("store")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def confirm(output: Output, *, store: str, yes: bool) -> None:
    """Drop the old database of a store that was moved."""

    async def look(platform: Platform, key: TenantId) -> Move:
        return await platform.mover.get(key)

    async def work(platform: Platform, key: TenantId) -> None:
        await platform.mover.confirm(key)

    if not yes:
        found = on_store(output, store, look)
        # Before that it is not on the other server yet, and what follows says so.
        if found.step.value == VERIFIED:
            there = f"It is on {found.target} now."
            question = f"Drop the database of '{store}' on {found.source}? {there}"
            click.confirm(question, abort=True, err=True)
    on_store(output, store, work)
    output.data({"step": "confirmed"}, text=f"The old database of '{store}' is dropped.")


@click.command("revert", cls=Verb, examples=["bulkhead tenant revert my-shop"])
@click.argument("store")
@click.pass_obj
def revert(output: Output, *, store: str) -> None:
    """Take a move back; nothing that was written meanwhile is lost."""

    async def work(platform: Platform, key: TenantId) -> str:
        found = await platform.mover.get(key)
        with LiveBar(output) as bar:
            async with _shown(platform, key, bar, BACK):
                await platform.mover.revert(key)
        return found.source

    source = on_store(output, store, work)
    output.data(
        {"step": "reverted", "server": source}, text=f"Store '{store}' is back on {source}."
    )


async def _is_open(platform: Platform, key: TenantId) -> bool:
    from bulkhead.engine.fleet.move_store import MoveUnknown

    try:
        await platform.mover.get(key)
    except MoveUnknown:
        return False
    return True


@asynccontextmanager
async def _shown(
    platform: Platform, key: TenantId, bar: LiveBar, steps: Mapping[str, tuple[int, str]]
) -> AsyncIterator[None]:
    """Show inside the block how far the move of a tenant has come."""
    task = asyncio.create_task(_show(platform, key, bar, steps))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _show(
    platform: Platform, key: TenantId, bar: LiveBar, steps: Mapping[str, tuple[int, str]]
) -> None:
    while True:
        found = await platform.mover.get(key)
        bar.tell(*steps.get(found.step.value, BACK_FIRST))
        await asyncio.sleep(POLL_S)
