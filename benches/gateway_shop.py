"""A database of orders with policies as in the commerce application, its customers and questions.

Every contestant of the gateway's benches is asked the same questions about it: in PostgREST's
dialect, or, where SQL is written by hand, under a short path of its own.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time as epoch_s
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

import jwt
from http_load import request_bytes

from bulkhead.engine.application import Application
from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.claims import SERVICE, Role
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system
from bulkhead.engine.topology import Database, Table, Topology
from bulkhead.gateway.keyring import open_keyring
from bulkhead.gateway.keys import DatabaseKeys, KeyKind

NAME = "shop"
DATABASE = "orders"
POOL_SIZE = 10
CUSTOMERS = 200
ORDERS_EACH = 40
LINES_EACH = 3
SINCE = "2026-01-15T00:00:00+00:00"
STATES = ["confirmed", "delivered", "pending", "shipped"]


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with orders and a token."""

    id: UUID
    order: UUID
    """One of the orders."""
    session: UUID
    token: str
    key: str
    """The publishable key of the database."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request in PostgREST's dialect, and the same to a handler of its own."""

    name: str
    method: str
    rest: Callable[[Customer], str]
    own: Callable[[Customer], str]
    body: Callable[[Customer], dict[str, object]] | None = None
    prefer: str | None = None

    def render(self, base: str, *, dialect: bool, customer: Customer) -> bytes:
        """The request as it goes over the wire, with the headers of supabase-js."""
        headers = {
            "accept": "application/json",
            "apikey": customer.key,
            "authorization": f"Bearer {customer.token}",
            "user-agent": "node",
            "x-client-info": "supabase-js-node/2.109.0",
        }
        if dialect:
            name = "accept-profile" if self.method == "GET" else "content-profile"
            headers[name] = "public"
            if self.prefer:
                headers["prefer"] = self.prefer
        path = (self.rest if dialect else self.own)(customer)
        body = json.dumps(self.body(customer)).encode() if self.body else b""
        return request_bytes(self.method, base + path, headers, body)


@asynccontextmanager
async def open_orders() -> AsyncIterator[System]:
    """Start a server in a temporary folder, durable as in life, and make the database."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder) / "home", pool_size=POOL_SIZE, server_connections=40)
        async with open_system(declare(Path(folder)), settings) as system:
            yield system


def declare(folder: Path) -> Application:
    """The application; its migration stands in `folder`."""
    migrations = folder / "migrations"
    migrations.mkdir(exist_ok=True)
    text = Path(__file__).with_suffix(".sql").read_text()
    (migrations / "0001_orders.sql").write_text(text)
    tables = (
        Table("orders", owner="user_id"),
        Table("order_items", key=("order_id", "line_number"), owner="order_id>orders.user_id"),
        Table("order_notes", owner="user_id"),
    )
    return Application(NAME, "Shop", Topology(NAME, (Database(DATABASE, tables, migrations),)))


async def fill(system: System) -> list[Customer]:
    """Make orders of three lines; each customer is there once for each of them."""
    chance = random.Random(1)  # noqa: S311
    users = [UUID(int=chance.getrandbits(128), version=4) for _ in range(CUSTOMERS)]
    async with system.database(DATABASE).transaction(SERVICE) as tx:
        await tx.execute(FILL_ORDERS, users, ORDERS_EACH, STATES)
        await tx.execute(FILL_ITEMS, LINES_EACH)
        rows = await tx.fetch("select user_id, id from orders order by id")
    async with administer(system.database(DATABASE)) as connection:
        for table in ("orders", "order_items"):
            await connection.execute(f"vacuum (analyze) public.{table}")
    keys = keys_of(system)
    key = keys.current(KeyKind.PUBLISHABLE, Role.ANON)
    sessions = {user: UUID(int=user.int ^ 1) for user in users}
    tokens = {
        user: jwt.encode(_claims(user, sessions[user]), keys.jwt_secrets[0], "HS256")
        for user in users
    }
    return [
        Customer(user, row["id"], sessions[user], tokens[user], key)
        for row in rows
        for user in (row["user_id"],)
    ]


def keys_of(system: System) -> DatabaseKeys:
    """The API keys of the database, and the secret with which tokens are signed."""
    return open_keyring(NAME, system.settings).keys(DATABASE)


async def socket_url(system: System, login: Login) -> str:
    """A URL of the database over the server's Unix socket, as our own driver goes."""
    place = system.database(DATABASE)
    async with administer(place) as connection:
        folder = await connection.fetchval("show unix_socket_directories")
        port = await connection.fetchval("show port")
    parts = urlsplit(place.driver.url(place.spec, login))
    login_part = parts.netloc.rpartition("@")[0]
    query = f"host={quote(folder)}&port={port}"
    return urlunsplit(("postgresql", f"{login_part}@", parts.path, query, ""))


