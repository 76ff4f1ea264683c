"""A small application with users, and a browser to try it with."""

from __future__ import annotations

import asyncio
import re
from asyncio import Task
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx
from fastapi import FastAPI
from tests.integration.waiting import until_it_waits

from bulkhead.capabilities.identity import (
    Identity,
    IdentitySettings,
    Limit,
    Limits,
    identity_migrations,
    inbox_routes,
    open_identity,
)
from bulkhead.capabilities.identity.mail.service import QueuedMail, list_mail
from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.topology import Database, Table, Topology
from bulkhead.gateway.auth import auth_app
from bulkhead.gateway.auth.call import Authenticate

CLUB = Application(
    name="club",
    title="The Club",
    topology=Topology(
        "club",
        (Database("users", (Table("profiles"),), Path(__file__).parent / "migrations"),),
    ),
    migrations=(identity_migrations("users"),),
)

T = TypeVar("T")
PLENTY = 10_000
GENEROUS = Limits(
    **{
        name: Limit(name, PLENTY, 1.0)
        for name in (
            *("sign_up", "sign_in", "refresh", "verify", "request_mail", "anonymous"),
            *("change_user", "sms", "sms_daily"),
            *("password_failures", "mail", "mail_daily", "factor", "factor_attempts"),
        )
    }
)
BASE = "http://127.0.0.1:8000"
QUICK = IdentitySettings(limits=GENEROUS, password_cost=4)
PASSWORD = "correct horse battery"  # noqa: S105


@dataclass
class Browser:
    """Somebody who uses the API; remembers nothing but the address it comes from."""

    http: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    async def send(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> httpx.Response:
        headers = dict(self.headers)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return await self.http.request(method, f"/club/auth/v1{path}", json=body, headers=headers)

    async def sign_up(self, email: str = "ada@example.com", **more: object) -> httpx.Response:
        return await self.send("POST", "/signup", {"email": email, "password": PASSWORD, **more})

    async def sign_in(
        self, email: str = "ada@example.com", password: str = PASSWORD
    ) -> httpx.Response:
        body = {"email": email, "password": password}
        return await self.send("POST", "/token?grant_type=password", body)

    async def refresh(self, token: str) -> httpx.Response:
        return await self.send("POST", "/token?grant_type=refresh_token", {"refresh_token": token})

    async def user(self, token: str) -> httpx.Response:
        return await self.send("GET", "/user", token=token)


@dataclass
class Club:
    """The application under test."""

    system: System
    identity: Identity
    browser: Browser

    async def rows(self, sql: str, *args: object) -> Sequence[Mapping[str, Any]]:
        async with self.identity.users.transaction(SERVICE) as tx:
            return await tx.fetch(sql, *args)

    async def value(self, sql: str, *args: object) -> Any:
        async with self.identity.users.transaction(SERVICE) as tx:
            return await tx.fetchval(sql, *args)

    async def mails(self, recipient: str | None = None) -> list[QueuedMail]:
        async with self.identity.users.transaction(SERVICE) as tx:
            return await list_mail(tx, recipient)

    async def latest_code(self, recipient: str = "ada@example.com") -> tuple[str, str]:
        """The digits and the link of the latest mail to `recipient`."""
        text = (await self.mails(recipient))[0].letter.text
        digits, link = re.search(r"code: (\d+)", text), re.search(r"http\S+", text)
        assert digits is not None
        assert link is not None
        return digits[1], link[0]

    async def member(self, email: str = "ada@example.com") -> dict[str, Any]:
        """The tokens of somebody who signed up and confirmed."""
        assert (await self.browser.sign_up(email)).status_code == 200
        digits, _ = await self.latest_code(email)
        body = {"type": "signup", "email": email, "token": digits}
        answer = await self.browser.send("POST", "/verify", body)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens


def open_club(
    system: System,
    *,
    settings: Settings | None = None,
    peer: str = "127.0.0.1",
    identity_settings: IdentitySettings | None = None,
    authenticate: Authenticate | None = None,
    **more: Any,
) -> Club:
    """Open the application over the databases of `system`, reached from `peer`."""
    identity = open_identity(
        "club",
        system.database("users"),
        settings or system.settings,
        title="The Club",
        identity_settings=identity_settings or QUICK,
        **more,
    )
    app = FastAPI()
    app.include_router(inbox_routes(identity), prefix=f"/{identity.application}")
    app.mount(f"/{identity.application}/auth/v1", auth_app(identity, authenticate))
    transport = httpx.ASGITransport(app=app, client=(peer, 50_000))
    return Club(system, identity, Browser(httpx.AsyncClient(transport=transport, base_url=BASE)))


def fragment(location: str) -> dict[str, str]:
    """What a redirect hands to the page."""
    values = parse_qs(urlsplit(location).fragment, keep_blank_values=True)
    return {name: value[0] for name, value in values.items()}


@asynccontextmanager
async def overtaking(club: Club, work: Awaitable[T]) -> AsyncIterator[tuple[Transaction, Task[T]]]:
    """A transaction that ends once `work`, which begins behind the block, waits for it.

    The task is done when all of this is over.
    """

    async def run() -> T:
        await begun.wait()
        return await work

    begun = asyncio.Event()
    async with asyncio.TaskGroup() as group, club.identity.users.transaction(SERVICE) as tx:
        task = group.create_task(run())
        yield tx, task
        begun.set()
        await until_it_waits(task, tx)


async def together(count: int, work: Callable[[int], Awaitable[T]]) -> list[T]:
    """Run `work(0)` ... `work(count - 1)` at the same time."""
    barrier = asyncio.Barrier(count)

    async def run(number: int) -> T:
        await barrier.wait()
        return await work(number)

    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(run(number)) for number in range(count)]
    return [task.result() for task in started]
