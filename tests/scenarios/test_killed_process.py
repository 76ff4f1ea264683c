"""The whole application as a process of its own, killed while customers buy, and started again.

Nothing but starting it again repairs it: no command is run, no table is touched.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead.web.serving import find_port

CLIENTS = 4
ORDERS = 6
TRIES_MAX = 600
PAUSE_S = 0.1
UNSETTLED = {"saga_in_progress", "saga_pending"}
ADDRESS = {"name": "Ada", "line1": "1 Row", "city": "Bristol", "country": "GB"}


@dataclass
class Shop:
    """A home, and the process that serves it at the moment."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    answers: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, **environment: str) -> None:
        command = [sys.executable, "-m", "bulkhead", "--json", "--home", str(self.home)]
        self.process = await asyncio.to_thread(
            subprocess.Popen,
            [*command, "up", "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "BULKHEAD_LEASE_S": "1", **environment},  # noqa: TID251
        )
        async with httpx.AsyncClient() as http:
            for _ in range(TRIES_MAX):
                try:
                    if (await http.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    assert self.process.poll() is None, "it ended before it was up"
                await asyncio.sleep(PAUSE_S)
        pytest.fail("it did not come up")

    async def end(self, number: signal.Signals) -> None:
        assert self.process is not None, "started before"
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait)

    async def examine(self) -> int:
        """Run the doctor until it has nothing to complain of, for a bounded time."""
        command = [sys.executable, "-m", "bulkhead", "--json", "--home", str(self.home), "doctor"]
        for _ in range(30):
            done = await asyncio.to_thread(
                subprocess.run, command, stdout=subprocess.PIPE, check=False
            )
            findings = json.loads(done.stdout)
            if done.returncode == 0 and all(f["level"] in {"ok", "info"} for f in findings):
                return 0
            await asyncio.sleep(1)
        pytest.fail(str([f for f in findings if f["level"] not in {"ok", "info"}]))


@asynccontextmanager
async def open_shop(home: Path, **environment: str) -> AsyncIterator[Shop]:
    shop = Shop(home, find_port("127.0.0.1", 0))
    await shop.start(**environment)
    try:
        yield shop
    finally:
        if shop.process is not None and shop.process.poll() is None:
            await shop.end(signal.SIGTERM)


async def sign_in(shop: Shop) -> str:
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{shop.url}/commerce/auth/v1/token?grant_type=password",
            json={"email": "ada@example.com", "password": "harbour lights"},
        )
    token: str = answer.json()["access_token"]
    return token


async def find_variants(shop: Shop) -> list[str]:
    async with httpx.AsyncClient() as http:
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
    async with httpx.AsyncClient(timeout=20) as http:
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
    async with httpx.AsyncClient() as http:
        for status, told in shop.answers.values():
            assert status in {201, 409}, told
            if status == 201:
                path = f"/commerce/orders/{told['order_id']}"
                order = (await http.get(shop.url + path, headers=headers)).json()
                assert order["state"] == "confirmed"


async def test_a_shop_that_is_killed_under_load_gives_every_customer_an_answer(
    tmp_path: Path,
) -> None:
    async with open_shop(tmp_path / "home") as shop:
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
                await shop.end(signal.SIGKILL)
                await shop.start()
        assert len(shop.answers) == CLIENTS * ORDERS
        assert await shop.examine() == 0
        await verify_answers(shop, token)


@pytest.mark.parametrize(
    "point",
    [
        "saga.place_order.open_order.after",
        "saga.place_order.charge.after",
        "saga.place_order.settle.after",
        "relay.delivered",
    ],
)
async def test_a_process_that_dies_at_a_point_is_put_right_by_the_next(
    tmp_path: Path, point: str
) -> None:
    async with open_shop(tmp_path / "home", BULKHEAD_FAILPOINT=point) as shop:
        token, [variant, *_] = await sign_in(shop), await find_variants(shop)
        buying = asyncio.create_task(buy(shop, token, "once", variant))
        assert shop.process is not None, "started above"
        assert await asyncio.to_thread(shop.process.wait, 60) == 137
        await shop.start()
        await buying
        assert await shop.examine() == 0
        await verify_answers(shop, token)
