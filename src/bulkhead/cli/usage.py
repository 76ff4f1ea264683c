"""`bulkhead usage`: what stores use of their plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output
from bulkhead.cli.provision import APPLICATION, find_store, platform_of
from bulkhead.cli.session import run_opened

if TYPE_CHECKING:
    from bulkhead.engine.system import System


@click.group()
def usage() -> None:
    """What stores use of their plans; STORE is an id or a slug."""


@usage.command("show")
@click.argument("store")
@click.pass_obj
def show(output: Output, *, store: str) -> None:
    """Show how much of its plan a store uses now."""
    from bulkhead.apps.store_platform.master.metering.service import measure_usage
    from bulkhead.engine.connections.claims import SERVICE

    async def work(system: System) -> list[dict[str, Any]]:
        key = await find_store(system, store)
        async with system.database("master").transaction(SERVICE, read_only=True) as db:
            measured = await measure_usage(db, key)
        return [{"metric": metric, **figures} for metric, figures in measured.items()]

    output.rows(("metric", "used", "limit"), run_opened(output, APPLICATION, work))


@usage.command("days")
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

    columns = ("metric_date", "api_calls", "api_errors", "products_created", "products_deleted",
               "total_products", "orders_created", "orders_total_value")  # fmt: skip
    output.rows(columns, run_opened(output, APPLICATION, work))


@usage.command("rollup")
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
    output.data({"rolled_up": done}, text="Done." if done else "Somebody else has just done it.")


@usage.command("check")
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
