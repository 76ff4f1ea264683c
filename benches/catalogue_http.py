"""Lists, searches and product pages over HTTP against the bare statement in asyncpg.

The shop has 5,000 products with three variants each. Server, database and load share this
machine's processors. The baseline runs the very same statement, prepared, in sessions that took on
the visitor's role and claims before: no HTTP, no transaction of its own, no scope per request.

    python benches/catalogue_http.py [--seconds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

import uvloop
from checkout_http import start_server
from http_load import load, request_bytes

from bulkhead.apps import load_application
from bulkhead.apps.commerce.products.catalogue.model import parse_listing
from bulkhead.apps.commerce.products.catalogue.service import get_product, list_products
from bulkhead.apps.commerce.products.search.model import parse_search
from bulkhead.apps.commerce.products.search.service import search_products
from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.connections.router import Placement
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system

PRODUCTS = 5000
WARM_UP = 8
"""PostgreSQL decides for or against a plan for good after five executions."""
CLIENTS = (1, 8)
CASES = (
    "/products",
    "/products?category=shelf-7&in_stock=true",
    "/products?sort=price&brand=Lumen&attribute.colour=red",
    "/search?q=ceramic+lamp",
    "/search?q=lamp&facets=true",
    "/search?q=ceramik+lapm",
    "/products/product-7",
)
FILL = f"""
set local statement_timeout = 0;

insert into categories (slug, name)
select 'shelf-' || g, 'Shelf ' || g from generate_series(1, 25) g;

insert into product_attributes (code, name, kind, searchable)
values ('colour', 'Colour', 'text', true);

insert into products (slug, title, description, brand, category_id, created_at)
select 'product-' || g,
  (array['Wireless', 'Portable', 'Ceramic', 'Wooden', 'Running', 'Compact', 'Classic'])[1 + g % 7]
  || ' '
  || (array['Headphones', 'Keyboard', 'Lamp', 'Mug', 'Shoes', 'Chair', 'Kettle'])[1 + g / 7 % 7]
  || ' ' || g,
  repeat('Its surface is finished by hand and lasts for many years of daily use. ', 4),
  (array['Northpeak', 'Lumen', 'Oakline', 'Tidewater', 'Kestrel'])[1 + g % 5],
  (select id from categories where slug = 'shelf-' || 1 + g % 25),
  now() - make_interval(mins => g)
from generate_series(1, {PRODUCTS}) g;

insert into product_variants (product_id, sku, title, options, price, currency, position)
select p.id, upper(p.slug) || '-' || v, 'No ' || v, jsonb_build_object('number', v),
  5 + abs(hashtext(p.slug)) % 200 + v, 'EUR', v
from products p, generate_series(1, 3) v;

insert into product_images (product_id, url, alt)
select id, '/images/' || slug || '.jpg', title from products;

insert into product_attribute_values (product_id, attribute_id, kind, text_value)
select p.id, a.id, 'text', (array['red', 'green', 'blue'])[1 + abs(hashtext(p.slug)) % 3]
from products p, product_attributes a;

select count(*) from private.adjust_stock((
  select jsonb_agg(jsonb_build_object('movement_id', gen_random_uuid(), 'variant_id', variant_id,
    'delta', 9, 'reason', 'receipt'))
  from stock
));

update products set state = 'published'
"""


@dataclass
class Recorder:
    """Stands in for a transaction and keeps the statement that a use case would have run."""

    sql: str = ""
    arguments: tuple[object, ...] = ()

    async def fetchval(self, sql: str, *arguments: object) -> str:
        """Keep the statement."""
        self.sql, self.arguments = sql, arguments
        return ""


async def main(seconds: float) -> None:
    """Start the server as its own process, fill the shop, and run every case."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            settings = Settings(home=Path(folder), port=free.getsockname()[1])
        server = await start_server(settings)
        try:
            commerce = load_application("commerce")
            async with open_system(commerce, settings, provision=False) as system:
                await fill(system)
                print(f"{'request':56}{'clients':>8}{'bare/s':>8}  HTTP")
                for case in CASES:
                    await run_case(system, case, seconds)
        finally:
            server.terminate()
            await asyncio.to_thread(server.wait)


async def fill(system: System) -> None:
    """Fill the catalogue, and let PostgreSQL look at it."""
    async with system.database("products").transaction(SERVICE, timeout_s=600) as tx:
        await tx.execute(FILL)
    connection = await connect(system, Login.ADMIN)
    await connection.execute("vacuum analyze")
    await connection.close()


async def run_case(system: System, case: str, seconds: float) -> None:
    """Measure one request with 1 and 8 clients, each time beside its bare statement."""
    statement = await record(case)
    request = request_bytes("GET", f"/commerce{case}")

    def requests(_: int) -> Iterator[bytes]:
        while True:
            yield request

    port = system.settings.port
    await load("127.0.0.1", port, max(CLIENTS), seconds / 3, requests)
    for clients in CLIENTS:
        bare = await run_bare(system, statement, clients, seconds)
        result = await load("127.0.0.1", port, clients, seconds, requests)
        share = result.per_s / bare
        print(f"{case:56}{clients:8d}{bare:8.0f} {result}   {share:.0%} of bare", flush=True)


async def record(case: str) -> Recorder:
    """The statement behind a request."""
    recorder: Any = Recorder()
    path, _, query = case.partition("?")
    if path == "/search":
        await search_products(recorder, parse_search(parse_qsl(query)))
    elif path == "/products":
        await list_products(recorder, parse_listing(parse_qsl(query)))
    else:
        await get_product(recorder, path.rpartition("/")[2])
    return recorder  # type: ignore[no-any-return]


async def run_bare(system: System, statement: Recorder, clients: int, seconds: float) -> float:
    """Executions per second of the statement over so many connections."""
    connections = [await connect(system, Login.CLIENT) for _ in range(clients)]
    for connection in connections:
        await connection.execute(f"set role anon; set request.jwt.claims = {literal(ANON.json)}")
        for _ in range(WARM_UP):
            await connection.fetchval(statement.sql, *statement.arguments)
    count, started = 0, perf_counter()

    async def drive(connection: Any) -> None:  # noqa: ANN401
        nonlocal count
        while perf_counter() < started + seconds:
            await connection.fetchval(statement.sql, *statement.arguments)
            count += 1

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(drive(connection))
    per_s = count / (perf_counter() - started)
    for connection in connections:
        await connection.close()
    return per_s


async def connect(system: System, login: Login) -> Any:  # noqa: ANN401
    """A connection of our own to the database `products`."""
    placement: Placement = next(p for p in system.router.placements if p.database == "products")
    return await placement.driver.connect(placement.spec, login, timeout_s=10.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    uvloop.run(main(parser.parse_args().seconds))
