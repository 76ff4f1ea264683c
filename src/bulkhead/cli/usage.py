"""`bulkhead usage`: what stores use of their plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output, size_of
from bulkhead.cli.session import run_opened
from bulkhead.cli.stores import APPLICATION, find_store, platform_of
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.engine.system import System


DAY_COLUMNS = {
    "metric_date": "day",
    "api_calls": "calls",
    "api_errors": "errors",
    "products_created": "added",
    "products_deleted": "deleted",
    "total_products": "products",
    "orders_created": "orders",
    "orders_total_value": "value",
    "storage_total_bytes": "stored",
}
"""Figures of a day, and what they are called where there is little room."""


@click.group(cls=Noun)
def usage() -> None:
    """What stores use of their plans; STORE is an id or a slug."""


@usage.command("show", examples=["bulkhead usage show my-shop"])
@click.argument("store")
@click.pass_obj
def show(output: Output, *, store: str) -> None:
    """Show how much of its plan a store uses now."""
    from bulkhead.apps.store_platform.master.metering.service import measure_usage
    from bulkhead.apps.store_platform.master.stores.service import get_store, measure_stores
    from bulkhead.engine.connections.claims import SERVICE

    async def work(system: System) -> list[dict[str, Any]]:
        key = await find_store(system, store)
        async with system.database("master").transaction(SERVICE, read_only=True) as db:
            measured = await measure_usage(db, key)
            owned = await measure_stores(db, (await get_store(db, key))["owner_id"])
        rows = [*measured.items(), ("stores_of_owner", owned)]
        return [{"metric": metric, **figures} for metric, figures in rows]

    rows = run_opened(output, APPLICATION, work)
    if not output.as_json:
        rows = [_readable(row) for row in rows]
    output.rows(("metric", "used", "limit"), rows)


@usage.command("days", examples=["bulkhead usage days my-shop --days 7"])
@click.argument("store")
@click.option("--days", type=click.IntRange(1, 400), default=30, show_default=True)
@click.pass_obj
def show_days(output: Output, *, store: str, days: int) -> None:
    """Show what a store used on each of the last days."""
    from bulkhead.apps.store_platform.master.metering.service import list_usage
    from bulkhead.engine.connections.claims import SERVICE

    async def work(system: System) -> list[dict[str, Any]]:
        key = await find_store(system, store)
        async with system.database("master").transaction(SERVICE, read_only=True) as db:
            return await list_usage(db, key, days)

    rows = run_opened(output, APPLICATION, work)
    if output.as_json:
        output.rows(tuple(DAY_COLUMNS), rows)
        return
    for row in rows:
        row["storage_total_bytes"] = _size(row["storage_total_bytes"])
    shown = [{name: row[column] for column, name in DAY_COLUMNS.items()} for row in rows]
    output.rows(tuple(DAY_COLUMNS.values()), shown)


@usage.command("rollup", examples=["bulkhead usage rollup my-shop"])
@click.argument("store")
@click.pass_obj
def roll_up(output: Output, *, store: str) -> None:
    """Write the figures of a store anew whose orders have changed."""
    from bulkhead.apps.store_platform.views import Stores

    async def work(system: System) -> bool:
        key = await find_store(system, store)
        platform = platform_of(system)
        try:
            return await Stores(platform.master, platform.fleet).roll_up(key)
        finally:
            await platform.close()

    done = run_opened(output, APPLICATION, work)
    output.data({"rolled_up": done}, text=f"The figures of '{store}' are up to date.")


@usage.command("check", examples=["bulkhead usage check --days 30"])
@click.option("--days", type=click.IntRange(1, 400), default=7, show_default=True)
@click.pass_obj
def check(output: Output, *, days: int) -> int:
    """Compare days with the calls they count, and the audit log with itself; 7 for a finding."""
    from bulkhead.apps.store_platform.invariants import platform_invariants
    from bulkhead.engine.monitoring.invariant import run_invariants

    async def work(system: System) -> list[dict[str, Any]]:
        report = await run_invariants(system.router, platform_invariants(days))
        return [
            {"subject": found.subject, "detail": found.detail}
            for result in report.results
            for found in result.violations
        ]

    rows = run_opened(output, APPLICATION, work)
    if not rows:
        output.note("No findings.")
        return 0
    output.rows(("subject", "detail"), rows)
    return EXIT_FINDINGS


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Figures as people read them: no limit is a hyphen, bytes have units."""
    name = row["metric"]
    if name != "storage_bytes":
        figures = {key: None if row[key] is None else f"{row[key]:,}" for key in ("used", "limit")}
        return {"metric": name.replace("_", " "), **figures}
    return {"metric": "storage", "used": _size(row["used"]), "limit": _size(row["limit"])}


def _size(count: int | None) -> str | None:
    return None if count is None else size_of(count)
