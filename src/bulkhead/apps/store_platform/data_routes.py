"""The API of a store's data: every call is counted in the master, then carried out in the store."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from bulkhead.apps.store_platform.master.metering.model import Admitted, Call, Outcome
from bulkhead.apps.store_platform.master.metering.service import Gate, count_update
from bulkhead.apps.store_platform.store.records import service as records
from bulkhead.apps.store_platform.store.resources import (
    PAGE_MAX,
    PRODUCTS,
    RESOURCES,
    Resource,
    describe,
    describe_order,
    describe_orders,
    describe_stock,
)
from bulkhead.apps.store_platform.store.sales import service as sales
from bulkhead.apps.store_platform.store.sales.model import OrderBody, StateBody
from bulkhead.apps.store_platform.views import Stores
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.errors import BulkheadError, Invalid, NotFound
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import derive_id, new_id
from bulkhead.http.answers import answer, parse_cursor, render_cursor
from bulkhead.http.texts import Shown, ShownLine

KEY_CHARACTERS_MAX = 255
STAFF = frozenset({"staff", "admin"})
_LIST_PARAMETERS = frozenset({"cursor", "limit"})

SignedIn = Callable[..., Awaitable[Claims]]
Responses = dict[int | str, dict[str, Any]]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=KEY_CHARACTERS_MAX,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$",
    ),
]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


class CategoriesBody(BaseModel):
    """The categories in which a product stands, the most important first."""

    model_config = ConfigDict(extra="forbid")
    categories: Annotated[list[UUID], Field(max_length=100)]


class StockBody(BaseModel):
    """So many more of a product, or fewer when it is below zero."""

    model_config = ConfigDict(extra="forbid")
    quantity: Annotated[int, Field(ge=-1_000_000, le=1_000_000, strict=True)]
    location: Annotated[str, Field(min_length=1, max_length=60), ShownLine] = "main"
    note: Annotated[str, Field(max_length=500), Shown] | None = None


@dataclass(frozen=True, slots=True)
class DataApi:
    """What the routes below need."""

    stores: Stores
    gate: Gate

    @asynccontextmanager
    async def call(self, request: Request, claims: Claims, store: UUID) -> AsyncIterator[Admitted]:
        """Carry a call out inside the block: counted before, and its ending noted after.

        Raises NotFound for a store of somebody else, PlanLimitReached, and what
        `Admitted.verify_served` raises.
        """
        admitted = await self.gate.admit(_call_of(request, claims, store))
        started_s = monotonic_s()
        status, error = 500, None
        try:
            admitted.verify_served(request.method)
            yield admitted
            status = 200
        except BulkheadError as refused:
            status, error = refused.status, refused.code
            raise
        finally:
            ms = round((monotonic_s() - started_s) * 1000)
            self.gate.finish(Outcome(admitted, status, ms, error))

    async def list_rows(
        self, store: UUID, resource: Resource, request: Request, after: UUID | None, limit: int
    ) -> dict[str, Any]:
        """A page of rows with the cursor of the next one; raises Invalid for unknown filters."""
        given = {k: v for k, v in request.query_params.items() if k not in _LIST_PARAMETERS}
        filters = resource.parse_filters(given)
        async with self.stores.fleet.connection(TenantId(store)) as db:
            rows, following = await records.list_records(
                db, resource, filters, after=after, limit=limit
            )
        return {resource.name.replace("-", "_"): rows, "next": following}


def routes(api: DataApi, signed_in: SignedIn) -> APIRouter:
    """Everything that is in a store."""
    router = APIRouter(prefix="/stores/{store_id}", tags=["store data"])
    for resource in RESOURCES:
        _add_reads(router, api, signed_in, resource)
        _add_writes(router, api, signed_in, resource)
    _add_reads(router, api, signed_in, PRODUCTS)
    _add_products(router, api, signed_in)
    _add_stock(router, api, signed_in)
    _add_orders(router, api, signed_in)
    return router


def _add_reads(router: APIRouter, api: DataApi, signed_in: SignedIn, resource: Resource) -> None:
    user = Annotated[Claims, Depends(signed_in)]

    async def list_rows(
        request: Request,
        store_id: UUID,
        claims: user,
        cursor: UUID | None = None,
        limit: Limit = 50,
    ) -> Response:
        async with api.call(request, claims, store_id):
            return answer(await api.list_rows(store_id, resource, request, cursor, limit))

    async def show_row(request: Request, store_id: UUID, row_id: UUID, claims: user) -> Response:
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.connection(TenantId(store_id)) as db,
        ):
            return answer(await records.get_record(db, resource.table, row_id))

    name = resource.table.name
    router.add_api_route(
        f"/{resource.name}",
        list_rows,
        summary=f"List {resource.title}, the newest first",
        operation_id=f"list_{name}",
        responses={200: {"model": resource.page}},
        openapi_extra={"parameters": resource.describe_filters()},
    )
    router.add_api_route(
        f"/{resource.name}/{{row_id}}",
        show_row,
        summary=f"Show one of the {resource.title}",
        operation_id=f"show_{name}",
        responses={200: {"model": resource.row}},
    )


def _add_writes(router: APIRouter, api: DataApi, signed_in: SignedIn, resource: Resource) -> None:
    user = Annotated[Claims, Depends(signed_in)]
    table, name = resource.table, resource.table.name

    async def add_row(request: Request, store_id: UUID, body: BaseModel, claims: user) -> Response:
        async with api.call(request, claims, store_id):
            async with api.stores.fleet.transaction(TenantId(store_id)) as db:
                row = await records.add_record(db, table, new_id(), values_of(body))
            return answer(row, 201, {"Location": f"{request.url.path}/{row['id']}"})

    async def change_row(
        request: Request, store_id: UUID, row_id: UUID, body: BaseModel, claims: user
    ) -> Response:
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.transaction(TenantId(store_id)) as db,
        ):
            return answer(await records.change_record(db, table, row_id, values_of(body)))

    async def delete_row(request: Request, store_id: UUID, row_id: UUID, claims: user) -> Response:
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.transaction(TenantId(store_id)) as db,
        ):
            if not await records.delete_record(db, table, row_id):
                raise NotFound(what=f"{resource.title.capitalize()} {row_id}")
            return Response(status_code=204)

    _take(add_row, resource.create)
    _take(change_row, resource.change)
    rows, row, title = f"/{resource.name}", f"/{resource.name}/{{row_id}}", resource.title
    for verb, method, path, endpoint, status, summary in (
        ("add", "POST", rows, add_row, 201, f"Add to the {title}"),
        ("change", "PATCH", row, change_row, 200, f"Change one of the {title}"),
        ("delete", "DELETE", row, delete_row, 204, f"Delete one of the {title}"),
    ):
        router.add_api_route(
            *(path, endpoint),
            methods=[method],
            status_code=status,
            summary=summary,
            operation_id=f"{verb}_{name}",
            responses={} if status == 204 else {status: {"model": resource.row}},  # noqa: PLR2004
        )


def _add_products(router: APIRouter, api: DataApi, signed_in: SignedIn) -> None:
    user = Annotated[Claims, Depends(signed_in)]

    async def add_product(
        request: Request, store_id: UUID, body: BaseModel, claims: user
    ) -> Response:
        """Add a product, within what the plan of the store allows."""
        async with api.call(request, claims, store_id):
            row = await api.stores.add_product(store_id, new_id(), values_of(body))
            return answer(row, 201, {"Location": f"{request.url.path}/{row['id']}"})

    async def change_product(
        request: Request, store_id: UUID, product_id: UUID, body: BaseModel, claims: user
    ) -> Response:
        """Change a product."""
        async with api.call(request, claims, store_id):
            async with api.stores.fleet.transaction(TenantId(store_id)) as db:
                row = await records.change_record(db, PRODUCTS.table, product_id, values_of(body))
            async with api.stores.master.transaction(SERVICE) as tx:
                await count_update(tx, store_id)
            return answer(row)

    async def delete_product(
        request: Request, store_id: UUID, product_id: UUID, claims: user
    ) -> Response:
        """Delete a product, with its variants, prices and stock."""
        async with api.call(request, claims, store_id):
            await api.stores.delete_product(store_id, product_id)
            return Response(status_code=204)

    _take(add_product, PRODUCTS.create)
    _take(change_product, PRODUCTS.change)
    path = "/products/{product_id}"
    shown = {"model": PRODUCTS.row}
    router.post("/products", status_code=201, responses={201: shown})(add_product)
    router.patch(path, responses={200: shown})(change_product)
    router.add_api_route(path, delete_product, methods=["DELETE"], status_code=204)


def _add_stock(router: APIRouter, api: DataApi, signed_in: SignedIn) -> None:
    user = Annotated[Claims, Depends(signed_in)]
    stock: Responses = {200: {"model": describe_stock()}}
    categories: Responses = {200: {"model": describe("ProductCategories", categories=list[UUID])}}

    @router.put("/products/{product_id}/categories", responses=categories)
    async def set_categories(
        request: Request, store_id: UUID, product_id: UUID, body: CategoriesBody, claims: user
    ) -> Response:
        """Let a product stand in just these categories."""
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.transaction(TenantId(store_id)) as db,
        ):
            await records.set_categories(db, product_id, body.categories)
            return answer({"categories": await records.list_categories(db, product_id)})

    @router.get("/products/{product_id}/categories", responses=categories)
    async def show_categories(
        request: Request, store_id: UUID, product_id: UUID, claims: user
    ) -> Response:
        """The categories in which a product stands."""
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.connection(TenantId(store_id)) as db,
        ):
            await records.get_record(db, PRODUCTS.table, product_id)
            return answer({"categories": await records.list_categories(db, product_id)})

    @router.get("/products/{product_id}/inventory", responses=stock)
    async def show_stock(
        request: Request, store_id: UUID, product_id: UUID, claims: user
    ) -> Response:
        """How many of a product are where."""
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.connection(TenantId(store_id)) as db,
        ):
            await records.get_record(db, PRODUCTS.table, product_id)
            return answer({"inventory": await records.list_stock(db, product_id)})

    @router.post("/products/{product_id}/inventory", responses=stock)
    async def move_stock(
        request: Request, store_id: UUID, product_id: UUID, body: StockBody, claims: user
    ) -> Response:
        """Put goods into stock, or take them out."""
        async with api.call(request, claims, store_id):
            if body.quantity == 0:
                raise Invalid(reason="quantity must not be 0")
            kind = "receipt" if body.quantity > 0 else "correction"
            async with api.stores.fleet.transaction(TenantId(store_id)) as db:
                await records.move_stock(
                    db,
                    product_id,
                    body.quantity,
                    kind=kind,
                    location=body.location,
                    note=body.note,
                )
                return answer({"inventory": await records.list_stock(db, product_id)})


def _add_orders(router: APIRouter, api: DataApi, signed_in: SignedIn) -> None:
    user = Annotated[Claims, Depends(signed_in)]

    @router.post("/orders", status_code=201, responses={201: {"model": describe_order()}})
    async def place_order(
        request: Request,
        store_id: UUID,
        body: OrderBody,
        claims: user,
        key: IdempotencyKey = None,
    ) -> Response:
        """Place an order against the stock; the same Idempotency-Key is the same order.

        A repeat gets the order as it is by then. Another body with the key is refused.
        """
        async with api.call(request, claims, store_id) as store:
            order = new_id() if key is None else derive_id("store.order", store_id, key)
            row = await api.stores.place_order(store_id, order, body, store.currency, key)
            return answer(row, 201, {"Location": f"{request.url.path}/{order}"})

    @router.get("/orders", responses={200: {"model": describe_orders()}})
    async def list_orders(
        request: Request,
        store_id: UUID,
        claims: user,
        state: Annotated[str | None, Query(max_length=20)] = None,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        limit: Limit = 50,
    ) -> Response:
        """List orders, the newest first."""
        async with api.call(request, claims, store_id):
            before = parse_cursor(cursor)
            async with api.stores.fleet.connection(TenantId(store_id)) as db:
                rows = await sales.list_orders(db, state=state, before=before, limit=limit)
            last = rows[-1] if len(rows) == limit else None
            following = last and render_cursor(last["placed_at"], last["id"])
            return answer({"orders": rows, "next": following})

    @router.get("/orders/{order_id}", responses={200: {"model": describe_order()}})
    async def show_order(
        request: Request, store_id: UUID, order_id: UUID, claims: user
    ) -> Response:
        """Show an order with its items."""
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.connection(TenantId(store_id)) as db,
        ):
            return answer(await sales.get_order(db, order_id))

    @router.post("/orders/{order_id}/state", responses={200: {"model": describe_order()}})
    async def move_order(
        request: Request, store_id: UUID, order_id: UUID, body: StateBody, claims: user
    ) -> Response:
        """Let an order move on; what is cancelled goes back into stock."""
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.transaction(TenantId(store_id)) as db,
        ):
            await sales.move_order(db, order_id, body.state)
            return answer(await sales.get_order(db, order_id))


def values_of(body: BaseModel) -> dict[str, Any]:
    """What a client has said, and nothing that it has not."""
    return {name: getattr(body, name) for name in body.model_fields_set}


def _take(endpoint: Callable[..., Any], body: type[BaseModel]) -> None:
    """Let `endpoint` take a body of a model that was made while the program runs."""
    endpoint.__annotations__["body"] = body


def _call_of(request: Request, claims: Claims, store: UUID) -> Call:
    route = request.scope.get("route")
    return Call(
        new_id(),
        store,
        claims.subject,
        claims.app_role in STAFF,
        getattr(route, "path", request.url.path),
        request.method,
        request.client.host if request.client is not None else None,
        request.headers.get("user-agent"),
    )
