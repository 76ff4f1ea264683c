"""What the layers above the SQL cost a reader: listing and searching products over HTTP.

The same statement is run twice in the same minute by the same number of clients: through the HTTP
API, and by asyncpg alone, on connections that hold the role of a visitor, so that the policies of
the tables apply to both. Server, databases and load share this machine's processors.

    python benches/listing.py [--seconds 5] [--rounds 3] [--products 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import uvloop
from checkout_http import start_server
from http_load import Result, load, median, request_bytes

from bulkhead.apps import load_application
from bulkhead.apps.commerce.products.catalogue.model import parse_listing
from bulkhead.apps.commerce.products.catalogue.service import list_products
from bulkhead.apps.commerce.products.search.model import parse_search
from bulkhead.apps.commerce.products.search.service import search_products
from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system
from bulkhead.web.serving import find_port

PAGE = 500
CLIENTS = (1, 8)
TARGET = 0.40
SHELVES = 20
STYLES = ("red", "white", "vintage", "spotted", "wooden", "glass", "zinc", "paisley", "woollen")
THINGS = ("lantern", "mug", "towel", "frame", "candle", "bunting", "stand", "clock", "cushion")
PLACES = ("kitchen", "garden", "hall", "nursery", "harbour", "attic", "studio", "cabin")
SEARCHES = [f"{style} {thing}" for style in STYLES for thing in THINGS]

Read = Callable[[Transaction], Awaitable[str]]


@dataclass(frozen=True)
class Case:
    """The same questions over HTTP and to the database."""

    name: str
    paths: list[str]
    reads: list[Read]


class Bare:
    """As much of a transaction as the statements need: one round trip for each."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401
        """Use a connection that has its role."""
        self.fetchval = connection.fetchval


async def main(seconds: float, rounds: int, products: int) -> None:
    """Start the server as its own process, fill the shop, and run every case in turn."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkhead-bench-"))
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder), port=find_port("127.0.0.1", 0))
        server = await start_server(settings)
        stack.push_async_callback(asyncio.to_thread, server.wait)
        stack.callback(server.terminate)
        system = await stack.enter_async_context(
            open_system(load_application("commerce"), settings, provision=False)
        )
        await fill(system, products)
        print(f"{products} products with two variants each; requests per second, best of {rounds}")
        print(f"{'':26}{'clients':>8}{'SQL alone':>12}{'over HTTP':>12}{'share':>8}")
        for case in CASES:
            for clients in CLIENTS:
                await compare(system, case, clients, seconds, rounds)


async def compare(system: System, case: Case, clients: int, seconds: float, rounds: int) -> None:
    """Print one line: the best round of each side, taken in turn, and the median share."""
    alone, http = [], []
    for _ in range(rounds):
        alone.append(await load_sql(system, case.reads, clients, seconds))
        http.append(await load_http(system.settings.port, case.paths, clients, seconds))
    shares = [over.per_s / base for over, base in zip(http, alone, strict=True)]
    best = max(http, key=lambda result: result.per_s)
    share = median(shares)
    print(
        f"{case.name:26}{clients:8d}{max(alone):12.0f}{best.per_s:12.0f}{share:8.0%}"
        f"{'' if share >= TARGET else '  below ' + format(TARGET, '.0%')}"
        f"   p50 {best.quantile_ms(0.5):.2f} ms  p99 {best.quantile_ms(0.99):.2f} ms"
    )


async def load_http(port: int, paths: list[str], clients: int, seconds: float) -> Result:
    """Ask for `paths` over HTTP, again and again."""
    rendered = [request_bytes("GET", f"/commerce{path}") for path in paths]

    def requests(number: int) -> Iterator[bytes]:
        yield from cycle(rendered[number:] + rendered[:number])

    result = await load("127.0.0.1", port, clients, seconds, requests)
    assert set(result.statuses) == {200}, result.statuses
    return result


async def load_sql(system: System, reads: list[Read], clients: int, seconds: float) -> float:
    """Run the statements on as many connections as there are clients; per second."""
    count = 0
    until = perf_counter() + seconds

    async def drive(number: int) -> None:
        nonlocal count
        async with visitor(system) as db:
            for read in cycle(reads[number:] + reads[:number]):
                if perf_counter() > until:
                    return
                await read(db)
                count += 1

    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(drive(number))
    return count / (perf_counter() - began)


@asynccontextmanager
async def visitor(system: System) -> AsyncIterator[Transaction]:
    """A connection that stays in the role of a visitor."""
    database = system.database("products")
    connection = await database.driver.connect(database.spec, Login.CLIENT, timeout_s=10.0)
    try:
        await connection.execute(f"set role {ANON.role}; set request.jwt.claims = '{ANON.json}'")
        yield cast("Transaction", Bare(connection))
    finally:
        await connection.close()


async def fill(system: System, products: int) -> None:
    """Products whose titles and descriptions are made of few words, so that searches find some."""
    async with system.database("products").transaction(SERVICE) as tx:
        await tx.execute(FILL_CATEGORIES, SHELVES)
    for first in range(0, products, PAGE):
        async with system.database("products").transaction(SERVICE) as tx:
            await tx.execute(FILL_PRODUCTS, first, PAGE, STYLES, THINGS, PLACES, SHELVES)
            await tx.execute(FILL_VARIANTS, first, PAGE)
            await tx.fetch(FILL_STOCK, first, PAGE)
            await tx.execute(PUBLISH, first, PAGE)
    for table in ("products", "product_variants", "stock", "product_search"):
        await analyze(system, table)


async def analyze(system: System, table: str) -> None:
    """Let the planner know what there is, as autovacuum would after a minute."""
    database = system.database("products")
    connection = await database.driver.connect(database.spec, Login.ADMIN, timeout_s=10.0)
    try:
        await connection.execute(f"vacuum (analyze) public.{table}")
    finally:
        await connection.close()


FILL_CATEGORIES = """
insert into categories (slug, name)
select 'shelf-' || n, 'Shelf ' || n
from generate_series(0, $1::integer - 1) as n
"""
FILL_PRODUCTS = """
insert into products (slug, title, description, brand, category_id, created_at)
select 'p-' || n, initcap(t.title) || ' No ' || n,
  'A ' || t.title || ' for the ' || ($5::text[])[n / 81 % 8 + 1] || ', made by hand.',
  'Brand ' || n % 20, c.id, now() - make_interval(secs => n)
