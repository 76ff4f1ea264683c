"""The transfer of saga_against_dbos.py as workflows of DBOS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, AsyncSQLAlchemyDatasource, SetWorkflowID, SQLAlchemyDatasource
from pair import TABLES

from bulkhead.engine.ids import new_id

AMOUNT = 5
POOL = {"pool_size": 16, "max_overflow": 0}
READ_COMMITTED: Any = "READ COMMITTED"

Datasource = Any  # Theirs and our type checker's idea of it depend on what is installed.


@asynccontextmanager
async def open_workflows(
    urls: Mapping[str, str], registry: str, threads: int
) -> AsyncIterator[dict[str, Callable[[], Awaitable[None]]]]:
    """Start DBOS with its system database at `registry`; how to run one transfer, by kind."""
    DBOS(
        config={
            "name": "bench",
            "application_version": "1",
            "system_database_url": registry,
            "log_level": "WARNING",
        }
    )
    looped = _declare_looped([await _looped_step(name, url) for name, url in urls.items()])
    threaded = _declare_threaded([_threaded_step(name, url) for name, url in urls.items()])
    with ThreadPoolExecutor(threads) as executor:

        async def run_looped() -> None:
            with SetWorkflowID(str(new_id())):
                assert await looped() == AMOUNT

        def run_in_thread() -> None:
            with SetWorkflowID(str(new_id())):
                assert threaded() == AMOUNT

        async def run_threaded() -> None:
            await asyncio.get_running_loop().run_in_executor(executor, run_in_thread)

        DBOS.launch()
        try:
            yield {"dbos, event loop": run_looped, "dbos, threads": run_threaded}
        finally:
            DBOS.destroy()


def _declare_looped(steps: list[Any]) -> Any:  # noqa: ANN401
    async def transfer() -> int:
        for step in steps:
            await step({"id": DBOS.workflow_id, "account": "someone", "amount": AMOUNT})
        return AMOUNT

    return DBOS.workflow(name="looped")(transfer)


def _declare_threaded(steps: list[Any]) -> Any:  # noqa: ANN401
    def transfer() -> int:
        for step in steps:
            step({"id": DBOS.workflow_id, "account": "someone", "amount": AMOUNT})
        return AMOUNT

    return DBOS.workflow(name="threaded")(transfer)


async def _looped_step(database: str, url: str) -> Any:  # noqa: ANN401
    source: Datasource = await AsyncSQLAlchemyDatasource.create(url, engine_kwargs=POOL)
    statement = _statement(database)

    async def insert(row: dict[str, object]) -> None:
        await source.sql_session().execute(statement, row)

    return source.transaction(insert, name=f"insert_{database}", isolation_level=READ_COMMITTED)


def _threaded_step(database: str, url: str) -> Any:  # noqa: ANN401
    source: Datasource = SQLAlchemyDatasource.create(url, engine_kwargs=POOL)
    statement = _statement(database)

    def insert(row: dict[str, object]) -> None:
        source.sql_session().execute(statement, row)

    return source.transaction(insert, name=f"insert_{database}", isolation_level=READ_COMMITTED)


def _statement(database: str) -> Any:  # noqa: ANN401
    return sa.text(
        f"insert into {TABLES[database]} (id, account, amount) values (:id, :account, :amount)"
    )
