"""The routes of the products database over HTTP, and the rows that a storefront shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from bulkhead.apps.commerce.application import APPLICATION, people_of
from bulkhead.apps.commerce.products.cart.routes import routes as cart_routes
from bulkhead.apps.commerce.products.catalogue.routes import routes as catalogue_routes
from bulkhead.apps.commerce.products.search.routes import routes as search_routes
from bulkhead.capabilities.identity import (
    Identity,
    create_user,
    current_user,
    maybe_user,
    sign_in_as,
)
from bulkhead.capabilities.identity.passwords import Passwords
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.web.server import Mount, create_app

BASE = "http://shop.test/commerce"
PASSWORD_COST = 4


@dataclass(frozen=True)
class Caller:
    """Somebody with a browser."""

    http: httpx.AsyncClient
    token: str | None = None

    async def send(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return await self.http.request(method, BASE + path, headers=headers, json=body)

    async def get(self, path: str) -> Any:
        answer = await self.send("GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        answer = await self.send(method, path, body)
        return answer.status_code, answer.json()["code"]


@dataclass(frozen=True)
class Storefront:
    """The shop as its visitors see it, and as its staff fill it."""

    system: System
    people: Identity
    http: httpx.AsyncClient

    @property
    def products(self) -> OpenDatabase:
        return self.system.database("products")

    @property
    def visitor(self) -> Caller:
        return Caller(self.http)

    async def customer(self, role: str | None = None) -> Caller:
        email = f"{new_id().hex}@example.com"
        metadata = {"role": role} if role else {}
        await create_user(
            self.people, email=email, password="long and odd", app_metadata=metadata  # noqa: S106
        )  # fmt: skip
        return Caller(self.http, (await sign_in_as(self.people, email)).access_token)

    async def run(self, sql: str, *args: object) -> Any:
        async with self.products.transaction(SERVICE) as tx:
            return await tx.fetchval(sql, *args)

    async def add(self, *wares: Ware) -> list[Ware]:
        for ware in wares:
            await add_ware(self, ware)
        return list(wares)

    async def titles(self, path: str) -> list[str]:
        return [item["title"] for item in (await self.visitor.get(path))["items"]]


@dataclass(frozen=True)
class Ware:
    """A product with one variant for each price."""

    title: str
    prices: tuple[str, ...] = ("10.00",)
    stock: tuple[int, ...] = ()
    brand: str | None = None
    category: str | None = None
    state: str = "published"
    description: str = ""
    attributes: tuple[tuple[str, str, object], ...] = ()
    ratings: tuple[int, ...] = ()
    id: UUID = field(default_factory=new_id)
    variants: tuple[UUID, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "variants", tuple(new_id() for _ in self.prices))

    @property
    def slug(self) -> str:
        return f"{self.title.lower().replace(' ', '-')}-{self.id.hex[-6:]}"


@asynccontextmanager
async def open_storefront(servers: TestServers, home: Path) -> AsyncIterator[Storefront]:
    async with servers.system(APPLICATION, Settings(home=home)) as system:
        # Whom the tests make signs in without the password.
        people = replace(people_of(system), passwords=Passwords(PASSWORD_COST))
        products = system.database("products")
        routers = [
            catalogue_routes(products, maybe_user(people)),
            search_routes(products, maybe_user(people)),
            cart_routes(products, current_user(people)),
        ]
        app = create_app([Mount("commerce", "Shop", routers)], system.settings)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
            yield Storefront(system, people, http)


async def add_categories(shop: Storefront, paths: Iterable[str]) -> None:
    """Categories by their slugs from the root: `home/lamps`."""
    for path in paths:
        above, _, slug = path.rpartition("/")
        await shop.run(
            "insert into categories (slug, name, parent_id)"
            " values ($1, initcap($1), (select id from categories where slug = $2))",
            slug,
            above.rpartition("/")[2],
        )


async def add_ware(shop: Storefront, ware: Ware) -> None:
    await shop.run(
        "insert into products (id, slug, title, brand, description, category_id, state) values"
        " ($1, $2, $3, $4, $5, (select id from categories where slug = $6), $7)",
        *(ware.id, ware.slug, ware.title, ware.brand, ware.description, ware.category, ware.state),
    )
    for number, (variant, price) in enumerate(zip(ware.variants, ware.prices, strict=True)):
        await shop.run(
            "insert into product_variants (id, product_id, sku, title, options, price, currency,"
            " position) values ($1, $2, $3, $4, $5, $6, 'EUR', $7)",
            *(variant, ware.id, f"SKU-{variant.hex[-10:]}", f"No {number}"),
            *(json.dumps({"size": number}), Decimal(price), number),
        )
    for variant, amount in zip(ware.variants, ware.stock, strict=False):
        if amount:
            await move_stock(shop, variant, amount)
    for code, kind, value in ware.attributes:
        await add_attribute(shop, ware, code, kind, value)
    for rating in ware.ratings:
        await shop.run(
            "insert into product_reviews (product_id, user_id, rating, state)"
            " values ($1, $2, $3, 'approved')",
            *(ware.id, new_id(), rating),
        )


async def add_attribute(shop: Storefront, ware: Ware, code: str, kind: str, value: object) -> None:
    await shop.run(
        "insert into product_attributes (code, name, kind, searchable)"
        " values ($1, initcap($1), $2, true) on conflict do nothing",
        *(code, kind),
    )
    await shop.run(
        f"insert into product_attribute_values (product_id, attribute_id, kind, {kind}_value)"
        " values ($1, (select id from product_attributes where code = $2), $3, $4)",
        *(ware.id, code, kind, value),
    )


async def move_stock(shop: Storefront, variant: UUID, delta: int) -> None:
    await shop.run(
        "select count(*) from private.adjust_stock(jsonb_build_array(jsonb_build_object("
        "'movement_id', $1::uuid, 'variant_id', $2::uuid, 'delta', $3::int,"
        " 'reason', 'adjustment')))",
        *(new_id(), variant, delta),
    )
