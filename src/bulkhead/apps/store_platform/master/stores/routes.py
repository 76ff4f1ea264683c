"""Requests about stores themselves: made, listed, changed by their owners."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from bulkhead.apps.store_platform.master.audit.service import list_entries
from bulkhead.apps.store_platform.master.integrations.service import list_integrations
from bulkhead.apps.store_platform.master.stores.model import (
    AuditEntries,
    ConnectedStore,
    Store,
    StoreBody,
    StoreChange,
    StoresPage,
)
from bulkhead.apps.store_platform.master.stores.service import (
    change_store,
    create_store,
    get_store,
    list_stores,
)
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.ids import new_id
from bulkhead.http.answers import answer, parse_cursor, render_cursor

PAGE_MAX = 100


def routes(  # noqa: PLR0915 - four short routes
    master: OpenDatabase, signed_in: Callable[..., Awaitable[Claims]]
) -> APIRouter:
    """Make, list, show and change stores."""
    router = APIRouter(prefix="/stores", tags=["stores"])
    user = Annotated[Claims, Depends(signed_in)]

    @router.post("", status_code=201, responses={201: {"model": Store}})
    async def create(body: StoreBody, claims: user) -> Response:
        """Make a store with the free plan; `POST /provision` gives it its database."""
        store = new_id()
        assert claims.subject is not None, "a signed-in user has a subject"
        async with master.transaction(SERVICE) as tx:
            await create_store(tx, store, claims.subject, body, clock.now())
        async with master.transaction(claims, read_only=True) as db:
            found = await get_store(db, store)
        return answer(found, 201, {"Location": f"/store_platform/stores/{store}"})

    @router.get("", responses={200: {"model": StoresPage}})
    async def list_own(
        claims: user,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    ) -> Response:
        """List your stores, for staff all of them, the newest first."""
        before = parse_cursor(cursor)
        async with master.transaction(claims, read_only=True) as db:
            page = await list_stores(db, before=before, limit=limit)
        last = page[-1] if len(page) == limit else None
        following = last and render_cursor(last["created_at"], last["id"])
        return answer({"stores": page, "next": following})

    @router.get("/{store_id}", responses={200: {"model": ConnectedStore}})
    async def show(store_id: UUID, claims: user) -> Response:
        """Show one of your stores with what it is connected to."""
        async with master.transaction(claims, read_only=True) as db:
            store = await get_store(db, store_id)
            integrations = await list_integrations(db, store_id)
        return answer({**store, "integrations": integrations})

    @router.patch("/{store_id}", responses={200: {"model": Store}})
    async def change(store_id: UUID, body: StoreChange, claims: user) -> Response:
        """Change name or address of a store, switch it on or off, publish it."""
        async with master.transaction(claims, read_only=True) as db:
            await get_store(db, store_id)
        async with master.transaction(SERVICE) as tx:
            await change_store(tx, store_id, body, actor=claims.subject)
        async with master.transaction(claims, read_only=True) as db:
            return answer(await get_store(db, store_id))

    _add_audit(router, master, signed_in)
    return router


def _add_audit(
    router: APIRouter, master: OpenDatabase, signed_in: Callable[..., Awaitable[Claims]]
) -> None:
    user = Annotated[Claims, Depends(signed_in)]

    @router.get("/{store_id}/audit", responses={200: {"model": AuditEntries}})
    async def show_audit(
        store_id: UUID,
        claims: user,
        before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    ) -> Response:
        """What was done to one of your stores, the newest first."""
        async with master.transaction(claims, read_only=True) as db:
            await get_store(db, store_id)
        async with master.transaction(SERVICE, read_only=True) as db:
            entries = await list_entries(db, store_id, before=before or 2**62)
        return answer({"entries": entries})
