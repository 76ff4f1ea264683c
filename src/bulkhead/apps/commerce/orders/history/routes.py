"""Requests about orders that exist: a customer's own, and for staff all of them."""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict

from bulkhead.apps.commerce.orders.history.service import get_order, list_orders, move_order
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import Forbidden, Invalid

PAGE_MAX = 100


class StatusBody(BaseModel):
    """How an order moves on."""

    model_config = ConfigDict(extra="forbid")
    status: Literal["shipped", "delivered"]


def routes(orders: OpenDatabase, signed_in: Callable[..., Awaitable[Claims]]) -> APIRouter:
    """List and show orders; let staff move them on."""
    router = APIRouter(prefix="/orders", tags=["orders"])
    user = Annotated[Claims, Depends(signed_in)]

    @router.get("")
    async def list_own_orders(
        claims: user,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    ) -> Response:
        """List your orders, newest first; `next` is the cursor of the following page."""
        assert claims.subject is not None, "a signed-in user has a subject"
        before = None if cursor is None else parse_cursor(cursor)
        async with orders.transaction(claims, read_only=True) as db:
            page = await list_orders(db, claims.subject, before=before, limit=limit)
        following = json.dumps(next_cursor(page, limit))
        return _json(f'{{"orders":{page},"next":{following}}}')

    @router.get("/{order_id}")
    async def show_order(order_id: UUID, claims: user) -> Response:
        """Show one of your orders with its lines, payments, refunds and parcels."""
        async with orders.transaction(claims, read_only=True) as db:
            return _json(await get_order(db, order_id))

    @router.post("/{order_id}/status")
    async def set_status(order_id: UUID, body: StatusBody, claims: user) -> Response:
        """Let an order become shipped or delivered; for staff."""
        if claims.app_role not in {"staff", "admin"}:
            raise Forbidden
        async with orders.transaction(SERVICE) as tx:
            await move_order(tx, order_id, body.status)
        async with orders.transaction(claims, read_only=True) as db:
            return _json(await get_order(db, order_id))

    return router


def parse_cursor(text: str) -> tuple[dt.datetime, UUID]:
    """Read a cursor; raises Invalid for one that this server did not give out."""
    try:
        created_at, order_id = base64.urlsafe_b64decode(text.encode()).decode().split(" ")
        instant = dt.datetime.fromisoformat(created_at)
        if instant.tzinfo is None:
            raise Invalid(reason="the cursor is not one of ours")
        return instant, UUID(order_id)
    except (ValueError, binascii.Error) as error:
        raise Invalid(reason="the cursor is not one of ours") from error


def next_cursor(page: str, limit: int) -> str | None:
    """The cursor after a page, None when it was the last."""
    orders = json.loads(page)
    if len(orders) < limit:
        return None
    last = orders[-1]
    return base64.urlsafe_b64encode(f"{last['created_at']} {last['id']}".encode()).decode()


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
