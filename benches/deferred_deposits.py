"""The task that procrastinate runs in outbox_against_procrastinate.py, and its worker."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import procrastinate
import psycopg_pool

TASKS_AT_ONCE = 10
INSERT = "insert into deposits (id, account, amount) values (%s, %s, %s) on conflict do nothing"


def declare(alpha: str, beta: Any = None, lines: Any = None) -> tuple[Any, Any]:  # noqa: ANN401
    """The app with its jobs in `alpha`, and the task that inserts through the pool `beta`."""
    connector = procrastinate.PsycopgConnector(conninfo=alpha, max_size=TASKS_AT_ONCE + 2)
    app = procrastinate.App(connector=connector)

    async def deposit(event_id: str, account: str, amount: int) -> None:
        async with beta.connection() as connection:
            await connection.execute(INSERT, (event_id, account, amount))
        lines.write(f"{event_id} {perf_counter()}\n")

    return app, app.task(name="deposit")(deposit)


async def work(alpha: str, beta: str, log: str) -> None:
    """Be the worker until told to stop, and write down what was deposited when."""
    pool = psycopg_pool.AsyncConnectionPool(
        beta, min_size=TASKS_AT_ONCE, max_size=TASKS_AT_ONCE, open=False
    )
    with Path(log).open("a", buffering=1) as lines:
        app, _ = declare(alpha, pool, lines)
        async with pool, app.open_async():
            await app.run_worker_async(concurrency=TASKS_AT_ONCE, delete_jobs="successful")
