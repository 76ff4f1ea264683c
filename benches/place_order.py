"""place_order over three databases against the same statements in bare asyncpg transactions.

The bare side writes no markers, no saga record and no events, and could not recover from a crash:
open the order and hold the stock side by side, charge, settle; three transactions, three commits.
Both charge through the same local payment company. The aim is at most 1.5 times the bare time.

    python benches/place_order.py [--seconds 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
from decimal import Decimal
from typing import Any

import asyncpg
import uvloop
from shop import fill_catalogue, make_draft, measure_rate, median, open_shop, quantile_ms

from bulkhead.apps.commerce.sagas import PLACE_ORDER
from bulkhead.engine.connections.admin import url_of
from bulkhead.engine.ids import new_id
from bulkhead.engine.system import System

OPEN = "select order_id, state, code, summary from private.open_orders($1::jsonb)"
RESERVE = "select order_id, state, short from private.reserve_stock($1::jsonb)"
SETTLE = (
    "select order_id, attempt_no, state, attempt_state, changed, refund_id, summary"
    " from private.settle_orders($1::jsonb)"
)


async def main(seconds: float, rounds: int) -> None:
    """Measure and print."""
    async with open_shop(pool_size=40, server_connections=150) as system:
        variants = await fill_catalogue(system)
        print(
            f"{'carts':16}{'clients':>8}{'bare/s':>10}{'saga/s':>10}{'ratio':>8}   saga p50/p99 ms"
        )
        for carts, choice in (("random", variants), ("same two SKUs", variants[:2])):
            for clients in (1, 8, 32):
                bare, saga, times = [], [], []  # type: list[float], list[float], list[float]
                for _ in range(rounds):
                    bare.append(await run_bare(system, clients, seconds, choice))
                    rate, took = await run_saga(system, clients, seconds, choice)
                    saga.append(rate)
                    times += took
                ratio = median([b / s for b, s in zip(bare, saga, strict=True)])
                print(
                    f"{carts:16}{clients:8}{median(bare):10.0f}{median(saga):10.0f}{ratio:8.2f}"
                    f"   {quantile_ms(times, 0.5):.2f}/{quantile_ms(times, 0.99):.2f}"
                )


async def run_saga(
    system: System, clients: int, seconds: float, variants: list[str]
) -> tuple[float, list[float]]:
    """Orders per second through the saga."""
    saga = system.sagas.saga(PLACE_ORDER)

    async def place() -> None:
        order_id = new_id()
        answer = await system.sagas.run(
            saga,
            order_id,
            make_draft(order_id, variants),
            request_hash="bench",
            transient={"source": "tok_visa"},
        )
        assert answer["state"] == "confirmed"

    return await measure_rate(clients, seconds, place)


async def run_bare(system: System, clients: int, seconds: float, variants: list[str]) -> float:
    """Orders per second through bare transactions of as many connections as clients."""
    orders = await _pool(system, "orders", 2 * clients)
    products = await _pool(system, "products", clients)

    async def place() -> None:
        order_id = new_id()
        draft = make_draft(order_id, variants)
        hold = {"order_id": str(order_id), "ttl_s": 900, "lines": draft["items"]}
        async with asyncio.TaskGroup() as group:
            group.create_task(_transact(orders, OPEN, [draft]))
            group.create_task(_transact(products, RESERVE, [hold]))
        charge = await system.outside.payments.charge(
            f"{order_id}-1", Decimal("19.98"), "GBP", "tok_visa", {}
        )
        report = {
            "order_id": str(order_id),
            "attempt_no": 1,
            "outcome": "succeeded",
            "provider_ref": charge.provider_ref,
            "amount": "19.98",
            "currency": "GBP",
        }
        [settled] = await _transact(orders, SETTLE, [report])
        assert settled["state"] == "confirmed"

    rate, _ = await measure_rate(clients, seconds, place)
    await orders.close()
    await products.close()
    return rate


async def _pool(system: System, name: str, size: int) -> Any:  # noqa: ANN401
    async def become_service(connection: Any) -> None:  # noqa: ANN401
        await connection.execute("set role service_role")

    async def keep(_: Any) -> None:  # noqa: ANN401
        return None  # A bare pool need not wipe anything.

    url = url_of(system.database(name), "service")
    return await asyncpg.create_pool(
        url, min_size=size, max_size=size, init=become_service, reset=keep
    )


async def _transact(pool: Any, statement: str, items: list[Any]) -> Any:  # noqa: ANN401
    async with pool.acquire() as connection, connection.transaction():
        return await connection.fetch(statement, json.dumps(items))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    uvloop.run(main(options.seconds, options.rounds))
