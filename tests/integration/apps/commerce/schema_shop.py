"""One database of the shop alone, without its code: what the tests of the schema share.

A module shares its database, so that its tests ask for what they made themselves.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import bulkhead
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.application import Application, MigrationFolder
from bulkhead.engine.connections.claims import SERVICE, Claims, user
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.testing import TestServers
from bulkhead.engine.topology import Topology

IDENTITY = Path(bulkhead.__file__).parent / "capabilities" / "identity" / "migrations"
CLIENTS = 20
STAFF = user(new_id(), app_metadata={"role": "staff"})

T = TypeVar("T")


@asynccontextmanager
async def open_alone(servers: TestServers, name: str) -> AsyncIterator["Caller"]:
    """Open one of the databases, with connections for twenty clients at once."""
    identity = (MigrationFolder("identity", "users", IDENTITY),)
    application = Application(
        "shop_schema",
        "The shop's schema",
        Topology("commerce", (TOPOLOGY.database(name),)),
        migrations=identity if name == "users" else (),
    )
    settings = Settings(home=servers.home, pool_size=CLIENTS)
    async with servers.system(application, settings) as system:
        yield Caller(system.database(name))


@dataclass(frozen=True)
class Caller:
    """Runs single statements in one database, each in a transaction of its own."""

    database: OpenDatabase
    claims: Claims = SERVICE

    def acting_for(self, claims: Claims) -> "Caller":
        return Caller(self.database, claims)

    async def fetch(self, sql: str, *args: object) -> list[dict[str, Any]]:
        async with self.database.transaction(self.claims) as tx:
            return [dict(row) for row in await tx.fetch(sql, *args)]

    async def value(self, sql: str, *args: object) -> Any:
        async with self.database.transaction(self.claims) as tx:
            return await tx.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        async with self.database.transaction(self.claims) as tx:
            return await tx.execute(sql, *args)

    async def call(self, function: str, batch: Iterable[object]) -> list[dict[str, Any]]:
        """Call a function of schema private that takes a batch as JSON."""
        text = json.dumps(list(batch), default=str)
        return await self.fetch(f"select * from private.{function}($1::jsonb)", text)


async def together(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Await all at once; what one raises stands in its place."""

    async def attempt(call: Awaitable[T]) -> T | BaseException:
        try:
            return await call
        except Exception as error:  # noqa: BLE001
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(call)) for call in calls]
    return [task.result() for task in tasks]


async def make_variant(
    products: Caller, stock: int = 0, price: str = "10.00", state: str = "published"
) -> UUID:
    """Put a product with one variant into the catalogue, with so much of it on hand."""
    product, variant = new_id(), new_id()
    await products.execute(
        "insert into products (id, slug, title, state) values ($1, $2, 'Lamp', $3)",
        product,
        f"lamp-{product}",
        state,
    )
    await products.execute(
        "insert into product_variants (id, product_id, sku, price, currency)"
        " values ($1, $2, $3, $4::numeric, 'EUR')",
        variant,
        product,
        f"LAMP-{variant}",
        Decimal(price),
    )
    if stock:
        await products.call("adjust_stock", [receipt(variant, stock)])
    return variant


def receipt(variant: UUID, delta: int, reason: str = "receipt") -> dict[str, object]:
    return {"movement_id": new_id(), "variant_id": variant, "delta": delta, "reason": reason}


def wish(
    *lines: tuple[UUID, int], order_id: UUID | None = None, ttl_s: float = 900
) -> dict[str, Any]:
    """An order as `reserve_stock` takes it."""
    return {
        "order_id": order_id or new_id(),
        "ttl_s": ttl_s,
        "lines": [{"variant_id": variant, "quantity": quantity} for variant, quantity in lines],
    }


@dataclass
class Draft:
    """An order as `open_orders` takes it: two lamps for 20.00 unless said otherwise."""

    user_id: UUID = field(default_factory=new_id)
    order_id: UUID = field(default_factory=new_id)
    quantity: int = 2
    more: dict[str, object] = field(default_factory=dict)

    @property
    def total(self) -> str:
        return f"{10 * self.quantity}.00"

    def to_json(self) -> dict[str, object]:
        line = {
            "product_id": new_id(),
            "variant_id": new_id(),
            "sku": "LAMP",
            "title": "Lamp",
            "unit_price": "10.00",
            "quantity": self.quantity,
        }
        return {
            "id": self.order_id,
            "user_id": self.user_id,
            "currency": "EUR",
            "items_total": self.total,
            "total": self.total,
            "shipping_address": {"line1": "Quay 1"},
            "request_hash": "hash",
            "provider": "local",
            "items": [line],
            **self.more,
        }

    def report(
        self, outcome: str = "succeeded", attempt_no: int = 1, **more: object
    ) -> dict[str, object]:
        """What the payment provider says of an attempt, as `settle_orders` takes it."""
        return {
            "order_id": self.order_id,
            "attempt_no": attempt_no,
            "outcome": outcome,
            "provider_ref": f"ch-{self.order_id}-{attempt_no}",
            "amount": self.total,
            "currency": "EUR",
            **more,
        }


async def open_order(orders: Caller, draft: Draft | None = None) -> Draft:
    draft = draft or Draft()
    (row,) = await orders.call("open_orders", [draft.to_json()])
    assert row["state"] == "opened", row
    return draft


async def pay_order(orders: Caller, draft: Draft | None = None) -> Draft:
    draft = await open_order(orders, draft)
    (row,) = await orders.call("settle_orders", [draft.report()])
    assert row["state"] == "confirmed", row
    return draft


async def read(orders: Caller, draft: Draft, column: str = "state") -> Any:
    return await orders.value(f"select {column} from orders where id = $1", draft.order_id)


async def settle(orders: Caller, *reports: dict[str, object]) -> dict[str, Any]:
    rows = await orders.call("settle_orders", reports)
    return rows[0]


async def cancel(orders: Caller, draft: Draft, state: str = "cancelled") -> dict[str, Any]:
    wish = {"order_id": draft.order_id, "state": state, "reason": "changed my mind"}
    (row,) = await orders.call("cancel_orders", [wish])
    return row
