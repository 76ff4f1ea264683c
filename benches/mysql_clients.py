"""Client libraries for MySQL, side by side: which one the driver is built on, and what it adds.

On a MariaDB of its own, over the loopback, each library on one connection, in turn: one row by its
key, a thousand rows, and one inserted row that commits. Ours is the driver's connection on asyncmy,
with bound values, time-outs, size limits and rows as mappings. Every library returns the same
values. PyMySQL works in a thread, since it has no other way beside an event loop.

    PYTHONPATH=tools python benches/mysql_clients.py [--rounds 15] [--number 200]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import aiomysql
import asyncmy
import pymysql
import uvloop
from mariadb_server import ABSENT, MariadbServer, find_mariadbd, run_mariadb
from shop import median

from bulkhead.engine.drivers.endpoint import Session, Tls
from bulkhead.engine.drivers.mysql_connection import MysqlConnection, open_connection
from bulkhead.engine.drivers.mysql_wire import Target

TIMEOUT_S = 30.0
ROWS = 5000
CREATE = """
create table things (
  id integer auto_increment primary key,
  name varchar(100) not null,
  price decimal(12, 2) not null,
  created_at datetime(6) not null default current_timestamp(6)
) engine = innodb
"""
READ = "select id, name, price, created_at from things where id = %s"
LIST = "select id, name, price, created_at from things where id >= %s order by id limit 1000"
INSERT = "insert into things (name, price) values ('inserted', %s)"
WORKS = {"one row": (READ, 1), "1,000 rows": (LIST, 25), "insert": (INSERT, 1)}
"""Statement, and by how much fewer times it is run."""
OURS = "ours (on asyncmy)"

Run = Callable[[str, Sequence[object]], Awaitable[Any]]


async def main(rounds: int, number: int) -> None:
    """Measure everything in turn and print medians."""
    if find_mariadbd() is None:
        print(ABSENT)
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        with run_mariadb(Path(folder) / "mariadb") as server:
            async with contestants(server) as runs:
                await compare(runs, rounds, number)


@asynccontextmanager
async def contestants(server: MariadbServer) -> AsyncIterator[Mapping[str, Run]]:
    """A connection of each library to the same database."""
    ours = await connect(server, "")
    for statement in ("create database bench", "use bench", CREATE):
        await ours.execute(statement, (), timeout_s=TIMEOUT_S)
    rows = [(number,) for number in range(ROWS)]
    await ours.execute_many(INSERT, rows, timeout_s=TIMEOUT_S)
    place: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "root",
        "password": server.password,
        "db": "bench",
        "autocommit": True,
    }
    pasted = await asyncmy.connect(**place)
    prepared = await asyncmy.connect(**place, stmt_cache_size=64)
    asynchronous = await aiomysql.connect(**place)
    threaded = await asyncio.to_thread(pymysql.connect, **place)
    yield {
        OURS: run_ours(ours),
        "asyncmy, prepared": run_cursor(prepared),
        "asyncmy, text": run_cursor(pasted),
        "aiomysql": run_cursor(asynchronous),
        "PyMySQL in threads": run_thread(threaded),
    }
    for connection in (pasted, prepared, asynchronous, threaded):
        connection.close()
    await ours.close()


async def connect(server: MariadbServer, database: str) -> MysqlConnection:
    """The driver's connection."""
    target = Target("127.0.0.1", server.port, Tls.DISABLE, is_local=True)
    session = Session("root", server.password, database)
    return await open_connection(target, session, timeout_s=TIMEOUT_S)


def run_ours(connection: MysqlConnection) -> Run:
    """Through the driver."""

    async def run(sql: str, args: Sequence[object]) -> Any:  # noqa: ANN401
        if sql is INSERT:
            return await connection.execute(sql, args, timeout_s=TIMEOUT_S)
        return await connection.fetch(sql, args, timeout_s=TIMEOUT_S)

    return run


def run_cursor(connection: Any) -> Run:  # noqa: ANN401
    """Through a cursor that is awaited."""

    async def run(sql: str, args: Sequence[object]) -> Any:  # noqa: ANN401
        async with connection.cursor() as cursor:
            await cursor.execute(sql, args)
            return await cursor.fetchall()

    return run


def run_thread(connection: Any) -> Run:  # noqa: ANN401
    """Through a cursor in a thread."""

    def work(sql: str, args: Sequence[object]) -> Any:  # noqa: ANN401
        with connection.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall()

    async def run(sql: str, args: Sequence[object]) -> Any:  # noqa: ANN401
        return await asyncio.to_thread(work, sql, args)

    return run


async def compare(runs: Mapping[str, Run], rounds: int, number: int) -> None:
    """Run each work in each library, turn by turn, and print what one run takes."""
    for what, (sql, fewer) in WORKS.items():
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for turn in range(rounds + 1):
            for name, run in runs.items():
                measured = await measure(run, sql, max(number // fewer, 4))
                if turn:
                    figures[name].append(measured)
        report(what, figures)


async def measure(run: Run, sql: str, number: int) -> tuple[float, float]:
    """Microseconds of one run: on the clock, and of this process."""
    started, started_cpu = perf_counter(), process_time()
    for turn in range(number):
        await run(sql, (turn + 1,))
    scale = 1e6 / number
    return (perf_counter() - started) * scale, (process_time() - started_cpu) * scale


def report(what: str, figures: Mapping[str, list[tuple[float, float]]]) -> None:
    """Print medians, and how many times what ours takes the others take."""
    print(f"\n{what:22}{'time us':>10}{'client CPU us':>16}{'time':>8}{'CPU':>8}")
    ours = [median([each[column] for each in figures[OURS]]) for column in range(2)]
    for name, each in figures.items():
        time_us, cpu_us = (median([one[column] for one in each]) for column in range(2))
        ratios = f"{time_us / ours[0]:8.2f}{cpu_us / ours[1]:8.2f}"
        print(f"{name:22}{time_us:10.0f}{cpu_us:16.0f}{ratios}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--number", type=int, default=200)
    options = parser.parse_args()
    uvloop.run(main(options.rounds, options.number))
