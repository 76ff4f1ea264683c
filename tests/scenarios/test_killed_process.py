"""The whole application as a process of its own, killed while customers buy, and started again.

Nothing but starting it again repairs it: no command is run, no table is touched.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.plain_http import TRUSTS_NOBODY
from tests.scenarios.process import PAUSE_S, TRIES_MAX, Process, folder_of_homes, open_process

CLIENTS = 4
ORDERS = 6
WAIT_S = 20.0
"""For one answer at most, however slow the machine is."""
POINTS = (
    "relay.delivered",
    "saga.place_order.settle.after",
    "saga.place_order.charge.after",
    "saga.place_order.open_order.after",
)
"""From the end of an order to its beginning: who finishes one order passes none that follow."""
UNSETTLED = {"saga_in_progress", "saga_pending"}
ADDRESS = {"name": "Ada", "line1": "1 Row", "city": "Bristol", "country": "GB"}


@dataclass
class Shop:
    """The process, and what it has answered."""

    process: Process
    answers: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.process.url


@pytest.fixture(scope="module")
async def process() -> AsyncIterator[Process]:
    """The application with its sample; tests bring orders of their own."""
    with folder_of_homes() as folder:
        async with open_process(folder / "home") as process:
            yield process


@pytest.fixture
async def shop(process: Process) -> Shop:
    """Started again where a test that failed has left nothing running."""
    assert process.process is not None, "started by the fixture"
    if process.process.poll() is not None:
        await process.start()
    return Shop(process)


async def sign_in(shop: Shop) -> str:
    async with httpx.AsyncClient(timeout=WAIT_S, verify=TRUSTS_NOBODY) as http:
        answer = await http.post(
            f"{shop.url}/commerce/auth/v1/token?grant_type=password",
            json={"email": "ada@example.com", "password": "harbour lights"},
        )
    token: str = answer.json()["access_token"]
    return token


async def find_variants(shop: Shop) -> list[str]:
    async with httpx.AsyncClient(timeout=WAIT_S, verify=TRUSTS_NOBODY) as http:
        answer = await http.get(f"{shop.url}/commerce/products?limit=20&in_stock=true")
    return [item["variants"][0]["id"] for item in answer.json()["items"]]


async def buy(shop: Shop, token: str, key: str, variant: str) -> None:
    """Send one order, with the same key until there is an answer that stays."""
    body = {
        "lines": [{"variant_id": variant, "quantity": 1}],
        "shipping_address": ADDRESS,
        "payment_source": "tok_visa",
    }
    headers = {"authorization": f"Bearer {token}", "idempotency-key": key}
    async with httpx.AsyncClient(timeout=WAIT_S, verify=TRUSTS_NOBODY) as http:
        for _ in range(TRIES_MAX):
            try:
                answer = await http.post(
                    f"{shop.url}/commerce/checkout", json=body, headers=headers
                )
            except httpx.TransportError:
                await asyncio.sleep(PAUSE_S)
                continue
            told = answer.json()
            settled = answer.status_code < 500 and answer.status_code != 202
            if settled and told.get("code") not in UNSETTLED:
                shop.answers[key] = (answer.status_code, told)
                return
            await asyncio.sleep(PAUSE_S)
    pytest.fail(f"{key} never got an answer")


async def verify_answers(shop: Shop, token: str) -> None:
    """Whoever was told that the order stands finds it confirmed."""
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(timeout=WAIT_S, verify=TRUSTS_NOBODY) as http:
        for status, told in shop.answers.values():
            assert status in {201, 409}, told
            if status == 201:
                path = f"/commerce/orders/{told['order_id']}"
                order = (await http.get(shop.url + path, headers=headers)).json()
                assert order["state"] == "confirmed"


async def test_a_process_that_dies_at_a_point_is_put_right_by_the_next(shop: Shop) -> None:
    token, [variant, *_] = await sign_in(shop), await find_variants(shop)
    await shop.process.end(signal.SIGKILL)
    await shop.process.start(BULKHEAD_FAILPOINT=POINTS[0])
    for point, following in zip(POINTS, [*POINTS[1:], None], strict=True):
        buying = asyncio.create_task(buy(shop, token, point, variant))
        await shop.process.killed_itself()
        armed = {} if following is None else {"BULKHEAD_FAILPOINT": following}
        await shop.process.start(**armed)
        await buying
    assert set(shop.answers) == set(POINTS)
    await shop.process.examine("commerce")
    await verify_answers(shop, token)


async def test_a_shop_that_is_killed_under_load_gives_every_customer_an_answer(
    shop: Shop,
) -> None:
    token, variants = await sign_in(shop), await find_variants(shop)

    async def shopper(number: int) -> None:
        for turn in range(ORDERS):
            variant = variants[(number + turn) % len(variants)]
            await buy(shop, token, f"{number}-{turn}", variant)

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(shopper(number))
        for served in (3, 10):
            for _ in range(TRIES_MAX):
                if len(shop.answers) >= served:
                    break
                await asyncio.sleep(0.01)
            await shop.process.end(signal.SIGKILL)
            await shop.process.start()
    assert len(shop.answers) == CLIENTS * ORDERS
    await shop.process.examine("commerce")
    await verify_answers(shop, token)
