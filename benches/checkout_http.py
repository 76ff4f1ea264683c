"""Whole checkouts over HTTP: one POST places, charges and confirms an order over three databases.

Server, databases and the load itself share this machine's processors. Prints orders per second,
p50 and p99 at 1, 8 and 32 clients, for random carts and for carts of the same two SKUs.

    python benches/checkout_http.py [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop
from http_load import Result, load, request_bytes
from shop import fill_catalogue

from bulkhead.apps import load_application
from bulkhead.apps.commerce.application import people_of
from bulkhead.capabilities.identity import sign_in_as
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system
from bulkhead.web.serving import find_port

CUSTOMERS = 64


async def main(seconds: float) -> None:
    """Start the server as its own process, fill the shop, and run every case."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        port = find_port("127.0.0.1", 0)
        settings = Settings(home=Path(folder), port=port)
        server = await start_server(settings)
        try:
            async with open_system(
                load_application("commerce"), settings, provision=False
            ) as system:
                variants = await fill_catalogue(system)
                tokens = await sign_up_customers(system)
            print(f"{'carts':16}{'clients':>8}")
            for carts, choice in (("random", variants), ("same two SKUs", variants[:2])):
                for clients in (1, 8, 32):
                    result = await run_case(port, clients, seconds, tokens, choice)
                    print(f"{carts:16}{clients:8d}  {result}")
        finally:
            server.terminate()
            await asyncio.to_thread(server.wait)


async def start_server(settings: Settings) -> subprocess.Popen[bytes]:
    """Run `bulkhead up` and wait until it says that it is up."""
    command = [sys.executable, "-m", "bulkhead", "--json", "--home", str(settings.home)]
    command += ["up", "--no-sample", "--port", str(settings.port)]
    environment = {**os.environ, "BULKHEAD_LOG_LEVEL": "warning"}
    server = await asyncio.to_thread(
        subprocess.Popen, command, stdout=subprocess.PIPE, env=environment
    )
    assert server.stdout is not None, "piped"
    await asyncio.to_thread(server.stdout.readline)
    return server


async def sign_up_customers(system: System) -> list[str]:
    """Customers, and an access token of each."""
    emails = [f"bench-{number}@example.com" for number in range(CUSTOMERS)]
    async with system.database("users").transaction(SERVICE) as tx:
        await tx.executemany(
            "insert into auth.users (id, aud, role, email, email_confirmed_at, raw_app_meta_data,"
            " raw_user_meta_data)"
            " values ($1, 'authenticated', 'authenticated', $2, now(), '{}', '{}')",
            [(new_id(), email) for email in emails],
        )
    people = people_of(system)
    return [(await sign_in_as(people, email)).access_token for email in emails]


async def run_case(
    port: int, clients: int, seconds: float, tokens: list[str], variants: list[str]
) -> Result:
    """Place orders of two lines from `clients` connections."""
    random.seed(1)

    def requests(number: int) -> Iterator[bytes]:
        while True:
            lines = [
                {"variant_id": variant, "quantity": 1} for variant in random.sample(variants, 2)
            ]
            body = {
                "lines": lines,
                "shipping_address": {"name": "A", "line1": "1", "city": "L", "country": "GB"},
                "payment_source": "tok_visa",
            }
            headers = {
                "authorization": f"Bearer {tokens[number % len(tokens)]}",
                "idempotency-key": new_id().hex,
            }
            yield request_bytes("POST", "/commerce/checkout", headers, json.dumps(body).encode())

    return await load("127.0.0.1", port, clients, seconds, requests)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    uvloop.run(main(parser.parse_args().seconds))
