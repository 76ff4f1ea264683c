"""The commerce application on an embedded server of its own, for benchmarks; durable as in life."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from uuid import UUID

import psutil

from bulkhead.apps import load_application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system

STOCK = 100_000_000


@asynccontextmanager
async def open_shop(**settings: Any) -> AsyncIterator[System]:  # noqa: ANN401
    """Start a server in a temporary folder and open the application; no workers run."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        chosen = Settings(home=Path(folder), **settings)
        async with open_system(load_application("commerce"), chosen) as system:
            yield system


async def fill_catalogue(system: System, products: int = 500) -> list[str]:
    """Products with one variant each and more stock than can be sold; return the variants."""
    ids = [(new_id(), new_id()) for _ in range(products)]
    async with system.database("products").transaction(SERVICE) as tx:
        await tx.executemany(
            "insert into products (id, slug, title, state, published_at)"
            " values ($1, $2, $3, 'published', now())",
            [(product, f"p-{product.hex}", f"Product {n}") for n, (product, _) in enumerate(ids)],
        )
        await tx.executemany(
            "insert into product_variants (id, product_id, sku, price, currency)"
            " values ($1, $2, $3, 9.99, 'GBP')",
            [(variant, product, variant.hex) for product, variant in ids],
        )
        receipts = [
            {
                "movement_id": str(new_id()),
                "variant_id": str(variant),
                "delta": STOCK,
                "reason": "receipt",
            }
            for _, variant in ids
        ]
        await tx.fetch("select applied from private.adjust_stock($1::jsonb)", json.dumps(receipts))
    return [str(variant) for _, variant in ids]


def make_draft(order_id: UUID, variants: list[str]) -> dict[str, Any]:
    """An order of two lines, as the checkout hands it to the saga."""
    lines = [
        {
            "variant_id": variant,
            "product_id": variant,
            "sku": variant[:8],
            "title": "Product",
            "unit_price": "9.99",
            "quantity": 1,
        }
        for variant in random.sample(variants, 2)
    ]
    return {
        "id": str(order_id),
        "user_id": str(order_id),
        "currency": "GBP",
        "items_total": "19.98",
        "total": "19.98",
        "shipping_address": {"name": "A", "country": "GB"},
        "shipping_method": "pickup",
        "deadline_s": 600,
        "provider": "local",
        "items": lines,
    }


async def measure_rate(
    clients: int, seconds: float, work: Callable[[], Awaitable[object]]
) -> tuple[float, list[float]]:
    """How often `work` was done per second by `clients` at once, and how long each took."""
    times: list[float] = []
    until = perf_counter() + seconds

    async def drive() -> None:
        while (before := perf_counter()) < until:
            await work()
            times.append(perf_counter() - before)

    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(drive())
    return len(times) / (perf_counter() - started), times


def cpu_s(system: System) -> tuple[float, float]:
    """Processor seconds so far: of this process, and of the embedded server.

    The server's are those of all its sessions, of ended ones to the tick of its clock.
    """
    pids = {
        driver.postmaster_pid
        for placement in system.router.placements
        if isinstance(driver := placement.driver, EmbeddedDriver)
    }
    seconds = 0.0
    for pid in pids - {None}:
        postmaster = psutil.Process(pid)
        ended = postmaster.cpu_times()
        seconds += ended.children_user + ended.children_system
        for process in (postmaster, *postmaster.children()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, psutil.Error):
                seconds += _run_s(process.pid)
    return process_time(), seconds


def quantile_ms(times: list[float], share: float) -> float:
    """The time below which `share` of the runs stayed."""
    return sorted(times)[min(int(share * len(times)), len(times) - 1)] * 1000


def median(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


def _run_s(pid: int) -> float:
    """To the nanosecond where the kernel counts them (Linux), else to its clock's tick."""
    schedule = Path(f"/proc/{pid}/schedstat")
    if schedule.exists():
        return int(schedule.read_text().split()[0]) / 1e9
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
