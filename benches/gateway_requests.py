"""Requests per second of the gateway against hand-written, framework and peer servers.

The same questions to the same database in the same minute, in turn, each contestant a process of
its own with ten connections: `bare` is ASGI and asyncpg with SQL written by hand, `sqlalchemy` is
FastAPI with the ORM, `lite` is npm's @supabase/lite. All verify the same token and set role and
claims for the policies; their answers are compared before anything is measured. The aims are 60 %
of bare, three times sqlalchemy, five times lite.

    python benches/gateway_requests.py [--seconds 2] [--rounds 3] [--clients 1 16]
        [--against bare sqlalchemy lite] [--questions "one row by id"]
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import uvloop
from closed_loop import Run, drive
from gateway_contestants import Contestant, admit, contestants, verify_equal
from gateway_shop import QUESTIONS, Customer, Question, fill, open_orders
from shop import cpu_s

from bulkhead.engine.system import System

OURS = "gateway"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run and what it cost per request, in microseconds of processor time."""

    run: Run
    load_us: float
    server_us: float
    database_us: float


async def main(options: argparse.Namespace) -> None:
    """Start everybody, verify, measure, print."""
    async with open_orders() as system:
        customers = await fill(system)
        names = [*options.ours, *options.against]
        async with contestants(system, names) as started:
            if "lite" in names:
                await admit(system, customers)
            await verify_equal(started, customers)
            print(HEAD)
            for question in QUESTIONS:
                if not options.questions or question.name in options.questions:
                    for clients in options.clients:
                        await compare(system, started, question, customers, clients, options)


async def compare(
    system: System,
    started: list[Contestant],
    question: Question,
    customers: list[Customer],
    clients: int,
    options: argparse.Namespace,
) -> None:
    """Measure a question with a number of clients, in turn, and print a line for each server."""
    rounds: list[dict[str, Measured]] = []
    for number in range(options.rounds + 1):
        seconds = options.seconds if number else options.seconds / 2
        rounds.append(
            {
                who.name: await measure(system, who, question, customers, (clients, seconds))
                for who in started
            }
        )
    report(question, clients, rounds[1:])


async def measure(
    system: System,
    who: Contestant,
    question: Question,
    customers: list[Customer],
    amount: tuple[int, float],
) -> Measured:
    """One run: `amount` is clients and seconds."""
    clients, seconds = amount
    rendered = [
        question.render(who.base, dialect=who.dialect, customer=customer) for customer in customers
    ]
    random.Random(1).shuffle(rendered)  # noqa: S311
    asked = [_endless(rendered, number, clients) for number in range(clients)]
    before = cpu_s(system)[1], who.cpu_s
    run = await drive(who.port, asked, seconds)
    after = cpu_s(system)[1], who.cpu_s
    assert not run.failures, f"{who.name}, {question.name}: {run.failures} failures"
    scale = 1e6 / len(run.times_s)
    return Measured(
        run, run.cpu_s * scale, (after[1] - before[1]) * scale, (after[0] - before[0]) * scale
    )


def report(question: Question, clients: int, rounds: list[dict[str, Measured]]) -> None:
    """Print the medians of the rounds, and the median of the rounds' ratios."""
    for name in rounds[0]:
        each = [measured[name] for measured in rounds]
        line = f"{question.name:22}{clients:3d}  {name:12}"
        line += f"{statistics.median(one.run.per_s for one in each):8.0f}"
        for share in (0.5, 0.99):
            line += f"{statistics.median(one.run.quantile_ms(share) for one in each):8.2f}"
        for values in zip(*((o.load_us, o.server_us, o.database_us) for o in each), strict=True):
            line += f"{statistics.median(values):8.0f}"
        if OURS in rounds[0] and name != OURS:
            ratios = [measured[OURS].run.per_s / measured[name].run.per_s for measured in rounds]
            line += f"{statistics.median(ratios):9.2f}"
        print(line, flush=True)


def _endless(requests: list[bytes], number: int, clients: int) -> Iterator[bytes]:
    """All requests again and again; each client begins at another one."""
    first = number * len(requests) // clients
    return cycle(requests[first:] + requests[:first])


HEAD = f"""{"":39}{"":8}{"":16}{"CPU us per request":>24}
{"question":22}{"cl.":>3}  {"server":12}{"per s":>8}{"p50 ms":>8}{"p99 ms":>8}\
{"load":>8}{"server":>8}{"PG":>8}{"ours is":>9}"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--ours", nargs="*", default=[OURS])
    parser.add_argument("--against", nargs="*", default=["bare", "sqlalchemy", "lite"])
    parser.add_argument("--questions", nargs="*")
    uvloop.run(main(parser.parse_args()))
