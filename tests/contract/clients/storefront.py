"""The shop behind its own web server, as a front end sees it: three addresses and their keys."""

from __future__ import annotations

import base64
import hmac
import re
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jwt
from quiet_port import quiet_port
from supabase import AsyncClient, AsyncClientOptions, create_async_client
from tests.contract.clients.applications import NEIGHBOUR, shop_with_functions

from bulkhead.apps.commerce.sample import load_sample
from bulkhead.capabilities.identity import Identity
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE, Role
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.gateway.keyring import open_keyring
from bulkhead.gateway.keys import KeyKind
from bulkhead.web.compose import compose
from bulkhead.web.serving import serving

PASSWORD = "correct horse battery"  # noqa: S105
ADDRESS = {
    "name": "Ada",
    "line1": "1 Row",
    "city": "London",
    "postal_code": "N1",
    "country": "GB",
}

Row = dict[str, Any]

_numbers = count(1)


@dataclass(frozen=True)
class Keys:
    """What a front end and a server are given to reach one database."""

    anon: str
    service_role: str
    publishable: str
    secret: str


@dataclass(frozen=True)
class Storefront:
    """An application that is served, as those see it who visit it."""

    address: str
    """Of the application: origin and name."""
    system: System
    keys: Mapping[str, Keys]
    http: httpx.AsyncClient
    """What carries the requests of every client."""

    def url(self, database: str) -> str:
        return f"{self.address}/{database}"

    async def client(
        self,
        database: str,
        *,
        key: str | None = None,
        token: str | None = None,
        flow: str = "implicit",
        **headers: str,
    ) -> AsyncClient:
        """A client of a database, with its anon key and nobody signed in unless told otherwise."""
        options = AsyncClientOptions(
            httpx_client=self.http,
            auto_refresh_token=False,
            flow_type=flow,  # type: ignore[arg-type]
        )
        options.headers |= headers
        if token is not None:
            options.headers["Authorization"] = f"Bearer {token}"
        return await create_async_client(
            self.url(database), key or self.keys[database].anon, options
        )

    @property
    def people(self) -> Identity:
        """Those who can sign in."""
        assert self.system.application.people is not None
        people: Identity = self.system.application.people(self.system)
        return people

    def sign(self, claims: Row) -> str:
        """A token of our own with any claims."""
        key = self.people.tokens.keyring.keys.current
        return jwt.encode(claims, key.private, algorithm=key.alg, headers={"kid": key.kid})

    async def service(self, database: str) -> AsyncClient:
        """The client of a server, which policies do not hold back."""
        return await self.client(database, key=self.keys[database].service_role)

    async def mails(self, to: str) -> Sequence[Row]:
        """What was sent to an address, the newest first, as the local inbox shows it."""
        answer = await self.http.get(
            f"{self.address}/inbox",
            params={"to": to},
            headers={"accept": "application/json"},
        )
        mails: list[Row] = answer.raise_for_status().json()["mails"]
        return mails

    async def code(self, to: str) -> tuple[str, str]:
        """The digits and the link of the latest mail to an address."""
        text = (await self.mails(to))[0]["text"]
        digits, link = re.search(r"\b\d{6}\b", text), re.search(r"http\S+", text)
        assert digits is not None, text
        return digits[0], link[0] if link else ""

    async def customer(self, name: str = "ada", **metadata: Any) -> Customer:
        """Somebody who signed up, confirmed the address and is signed in."""
        email = new_email(name)
        users = await self.client("users")
        data = {"full_name": name.title(), **metadata}
        await users.auth.sign_up({"email": email, "password": PASSWORD, "options": {"data": data}})
        digits, _ = await self.code(email)
        answer = await users.auth.verify_otp({"type": "signup", "email": email, "token": digits})
        assert answer.user is not None
        return Customer(self, answer.user.id, email, users)


@dataclass(frozen=True)
class Customer:
    """Somebody who is signed in at the database of users."""

    shop: Storefront
    id: str
    email: str
    users: AsyncClient

    async def token(self) -> str:
        """The access token, which is good at every database of the application."""
        session = await self.users.auth.get_session()
        assert session is not None, "signed in"
        return session.access_token

    async def client(self, database: str) -> AsyncClient:
        """The client of another database with the session of this one."""
        return await self.shop.client(database, token=await self.token())

    async def place_order(self, *wanted: tuple[Row, int]) -> Row:
        """Buy so many of each variant, by the request of the shop's own API."""
        body = {
            "lines": [{"variant_id": v["id"], "quantity": quantity} for v, quantity in wanted],
            "shipping_address": ADDRESS,
            "shipping_method": "pickup",
            "payment_source": "tok_visa",
        }
        answer = await self.shop.http.post(
            f"{self.shop.address}/checkout",
            json=body,
            headers={
                "authorization": f"Bearer {await self.token()}",
                "idempotency-key": f"key-{next(_numbers)}",
            },
        )
        order: Row = answer.raise_for_status().json()
        return order


@asynccontextmanager
async def open_storefronts(
    servers: TestServers, home: Path
) -> AsyncIterator[tuple[Storefront, Storefront]]:
    """Serve the shop and the club side by side, on a port of this machine."""
    settings = Settings(home=home, port=quiet_port())
    async with AsyncExitStack() as stack:
        systems = [
            await stack.enter_async_context(servers.system(application, settings))
            for application in (shop_with_functions(home / "migrations"), NEIGHBOUR)
        ]
        await load_sample(systems[0])
        composed = compose(systems, settings)
        await stack.enter_async_context(composed.workers())
        web = await stack.enter_async_context(serving(composed.app, port=settings.port))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        shop, club = (
            Storefront(f"{web.url}/{system.application.name}", system, keys_of(system), http)
            for system in systems
        )
        yield shop, club


def keys_of(system: System) -> Mapping[str, Keys]:
    """The keys of each database."""
    ring = open_keyring(system.application.name, system.settings)
    return {
        name: Keys(
            anon=keys.current(KeyKind.JWT, Role.ANON),
            service_role=keys.current(KeyKind.JWT, Role.SERVICE),
            publishable=keys.current(KeyKind.PUBLISHABLE, Role.ANON),
            secret=keys.current(KeyKind.SECRET, Role.SERVICE),
        )
        for name, keys in ((name, ring.keys(name)) for name in system.router.databases)
    }


async def run(system: System, database: str, sql: str, *args: object) -> Any:
    """What a person with a database shell would see."""
    async with system.database(database).transaction(SERVICE) as tx:
        return await tx.fetchval(sql, *args)


def new_email(name: str = "ada") -> str:
    """An address that nobody has used before."""
    return f"{name}{next(_numbers)}@example.com"


def new_phone() -> str:
    """A number that nobody has used before."""
    return f"+4930{next(_numbers):06}"


def rows(answer: Any) -> list[Row]:
    """The rows of an answer, whose type the client leaves open."""
    found: list[Row] = answer.data
    return found


def row(answer: Any) -> Row:
    """The only row of an answer."""
    [found] = rows(answer) if isinstance(answer.data, list) else [answer.data]
    assert isinstance(found, dict)
    return found


def totp(secret: str, *, steps_ahead: int = 0) -> str:
    """The code that an authenticator shows for a secret (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    step = int(now().timestamp()) // 30 + steps_ahead
    digest = hmac.digest(key, struct.pack(">Q", step), "sha1")
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 1_000_000:06}"
