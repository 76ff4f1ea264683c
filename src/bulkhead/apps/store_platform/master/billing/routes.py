"""Requests about plans, subscriptions and invoices."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from bulkhead.apps.store_platform.master.billing.model import (
    PLANS,
    Invoice,
    Invoices,
    Plans,
    SubscribeBody,
    Subscription,
)
from bulkhead.apps.store_platform.master.billing.service import (
    cancel_subscription,
    get_invoice,
    get_subscription,
    list_invoices,
    subscribe,
)
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.http.answers import answer


def routes(master: OpenDatabase, signed_in: Callable[..., Awaitable[Claims]]) -> APIRouter:
    """Show plans; subscribe, cancel, and show what was charged."""
    router = APIRouter(tags=["billing"])
    user = Annotated[Claims, Depends(signed_in)]
    subscription: dict[int | str, dict[str, Any]] = {200: {"model": Subscription}}

    @router.get("/plans", responses={200: {"model": Plans}})
    async def list_plans() -> Response:
        """The plans with their prices and limits; null is no limit."""
        return answer({"plans": [asdict(plan) for plan in PLANS.values()]})

    @router.get("/stores/{store_id}/subscription", responses=subscription)
    async def show(store_id: UUID, claims: user) -> Response:
        """What a store of yours pays for."""
        async with master.transaction(claims, read_only=True) as db:
            return answer(await get_subscription(db, store_id))

    @router.post("/stores/{store_id}/subscription", responses=subscription)
    async def change(store_id: UUID, body: SubscribeBody, claims: user) -> Response:
        """Let a store of yours have another plan; without a card its trial begins."""
        async with master.transaction(claims, read_only=True) as db:
            await get_subscription(db, store_id)
        async with master.transaction(SERVICE) as tx:
            await subscribe(tx, store_id, body, clock.now(), actor=claims.subject)
        async with master.transaction(claims, read_only=True) as db:
            return answer(await get_subscription(db, store_id))

    @router.delete("/stores/{store_id}/subscription", responses=subscription)
    async def cancel(store_id: UUID, claims: user) -> Response:
        """Go back to the free plan."""
        async with master.transaction(claims, read_only=True) as db:
            await get_subscription(db, store_id)
        async with master.transaction(SERVICE) as tx:
            await cancel_subscription(tx, store_id, clock.now(), actor=claims.subject)
        async with master.transaction(claims, read_only=True) as db:
            return answer(await get_subscription(db, store_id))

    @router.get("/stores/{store_id}/invoices", responses={200: {"model": Invoices}})
    async def show_invoices(store_id: UUID, claims: user) -> Response:
        """What was charged for a store of yours, the newest first."""
        async with master.transaction(claims, read_only=True) as db:
            await get_subscription(db, store_id)
            return answer({"invoices": await list_invoices(db, store_id)})

    @router.get("/stores/{store_id}/invoices/{invoice_id}", responses={200: {"model": Invoice}})
    async def show_invoice(store_id: UUID, invoice_id: UUID, claims: user) -> Response:
        """One invoice of a store of yours."""
        async with master.transaction(claims, read_only=True) as db:
            return answer(await get_invoice(db, store_id, invoice_id))

    return router
