"""Sends the planned orders and cancellations as HTTP requests, from several clients at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.demo.client import Answer, Client
from bulkhead.demo.plan import Action, Plan, PlannedCancellation, PlannedOrder
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.ids import derive_id

CHECKOUT = "/commerce/checkout"
REPEATED_OF = 20
"""One of so many requests is sent once more, as a client does that has not seen the answer."""
PLACED, OK, CONFLICT = 201, 200, 409
EXHAUSTED = "stock_exhausted"
SAME = ("order_id", "order_number", "state", "total", "code", "lines")
"""What must be the same in the answer to a repeated request."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Replay:
    """What came of it."""

    answers: dict[str, Answer] = field(default_factory=dict)
    """The answer to each order, by its key."""
    repeats: list[tuple[str, Answer]] = field(default_factory=list)
    """The second answer to some of them."""
    cancellations: dict[str, Answer | None] = field(default_factory=dict)
    """By invoice and order; None where there was nothing to cancel."""
    cancelled: set[str] = field(default_factory=set)
    """The keys of orders that were cancelled."""
    duration_s: float = 0.0

    @property
    def placed(self) -> set[str]:
        """The keys of the orders that were confirmed, whatever became of them later."""
        return {key for key, answer in self.answers.items() if answer.status == PLACED}

    @property
    def refused(self) -> dict[str, Answer]:
        """The orders that were refused because something was out of stock."""
        return {
            key: answer
            for key, answer in self.answers.items()
            if answer.status == CONFLICT and answer.code == EXHAUSTED
        }

    @property
    def failed(self) -> dict[str, Answer]:
        """The orders that got any other answer."""
        known = self.placed | self.refused.keys()
        return {key: answer for key, answer in self.answers.items() if key not in known}

    @property
    def differing(self) -> list[str]:
        """The keys of orders whose second answer is not like the first."""
        return [
            key
            for key, again in self.repeats
            if again.status != self.answers[key].status
            or _essence(again) != _essence(self.answers[key])
        ]

    @property
    def cancellations_failed(self) -> list[str]:
        """Cancellations that were refused."""
        return [
            name
            for name, answer in self.cancellations.items()
            if answer is not None and answer.status != OK
        ]


async def replay(
    address: tuple[str, int],
    plan: Plan,
    tokens: Mapping[str, str],
    *,
    clients: int,
    progress: Progress | None = None,
) -> Replay:
    """Replay `plan` from `clients` connections, each taking the next action when it is free.

    Actions begin in the order of the invoices. A cancellation waits for the answers to its orders,
    which others may still be waiting for. Raises OSError, TimeoutError.
    """
    result = Replay()
    work = _Work(plan, tokens, result, progress)
    began_s = monotonic_s()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_drive(Client(*address), work))
    result.duration_s = monotonic_s() - began_s
    return result


class _Work:
    """What the clients share."""

    def __init__(
        self, plan: Plan, tokens: Mapping[str, str], result: Replay, progress: Progress | None
    ) -> None:
        self.actions: Iterator[Action] = iter(plan.actions)
        self.total = len(plan.actions)
        self.tokens = tokens
        self.result = result
        self.progress = progress
        self.answered = {order.key: asyncio.Event() for order in plan.orders}
        self.done = 0

    def advance(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    def headers(self, email: str, **more: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[email]}", **more}


async def _drive(client: Client, work: _Work) -> None:
    async with client:
        for action in work.actions:
            if isinstance(action, PlannedOrder):
                await _place(client, work, action)
            else:
                await _cancel(client, work, action)
            work.advance()


async def _place(client: Client, work: _Work, order: PlannedOrder) -> None:
    headers = work.headers(order.email, **{"idempotency-key": order.key})
    body = render_checkout(order)
    answer = await client.settle("POST", CHECKOUT, body, headers)
    work.result.answers[order.key] = answer
    work.answered[order.key].set()
    if is_repeated(order.key):
        again = await client.settle("POST", CHECKOUT, body, headers)
        work.result.repeats.append((order.key, again))


async def _cancel(client: Client, work: _Work, cancellation: PlannedCancellation) -> None:
    for key in cancellation.orders:
        await work.answered[key].wait()
        answer = work.result.answers[key]
        name = f"{cancellation.invoice} of {key}"
        if answer.status != PLACED:
            work.result.cancellations[name] = None
            continue
        path = f"/commerce/orders/{answer.body['order_id']}/cancel"
        done = await client.settle("POST", path, {}, work.headers(cancellation.email))
        work.result.cancellations[name] = done
        if done.status == OK:
            work.result.cancelled.add(key)


def render_checkout(order: PlannedOrder) -> dict[str, Any]:
    """The request that places `order`; the data set has no addresses, so they say so."""
    return {
        "lines": [
            {"variant_id": str(variant_id), "quantity": quantity}
            for variant_id, quantity in order.lines
        ],
        "shipping_address": {
            "name": order.email.partition("@")[0],
            "line1": "not in the data",
            "city": "not in the data",
            "country": order.country,
        },
        "shipping_method": "pickup",
        "payment_source": "tok_visa",
        "expected_total": str(order.total),
        "note": order.note,
    }


def is_repeated(key: str) -> bool:
    """Whether the request with this key is sent twice; always the same ones."""
    return derive_id("demo.repeat", key).int % REPEATED_OF == 0


def _essence(answer: Answer) -> dict[str, Any]:
    return {name: answer.body.get(name) for name in SAME}
