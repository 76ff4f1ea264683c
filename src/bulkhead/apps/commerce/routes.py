"""Requests that touch more than one database: checkout, payment, cancellation, webhooks."""

import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse

from bulkhead.apps.commerce.orders.checkout.model import (
    ATTEMPTS_MAX,
    CheckoutBody,
    OrderEnded,
    PaymentBody,
    PaymentDeclined,
    PaymentRefused,
    hash_request,
    parse_key,
)
from bulkhead.apps.commerce.orders.checkout.service import cancel_orders
from bulkhead.apps.commerce.orders.history.service import get_order, get_order_state
from bulkhead.apps.commerce.orders.pricing.model import PriceRules
from bulkhead.apps.commerce.sagas import PAY_ORDER, PLACE_ORDER, REFUND_PAYMENT
from bulkhead.apps.commerce.views import Quotes, draft_order
from bulkhead.capabilities.payments.provider import PaymentProvider
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import BulkheadError, Conflict, Unavailable
from bulkhead.engine.ids import derive_id
from bulkhead.engine.messaging.saga_errors import SagaInProgress, SagaPending
from bulkhead.engine.messaging.saga_runner import SagaRunner
from bulkhead.engine.ongoing import Ongoing, has_ended

ANSWER_S = 5.0
"""How long a customer waits for an answer at most, whatever hangs."""
READ_S = 3.0
"""How much of that is for reading; what is left is for looking for the answer of a first try."""

Json = dict[str, Any]
T = TypeVar("T")
SignedIn = Callable[..., Awaitable[Claims]]


class OrderNotCancellable(Conflict):
    """Order {order_id} is {state} and cannot be cancelled."""

    code = "order_not_cancellable"
    hint = "What has been sent can be returned."


@dataclass(slots=True, eq=False)
class Checkout:
    """What the requests below need."""

    orders: OpenDatabase
    products: OpenDatabase
    sagas: SagaRunner
    provider: PaymentProvider
    rules: PriceRules
    answer_s: float = ANSWER_S
    read_s: float = READ_S
    quotes: Quotes = field(init=False)
    ongoing: Ongoing = field(default_factory=Ongoing)

    def __post_init__(self) -> None:
        self.quotes = Quotes(self.products)

    async def place(self, claims: Claims, key: str, body: CheckoutBody) -> Json:
        """Place an order under its key; a repeat gets the first answer.

        Raises what `draft_order` raises, StockExhausted, CouponRefused, IdempotencyKeyReused,
        SagaInProgress, SagaPending, SagaUnanswered.
        """
        until_s = monotonic_s() + self.answer_s
        order_id = derive_id("commerce.order", claims.subject, key)
        hashed = hash_request(body.model_dump(mode="json"))
        draft = draft_order(
            self.orders,
            self.quotes,
            self.rules,
            claims,
            order_id,
            body,
            request_hash=hashed,
            provider=self.provider.name,
        )
        try:
            drafted = await self._read(draft, "The price of the order")
        except BulkheadError:
            # What the first request found may have changed since; its answer has not.
            found = await self.sagas.find_answer(
                self._saga(PLACE_ORDER), order_id, hashed, patience_s=until_s - monotonic_s()
            )
            if found is None:
                raise
            return found[0]  # type: ignore[no-any-return]
        answer: Json = await self.sagas.run(
            self._saga(PLACE_ORDER),
            order_id,
            drafted.to_json(),
            request_hash=hashed,
            transient={"source": body.payment_source},
            patience_s=until_s - monotonic_s(),
        )
        return answer

    async def pay(self, claims: Claims, key: str, order_id: UUID, body: PaymentBody) -> Json:
        """Try another card for an order that waits for its payment."""
        until_s = monotonic_s() + self.answer_s
        await self._read(self._verify_own(claims, order_id), "The order")
        answer: Json = await self.sagas.run(
            self._saga(PAY_ORDER),
            derive_id("commerce.payment", claims.subject, order_id, key),
            {"order_id": str(order_id), "provider": self.provider.name},
            request_hash=hash_request(str(order_id), body.model_dump(mode="json")),
            transient={"source": body.payment_source},
            patience_s=until_s - monotonic_s(),
        )
        return answer

    async def cancel(self, claims: Claims, order_id: UUID, reason: str) -> str:
        """Cancel an order that has not been sent, give its payment back; return it as JSON."""
        await self._verify_own(claims, order_id)
        async with self.orders.transaction(SERVICE) as tx:
            [ended] = await cancel_orders(tx, [order_id], reason=reason)
        if ended["state"] != "cancelled":
            raise OrderNotCancellable(order_id=order_id, state=ended["state"])
        if ended["refund_id"] is not None:
            await refund_payment(self.sagas, ended["refund_id"])
        async with self.orders.transaction(claims, read_only=True) as db:
            return await get_order(db, order_id)

    async def _verify_own(self, claims: Claims, order_id: UUID) -> None:
        """Pass for an order that the customer may see; raises NotFound."""
        async with self.orders.transaction(claims, read_only=True) as db:
            await get_order_state(db, order_id)

    async def _read(self, reading: Coroutine[Any, Any, T], what: str) -> T:
        """What is read before anything is written; raises Unavailable when a database hangs."""
        task = self.ongoing.begin(reading)
        if not await has_ended(task, monotonic_s() + self.read_s):
            raise Unavailable(what=what)
        return task.result()

    def _saga(self, name: str) -> Any:  # noqa: ANN401
        return self.sagas.saga(name)