def _claims(user: UUID, session: UUID) -> dict[str, object]:
    """As in a token of Supabase's Auth."""
    now = int(epoch_s())
    return {
        "iss": "http://127.0.0.1:8000/shop/auth/v1",
        "iat": now,
        "exp": now + 86_400,
        "sub": str(user),
        "aud": "authenticated",
        "role": "authenticated",
        "email": f"{user.hex[:8]}@example.com",
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {"email_verified": True},
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": now}],
        "session_id": str(session),
        "is_anonymous": False,
    }


COLUMNS = "id,order_number,state,total,created_at"
ITEMS = "order_items(line_number,sku,title,unit_price,quantity)"
QUESTIONS = (
    Question(
        "20 rows by user",
        "GET",
        lambda who: f"/orders?select={COLUMNS}&user_id=eq.{who.id}&order=created_at.desc&limit=20",
        lambda who: f"/own?id={who.id}",
    ),
    Question(
        "20 rows with items",
        "GET",
        lambda who: (
            f"/orders?select={COLUMNS},{ITEMS}&user_id=eq.{who.id}&order=created_at.desc&limit=20"
        ),
        lambda who: f"/own-with-items?id={who.id}",
    ),
    Question(
        "one row with items",
        "GET",
        lambda who: f"/orders?select={COLUMNS},{ITEMS}&id=eq.{who.order}",
        lambda who: f"/one-with-items?id={who.order}",
    ),
    Question(
        "one row by id",
        "GET",
        lambda who: f"/orders?select={COLUMNS}&id=eq.{who.order}",
        lambda who: f"/one?id={who.order}",
    ),
    Question(
        "20 rows, exact count",
        "GET",
        lambda who: f"/orders?select={COLUMNS}&user_id=eq.{who.id}&order=created_at.desc&limit=20",
        lambda who: f"/counted?id={who.id}",
        prefer="count=exact",
    ),
    Question(
        "insert a row",
        "POST",
        lambda _: "/order_notes?select=id,order_id,user_id,body,created_at",
        lambda _: "/notes",
        body=lambda who: {"order_id": str(who.order), "body": "Leave it with the neighbours."},
        prefer="return=representation",
    ),
    Question(
        "call a function",
        "POST",
        lambda _: "/rpc/spent_since",
        lambda _: "/spent",
        body=lambda _: {"since": SINCE},
    ),
)

FILL_ORDERS = """
insert into orders (
  id, order_number, user_id, state, currency, total, shipping_address, created_at
)
select gen_random_uuid(), 'A' || to_char(u.place * 1000 + n, 'FM000000000'), u.id,
  ($3::text[])[(u.place + n) % 4 + 1], 'GBP', 10 + n + 0.5,
  jsonb_build_object('name', 'A', 'line1', n || ' High Street', 'country', 'GB'),
  timestamptz '2026-01-01T00:00:00Z' + make_interval(hours => n * 24 + u.place::integer % 24)
from unnest($1::uuid[]) with ordinality as u (id, place)
cross join generate_series(1, $2::integer) as n
"""
FILL_ITEMS = """
insert into order_items (order_id, line_number, sku, title, unit_price, quantity)
select o.id, n, 'SKU-' || n, 'Wooden lantern No ' || n, 4.99 + n, n
from orders o
cross join generate_series(1, $1::integer) as n
"""
