"""`bulkhead tenant suspend`, `resume`, `delete` and `restore`: who is served, and who is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_PENDING, Output
from bulkhead.cli.stores import on_store, show_tenant
from bulkhead.cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.engine.fleet.model import TenantId, TenantRow


@click.command("suspend", cls=Verb, examples=["bulkhead tenant suspend my-shop --reason unpaid"])
@click.argument("store")
@click.option("--reason", default="by an operator", show_default=True)
@click.pass_obj
def suspend(output: Output, *, store: str, reason: str) -> int:
    """Serve a store no more; nothing of it is lost."""

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        return await _changed(platform, key, platform.lifecycle.suspend(key, reason))

    return _tell(output, store, on_store(output, store, work))


@click.command("resume", cls=Verb, examples=["bulkhead tenant resume my-shop"])
@click.argument("store")
@click.pass_obj
def resume(output: Output, *, store: str) -> int:
    """Serve a suspended store again."""

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        return await _changed(platform, key, platform.lifecycle.resume(key))

    return _tell(output, store, on_store(output, store, work))


@click.command(
    "delete",
    cls=Verb,
    short_help="Close a store; drop it after a time of grace.",
    examples=["bulkhead tenant delete my-shop --grace-days 7"],
)
@click.argument("store")
@click.option("--grace-days", type=click.IntRange(0, 365), default=30, show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(output: Output, *, store: str, grace_days: int, yes: bool) -> int:
    """Close a store; its database is archived and dropped after a time of grace."""
    if not yes:
        click.confirm(f"Delete the store '{store}' and its database?", abort=True, err=True)

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        from bulkhead.apps.store_platform.master.stores.service import begin_deletion
        from bulkhead.engine.connections.claims import SERVICE

        row = await platform.fleet.describe(key)
        deleting = platform.lifecycle.delete(
            key, reason="by an operator", grace_s=grace_days * 86400.0
        )
        untold = await _untold(deleting)
        found = await platform.lifecycle.get_deletion(key)
        async with platform.master.transaction(SERVICE) as tx:
            await begin_deletion(tx, key, actor=None)
        return {
            "tenant": found.tenant,
            "purge_at": found.purge_at.isoformat(timespec="seconds"),
            "drops_database": row.place.sealed_connection is None,
            "server_untold": untold,
        }

    found = on_store(output, store, work)
    output.data(
        found,
        text=f"Store '{store}' is closed. On {found['purge_at'][:10]} "
        + (
            "its database is archived and dropped."
            if found["drops_database"]
            else "its connection is forgotten; its database is its owner's."
        ),
    )
    output.note(f"Take it back until then: bulkhead tenant restore {store}")
    return _tell_untold(output, found)


@click.command("restore", cls=Verb, examples=["bulkhead tenant restore my-shop"])
@click.argument("store")
@click.pass_obj
def restore(output: Output, *, store: str) -> int:
    """Take a deletion back whose time of grace is not over."""

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        from bulkhead.apps.store_platform.master.stores.service import (
            take_back_deletion,
            verify_deleted,
        )
        from bulkhead.engine.connections.claims import SERVICE

        async with platform.master.transaction(SERVICE, read_only=True) as db:
            await verify_deleted(db, key)
        found = await _changed(platform, key, platform.lifecycle.restore(key))
        async with platform.master.transaction(SERVICE) as tx:
            await take_back_deletion(tx, key, actor=None)
        return found

    return _tell(output, store, on_store(output, store, work))


async def _changed(
    platform: Platform, key: TenantId, change: Awaitable[TenantRow]
) -> dict[str, Any]:
    """The store as it is after `change`, and why its server does not know yet."""
    untold = await _untold(change)
    platform.fleet.invalidate(key)
    return {**show_tenant(await platform.fleet.describe(key)), "server_untold": untold}


async def _untold(change: Awaitable[object]) -> str | None:
    """Why the server could not be told of a change that is done; None when it was."""
    from bulkhead.engine.fleet.notices import ServerUntold

    try:
        await change
    except ServerUntold as error:
        return str(error.details["reason"])
    return None


def _tell(output: Output, store: str, found: dict[str, Any]) -> int:
    output.data(found, text=f"Store '{store}' is {found['state']}.")
    return _tell_untold(output, found)


def _tell_untold(output: Output, found: dict[str, Any]) -> int:
    """Say what is left to be done, and by whom; the exit code."""
    if found["server_untold"] is None:
        return 0
    output.note(f"Its server could not be told: {found['server_untold']}")
    output.note("Nothing is left to do: bulkhead up tells it as soon as it answers.")
    return EXIT_PENDING
