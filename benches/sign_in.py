"""How many can sign in and refresh per second, and do readers notice?

Server, database and the load itself share this machine's processors. Every request comes from
another address, as rate limits want it, and passwords cost what they cost in life (bcrypt, 10).
Reads are pages of 20 products through the REST API; their p99 is taken alone and while people sign
in on other connections, in turns.

    python benches/sign_in.py [--seconds 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import bcrypt
import uvloop
from checkout_http import start_server
from http_load import Client, Result, load, request_bytes
from shop import fill_catalogue

from bulkhead.apps import load_application
from bulkhead.capabilities.identity.passwords import Passwords
from bulkhead.engine.connections.claims import SERVICE, Role
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system
from bulkhead.gateway.keyring import open_keyring
from bulkhead.gateway.keys import KeyKind
from bulkhead.web.serving import find_port

USERS = 64
READERS = 4
PASSWORD = "harbour lights"  # noqa: S105
READ = "/commerce/products/rest/v1/products?select=id,slug,title&order=id&limit=20"
TOKEN = "/commerce/users/auth/v1/token?grant_type="  # noqa: S105

_addresses = count()


class Asker(Client):
    """One connection that also returns what was answered."""

    def data_received(self, data: bytes) -> None:
        """Keep the body of an answer that is complete."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        lower = self._buffer[: max(head, 0)].lower()
        at = lower.find(b"content-length:")
        if head < 0 or at < 0 or self._answer is None:
            return
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= head + 4 + length:
            status, self.body = int(self._buffer[9:12]), self._buffer[head + 4 :]
            self._buffer = b""
            answer, self._answer = self._answer, None
            answer.set_result(status)


async def main(seconds: float, rounds: int) -> None:
    """Start the server as its own process and run every case."""
    async with open_site() as (port, keys):
        alone = await time_bcrypt()
        print(f"bcrypt alone, one thread: {1 / alone:6.1f}/s ({alone * 1000:.0f} ms each)")
        for clients in (1, 16):
            result = await load("127.0.0.1", port, clients, seconds, sign_ins(keys))
            print(f"sign-ins, {clients:2d} connections   {result}")
        for clients in (1, 16):
            result = await refresh(port, clients, seconds, keys)
            print(f"refreshes, {clients:2d} connections  {result}")
        ratios = []
        for _ in range(rounds):
            quiet = await load("127.0.0.1", port, READERS, seconds, reads(keys))
            async with asyncio.TaskGroup() as group:
                signing = group.create_task(load("127.0.0.1", port, 16, seconds, sign_ins(keys)))
                busy = await load("127.0.0.1", port, READERS, seconds, reads(keys))
            ratios.append(busy.quantile_ms(0.99) / quiet.quantile_ms(0.99))
            print(f"reads alone              {quiet}")
            print(f"reads during sign-ins    {busy}")
            print(f"  those sign-ins         {signing.result()}")
            slower, fewer = ratios[-1], busy.per_s / quiet.per_s
            print(f"  p99 of reads x{slower:.2f}, reads per second x{fewer:.2f}")
        print(f"p99 of reads during sign-ins: x{statistics.median(ratios):.2f} (median)")


@asynccontextmanager
async def open_site() -> AsyncIterator[tuple[int, dict[str, str]]]:
    """A server with products and users; gives its port and its anonymous keys by database."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ["BULKHEAD_TRUSTED_PROXIES"] = "127.0.0.1"
        settings = Settings(home=Path(folder), port=find_port("127.0.0.1", 0))
        server = await start_server(settings)
        try:
            application = load_application("commerce")
            async with open_system(application, settings, provision=False) as system:
                await fill_catalogue(system)
                await add_users(system)
            ring = open_keyring("commerce", settings)
            names = ("users", "products")
            keys = {name: ring.keys(name).current(KeyKind.JWT, Role.ANON) for name in names}
            yield settings.port, keys
        finally:
            server.terminate()
            await asyncio.to_thread(server.wait)


async def add_users(system: System) -> None:
    """People who can sign in."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    async with system.database("users").transaction(SERVICE) as tx:
        await tx.executemany(
            "insert into auth.users (id, aud, role, email, encrypted_password,"
            " email_confirmed_at, raw_app_meta_data, raw_user_meta_data)"
            " values ($1, 'authenticated', 'authenticated', $2, $3, now(), '{}', '{}')",
            [(new_id(), email_of(number), hashed) for number in range(USERS)],
        )


async def time_bcrypt() -> float:
    """How long a password takes when nothing else runs."""
    passwords = Passwords(10)
    hashed = await passwords.hash(PASSWORD)
    started = perf_counter()
    for _ in range(20):
        await passwords.verify(PASSWORD, hashed)
    return (perf_counter() - started) / 20


def sign_ins(keys: dict[str, str]) -> Any:  # noqa: ANN401 - what `load` takes
    """Sign in as one user after the other."""

    def requests(number: int) -> Iterator[bytes]:
        for turn in count(number):
            body = {"email": email_of(turn % USERS), "password": PASSWORD}
            yield post(f"{TOKEN}password", body, keys)

    return requests


def reads(keys: dict[str, str]) -> Any:  # noqa: ANN401 - what `load` takes
    """Read a page of products."""
    request = request_bytes("GET", READ, {"apikey": keys["products"]})

    def requests(number: int) -> Iterator[bytes]:
        del number
        while True:
            yield request

    return requests


async def refresh(port: int, clients: int, seconds: float, keys: dict[str, str]) -> Result:
    """Exchange refresh tokens, each connection those of a session of its own."""
    result = Result()
    askers = [await sign_in(port, number, keys) for number in range(clients)]
    started = perf_counter()

    async def drive(asker: Asker) -> None:
        while (before := perf_counter()) < started + seconds:
            token = json.loads(asker.body)["refresh_token"]
            status = await asker.send(post(f"{TOKEN}refresh_token", {"refresh_token": token}, keys))
            result.times_s.append(perf_counter() - before)
            result.statuses[status] = result.statuses.get(status, 0) + 1
        asker.close()

    async with asyncio.TaskGroup() as group:
        for asker in askers:
            group.create_task(drive(asker))
    result.duration_s = perf_counter() - started
    return result


async def sign_in(port: int, number: int, keys: dict[str, str]) -> Asker:
    """A connection over which a user has just signed in."""
    _, asker = await asyncio.get_running_loop().create_connection(Asker, "127.0.0.1", port)
    body = {"email": email_of(number), "password": PASSWORD}
    status = await asker.send(post(f"{TOKEN}password", body, keys))
    assert status == 200, asker.body
    return asker


def post(path: str, body: dict[str, str], keys: dict[str, str]) -> bytes:
    """A request from an address that nobody else has."""
    number = next(_addresses)
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    headers = {"apikey": keys["users"], "x-forwarded-for": address}
    return request_bytes("POST", path, headers, json.dumps(body).encode())


def email_of(number: int) -> str:
    """The address of a user."""
    return f"bench-{number}@example.com"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.seconds, arguments.rounds))