async def refund_payment(sagas: SagaRunner, refund_id: UUID) -> None:
    """Carry out a refund that was asked for; it goes on in the background when it must.

    It does so, too, where another process is at it already.
    """
    saga = sagas.saga(REFUND_PAYMENT)
    saga_id = derive_id("commerce.refund", refund_id)
    try:
        await sagas.run(saga, saga_id, {"refund_id": str(refund_id)}, request_hash="refund")
    except (SagaPending, SagaInProgress):
        return


def routes(checkout: Checkout, signed_in: SignedIn) -> APIRouter:
    """The requests of customers that touch more than one database."""
    router = APIRouter(tags=["checkout"])
    user = Annotated[Claims, Depends(signed_in)]
    idempotency_key = Annotated[str | None, Header(alias="Idempotency-Key")]

    @router.post("/checkout", status_code=201)
    async def place_order(
        body: CheckoutBody, claims: user, key: idempotency_key = None
    ) -> JSONResponse:
        """Place an order: hold its stock, charge it, confirm it."""
        order_id = derive_id("commerce.order", claims.subject, parse_key(key))
        try:
            return answer(await checkout.place(claims, parse_key(key), body))
        except SagaPending:
            return pending(order_id)

    @router.post("/orders/{order_id}/payments", status_code=201)
    async def pay_order(
        order_id: UUID, body: PaymentBody, claims: user, key: idempotency_key = None
    ) -> JSONResponse:
        """Try another card for an order whose payment was declined."""
        try:
            return answer(await checkout.pay(claims, parse_key(key), order_id, body))
        except SagaPending:
            return pending(order_id)

    @router.post("/orders/{order_id}/cancel")
    async def cancel_order(order_id: UUID, claims: user) -> JSONResponse:
        """Cancel an order that has not been sent, and give its payment back."""
        order = await checkout.cancel(claims, order_id, "cancelled by the customer")
        return JSONResponse(json.loads(order))

    return router


def webhook_routes(
    provider: PaymentProvider, receive: Callable[[Any], Awaitable[str]]
) -> APIRouter:
    """Where the payment company tells what happened; believed only with its signature."""
    router = APIRouter(tags=["webhooks"])

    @router.post("/webhooks/payments")
    async def receive_payment_event(request: Request) -> JSONResponse:
        """Take in an event: once, however often and in whatever order it comes."""
        event = provider.verify_webhook(request.headers, await request.body())
        return JSONResponse({"outcome": await receive(event)})

    return router


def answer(settled: Json) -> JSONResponse:
    """What a customer is told of a settled order; raises the refusals of payments."""
    order = {
        name: settled.get(name)
        for name in ("order_id", "order_number", "state", "total", "currency", "created_at")
    }
    if settled["state"] == "confirmed":
        location = f"/commerce/orders/{settled['order_id']}"
        return JSONResponse(order, 201, headers={"Location": location})
    if settled["attempt_state"] == "declined":
        left = ATTEMPTS_MAX - settled["attempt_no"]
        kind = PaymentDeclined if left > 0 and settled["state"] == "pending" else PaymentRefused
        raise kind(**order, decline_code=settled.get("decline_code"), attempts_left=left)
    raise OrderEnded(**order)


def pending(order_id: UUID) -> JSONResponse:
    """What a customer is told while nobody knows whether the card was charged."""
    location = f"/commerce/orders/{order_id}"
    body = {"order_id": str(order_id), "state": "pending"}
    return JSONResponse(body, 202, headers={"Location": location, "Retry-After": "2"})