from generate_series($1::integer, $1 + $2 - 1) as n
cross join lateral (
  select ($3::text[])[n % 9 + 1] || ' ' || ($4::text[])[n / 9 % 9 + 1]
) as t (title)
join categories c on c.slug = 'shelf-' || n % $6::integer
"""
FILL_VARIANTS = """
insert into product_variants (product_id, sku, title, options, price, currency, position)
select p.id, p.slug || '-' || v, 'Size ' || v, jsonb_build_object('size', v),
  5 + split_part(p.slug, '-', 2)::integer % 90 + v, 'GBP', v
from products p
cross join generate_series(1, 2) as v
where split_part(p.slug, '-', 2)::integer between $1::integer and $1 + $2::integer - 1
"""
FILL_STOCK = """
select count(*)
from private.adjust_stock((
  select jsonb_agg(jsonb_build_object('movement_id', gen_random_uuid(), 'variant_id', v.id,
    'delta', 10, 'reason', 'receipt'))
  from product_variants v
  join products p on p.id = v.product_id
  where split_part(p.slug, '-', 2)::integer between $1::integer and $1 + $2::integer - 1
))
"""
PUBLISH = """
update products
set state = 'published'
where split_part(slug, '-', 2)::integer between $1::integer and $1 + $2::integer - 1
"""


def _listing(query: str) -> Read:
    pairs = [tuple(pair.split("=", 1)) for pair in query.split("&")]
    listing = parse_listing(cast("list[tuple[str, str]]", pairs))
    return lambda db: list_products(db, listing)


def _search(words: str) -> Read:
    search = parse_search([("q", words)])
    return lambda db: search_products(db, search)


LISTINGS = ["limit=20", "limit=20&sort=price", "limit=20&sort=name", "limit=20&category=shelf-3"]
CASES = [
    Case(
        "list 20 with stock",
        [f"/products?{query}" for query in LISTINGS],
        [_listing(query) for query in LISTINGS],
    ),
    Case(
        "search, two words",
        [f"/search?q={words.replace(' ', '+')}" for words in SEARCHES],
        [_search(words) for words in SEARCHES],
    ),
]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", type=int, default=5000)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.seconds, arguments.rounds, arguments.products))
