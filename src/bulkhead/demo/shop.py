"""Fills the databases with the planned shop and its customers, a set at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from bulkhead.apps.commerce.events import UserSignedUp
from bulkhead.capabilities.identity import Identity, sign_in_as
from bulkhead.demo.plan import Customer, Plan
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import derive_id, new_id
from bulkhead.engine.messaging.outbox import publish

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase

QUERIES = load_queries(__package__)
ROWS_MAX = 1000
"""How many rows one statement writes."""
SIGN_INS_AT_ONCE = 4
GOODS = derive_id("demo.category", "goods")
FEES = derive_id("demo.category", "fees")

Row = dict[str, Any]
T = TypeVar("T")


async def load_shop(products: OpenDatabase, plan: Plan) -> None:
    """Write products, their variants and what is in stock, and publish them."""
    categories = [
        {"id": GOODS, "slug": "goods", "name": "Goods", "position": 0},
        {"id": FEES, "slug": "fees", "name": "Postage, fees and vouchers", "position": 1},
    ]
    for statement, rows in (
        (QUERIES.insert_categories, categories),
        (QUERIES.insert_products, list(_product_rows(plan))),
        (QUERIES.insert_variants, list(_variant_rows(plan))),
        (QUERIES.receive_stock, list(_receipts(plan))),
    ):
        for page in pages(rows):
            async with products.transaction(SERVICE) as tx:
                await tx.execute(statement, json.dumps(page, default=str))
    for ids in pages(list(plan.products)):
        async with products.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.publish_products, ids)


async def load_customers(users: OpenDatabase, customers: Sequence[Customer]) -> None:
    """Write people as signing up would, with their events, but without passwords and mail."""
    for page in pages(customers):
        rows = [
            {"id": str(new_id()), "identity_id": str(new_id()), "email": c.email, "name": c.name}
            for c in page
        ]
        async with users.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.insert_users, json.dumps(rows))
            await tx.execute(QUERIES.insert_identities, json.dumps(rows))
            for row in rows:
                publish(tx, UserSignedUp(UUID(row["id"]), row["email"]))


async def sign_in_customers(people: Identity, emails: Iterable[str]) -> dict[str, str]:
    """An access token for each address, from the service: nobody types a thousand passwords."""
    tokens: dict[str, str] = {}
    waiting = iter(emails)

    async def sign_in() -> None:
        for email in waiting:
            tokens[email] = (await sign_in_as(people, email)).access_token

    async with asyncio.TaskGroup() as group:
        for _ in range(SIGN_INS_AT_ONCE):
            group.create_task(sign_in())
    return tokens


def pages(items: Sequence[T], size: int = ROWS_MAX) -> Iterator[Sequence[T]]:
    """The items, at most `size` at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _product_rows(plan: Plan) -> Iterator[Row]:
    for product in plan.products.values():
        yield {
            "id": product.id,
            "slug": product.slug,
            "title": product.title,
            "description": product.description,
            "category_id": GOODS if product.goods else FEES,
        }


def _variant_rows(plan: Plan) -> Iterator[Row]:
    places: dict[UUID, int] = {}
    for variant in plan.variants.values():
        place = places[variant.product_id] = places.get(variant.product_id, -1) + 1
        yield {
            "id": variant.id,
            "product_id": variant.product_id,
            "sku": f"{variant.code} at {variant.price}",
            "title": f"at {variant.price}",
            "price": variant.price,
            "position": place,
        }


def _receipts(plan: Plan) -> Iterator[Row]:
    for variant_id, quantity in plan.stock.items():
        yield {
            "movement_id": derive_id("demo.receipt", variant_id),
            "variant_id": variant_id,
            "delta": quantity,
            "reason": "receipt",
        }
