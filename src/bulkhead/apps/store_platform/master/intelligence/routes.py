"""Requests about figures: what a store uses and sells, and for staff the whole platform."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from bulkhead.apps.store_platform.master.intelligence.model import (
    Analytics,
    Revenue,
    Statistics,
    Usage,
)
from bulkhead.apps.store_platform.master.intelligence.service import (
    list_analytics,
    list_performance,
    list_revenue,
    list_statistics,
)
from bulkhead.apps.store_platform.master.metering.service import list_usage, measure_usage
from bulkhead.apps.store_platform.master.stores.service import get_store, measure_stores
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import Forbidden
from bulkhead.http.answers import answer

Days = Annotated[int, Query(ge=1, le=400)]


def routes(master: OpenDatabase, signed_in: Callable[..., Awaitable[Claims]]) -> APIRouter:
    """Show usage, analytics and performance; for staff also revenue and statistics."""
    router = APIRouter(tags=["figures"])
    user = Annotated[Claims, Depends(signed_in)]

    @router.get("/stores/{store_id}/usage", responses={200: {"model": Usage}})
    async def show_usage(store_id: UUID, claims: user, days: Days = 30) -> Response:
        """How much of its plan a store of yours uses, and what it used on each day."""
        async with master.transaction(claims, read_only=True) as db:
            store = await get_store(db, store_id)
            now = await measure_usage(db, store_id)
            shown = await list_usage(db, store_id, days)
        async with master.transaction(SERVICE, read_only=True) as db:
            now["stores_of_owner"] = await measure_stores(db, store["owner_id"])
        return answer({"usage": now, "days": shown})

    @router.get("/stores/{store_id}/analytics", responses={200: {"model": Analytics}})
    async def show_analytics(store_id: UUID, claims: user, days: Days = 30) -> Response:
        """What a store of yours sold on each day, and how fast its API answered."""
        async with master.transaction(claims, read_only=True) as db:
            await get_store(db, store_id)
            sales = await list_analytics(db, store_id, days)
            performance = await list_performance(db, store_id, days)
        return answer({"days": sales, "performance": performance})

    @router.get("/platform/revenue", responses={200: {"model": Revenue}})
    async def show_revenue(
        claims: user, months: Annotated[int, Query(ge=1, le=120)] = 12
    ) -> Response:
        """What the platform invoiced by month and plan; for staff."""
        _verify_staff(claims)
        async with master.transaction(claims, read_only=True) as db:
            return answer({"months": await list_revenue(db, months)})

    @router.get("/platform/statistics", responses={200: {"model": Statistics}})
    async def show_statistics(claims: user, days: Days = 30) -> Response:
        """What all stores used by day; for staff."""
        _verify_staff(claims)
        async with master.transaction(claims, read_only=True) as db:
            return answer({"days": await list_statistics(db, days)})

    return router


def _verify_staff(claims: Claims) -> None:
    if claims.app_role not in {"staff", "admin"}:
        raise Forbidden
