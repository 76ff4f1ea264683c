"""The store platform as a process of its own, killed at its work, and started again.

Nothing but starting it again repairs it. What is left to the sweep, which waits for two minutes,
is swept at once.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.plain_http import TRUSTS_NOBODY
from tests.scenarios.process import PAUSE_S, TRIES_MAX, Process, folder_of_homes, open_process

from bulkhead.apps.store_platform.application import APPLICATION
from bulkhead.apps.store_platform.views import Stores
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, open_system

EMAIL, PASSWORD = "owner@example.com", "harbour lights"
CLIENTS, ORDERS = 4, 5
ROLL_UPS = 3
POINTS = ["provisioning.open:after", "provisioning.seed:before", "provisioning.save:after"]
"""In the order in which a job comes to them; each is reached by the job that died at the last."""
ROLLING = """
import asyncio, sys
from pathlib import Path
from bulkhead.apps.store_platform.application import APPLICATION
from bulkhead.apps.store_platform.jobs import roll_up_stores
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import open_system

async def roll() -> None:
    settings = Settings(home=Path(sys.argv[1]))
    async with open_system(APPLICATION, settings, provision=False) as system:
        print("ready", flush=True)
        while True:
            await roll_up_stores(system)
            print("rolled", flush=True)

asyncio.run(roll())
"""


@dataclass
class Owner:
    """Who has stores, and repeats whatever got no answer."""

    process: Process
    token: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever an order stands."""

    async def sign_in(self) -> None:
        path = "/auth/v1/token?grant_type=password"
        told = await self.send("POST", path, {"email": EMAIL, "password": PASSWORD})
        self.token = told["access_token"]

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send until there is an answer that stays, and give it."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        url = f"{self.process.url}/store_platform{path}"
        async with httpx.AsyncClient(timeout=20, verify=TRUSTS_NOBODY) as http:
            for _ in range(TRIES_MAX):
                try:
                    answer = await http.request(method, url, json=body, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(PAUSE_S)
                    continue
                if answer.status_code < 500:
                    assert answer.status_code < 400, answer.text
                    return answer.json()
                await asyncio.sleep(PAUSE_S)
        pytest.fail(f"{method} {path} never got an answer")

    async def make_store(self) -> str:
        """A store with a plan that allows whatever a test does."""
        slug = f"shop-{new_id().hex[-12:]}"
        store: str = (await self.send("POST", "/stores", {"name": "Shop", "slug": slug}))["id"]
        plan = {"plan": "professional", "payment_source": "tok_visa"}
        await self.send("POST", f"/stores/{store}/subscription", plan)
        return store

    async def provision(self, store: str) -> str:
        """Ask for the database of a store; the job."""
        job: str = (await self.send("POST", "/provision", {"storeId": store}))["jobId"]
        return job

    async def wait(self, job: str) -> str:
        """How a job has ended."""
        for _ in range(TRIES_MAX):
            status: str = (await self.send("GET", f"/provision/{job}/status"))["status"]
            if status in {"active", "failed", "cancelled"}:
                return status
            await asyncio.sleep(PAUSE_S)
        pytest.fail(f"job {job} never ended")

    async def sellable(self, store: str) -> dict[str, Any]:
        """An order of one piece of something of which there are many."""
        path = f"/stores/{store}"
        body = {"sku": "T1", "slug": "t-1", "name": "Tea"}
        product = await self.send("POST", f"{path}/products", body)
        price = {"product_id": product["id"], "currency": "USD", "amount": "5"}
        await self.send("POST", f"{path}/prices", price)
        await self.send("POST", f"{path}/products/{product['id']}/inventory", {"quantity": 500})
        return {"email": "a@example.com", "lines": [{"product_id": product["id"], "quantity": 1}]}

    async def order(self, store: str, wish: dict[str, Any], key: str) -> None:
        """Place an order, with the same key until it stands."""
        path = f"/stores/{store}/orders"
        self.answers[key] = await self.send("POST", path, wish, idempotency_key=key)
        self.answered.set()


@pytest.fixture(scope="module")
async def owner() -> AsyncIterator[Owner]:
    with folder_of_homes() as folder:
        async with open_process(folder / "home", sample=False) as process:
            words = ("user", "create", "-a", "store_platform", EMAIL, "--password", PASSWORD)
            assert (await process.run(*words)).returncode == 0
            owner = Owner(process)
            await owner.sign_in()
            yield owner


@pytest.fixture
async def running(owner: Owner) -> Owner:
    """Started again where a test that failed has left nothing running."""
    assert owner.process.process is not None, "started by the fixture"
    if owner.process.process.poll() is not None:
        await owner.process.start()
    return owner


@asynccontextmanager
async def inside(owner: Owner) -> AsyncIterator[System]:
    """The platform beside the process, as the command line opens it."""
    settings = Settings(home=owner.process.home)
    async with open_system(APPLICATION, settings, provision=False) as system:
        yield system
        await system.outside.platform(system).close()


async def verify_nothing_left(system: System) -> None:
    """Databases, logins, secrets and keys are those of tenants and spares, and no others."""
    master = system.database("master")
    async with master.transaction(SERVICE) as tx:
        rows = await tx.fetch(
            """select database as name from bulkhead.fleet_tenants
            union all select name from bulkhead.fleet_spares"""
        )
        secrets = await tx.fetchval(
            """select count(*) from bulkhead.provisioning_jobs
            where finished_at is not null and sealed_config is not null"""
        )
        strangers = await tx.fetchval(
            """select count(*) from bulkhead.vault_keys k where k.state <> 'destroyed'
            and not exists (select from bulkhead.fleet_tenants t where t.id::text = k.tenant)"""
        )
    known = {row["name"] for row in rows}
    admin: Any = await master.driver.connect(master.spec, Login.ADMIN, timeout_s=10)
    try:
        made = await admin.fetch("select datname from pg_database where datname like 'stores\\_%'")
        roles = await admin.fetch(
            "select rolname from pg_roles where rolcanlogin and rolname like 'stores\\_%'"
        )
    finally:
        await admin.close()
    assert {row["datname"] for row in made} <= known
    logins = {DatabaseSpec(n, login_prefix=n).login(login) for n in known for login in Login}
    assert {row["rolname"] for row in roles} <= logins
    assert (secrets, strangers) == (0, 0)


async def verify_invariants(system: System) -> None:
    report = await run_invariants(system.router, APPLICATION.invariants)
    assert report.holds, str(report)


async def test_a_platform_that_dies_again_and_again_makes_a_database_in_the_end(
    running: Owner,
) -> None:
    owner = running
    stores = [await owner.make_store() for _ in range(2)]
    await owner.process.end(signal.SIGKILL)
    await owner.process.start(BULKHEAD_FAILPOINT=POINTS[0])
    # It may die before it answers, and whoever comes next does.
    asking = asyncio.create_task(owner.provision(stores[0]))
    await owner.process.killed_itself()
    for point in POINTS[1:]:
        await owner.process.start(BULKHEAD_FAILPOINT=point)
        await owner.process.killed_itself()
    await owner.process.start()
    jobs = [await asking]
    status = await owner.send("GET", f"/provision/{jobs[0]}/status")
    assert status["status"] in {"provisioning", "active"}, status
    # Whoever repeats the request, and whoever asks only now, is served.
    assert await owner.provision(stores[0]) == jobs[0]
    jobs.append(await owner.provision(stores[1]))
    assert [await owner.wait(job) for job in jobs] == ["active", "active"]
    for store in stores:
        assert (await owner.send("GET", f"/stores/{store}/products"))["products"] == []
    async with inside(owner) as system:
        await verify_nothing_left(system)
        await verify_invariants(system)


async def test_a_job_that_is_cancelled_while_nobody_is_there_leaves_nothing(
    running: Owner,
) -> None:
    owner = running
    await owner.process.end(signal.SIGKILL)
    await owner.process.start(BULKHEAD_FAILPOINT="provisioning.seed:before")
    store = await owner.make_store()
    asking = asyncio.create_task(owner.provision(store))
    await owner.process.killed_itself()
    asking.cancel()  # It may have died before it answered, and nobody asks again.
    await asyncio.wait([asking])
    async with inside(owner) as system:
        async with system.database("master").transaction(SERVICE) as tx:
            asked = "select id from bulkhead.provisioning_jobs where tenant = $1"
            job = await tx.fetchval(asked, UUID(store))
        await system.outside.platform(system).provisioning.cancel(job)
    await owner.process.start()
    assert await owner.wait(job) == "cancelled"
    async with inside(owner) as system:
        await verify_nothing_left(system)
        async with system.database("master").transaction(SERVICE) as tx:
            left = "select count(*) from bulkhead.fleet_tenants where id = $1"
            assert await tx.fetchval(left, store) == 0
        await verify_invariants(system)


async def test_a_platform_that_is_killed_under_orders_counts_each_once(running: Owner) -> None:
    owner = running
    store = await owner.make_store()
    assert await owner.wait(await owner.provision(store)) == "active"
    wish = await owner.sellable(store)
    owner.answers.clear()
    owner.answered.clear()

    async def customer(number: int) -> None:
        for turn in range(ORDERS):
            await owner.order(store, wish, f"{number}-{turn}")

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(customer(number))
        await owner.answered.wait()
        await owner.process.end(signal.SIGKILL)
        await owner.process.start(BULKHEAD_FAILPOINT="store.write:written:3")
        await owner.process.killed_itself()
        await owner.process.start()
    placed = CLIENTS * ORDERS
    assert len({order["id"] for order in owner.answers.values()}) == placed
    async with inside(owner) as system:
        platform = system.outside.platform(system)
        await Stores(platform.master, platform.fleet).sweep_holds(older_than_s=0)
        assert await figures(system, store) == {
            "placed": placed,
            "sold": placed,
            "counted": placed,
            "held": 0,
            "of the day": placed,
            "shown": placed,
            "worth": placed * 5,
        }
        await verify_invariants(system)


async def figures(system: System, store: str) -> dict[str, int]:
    """What the store has, and what the master has counted of it."""
    platform = system.outside.platform(system)
    tenant = TenantId(UUID(store))
    async with platform.fleet.connection(tenant) as db:
        placed = await db.fetch_value("select count(*) from orders")
        sold = await db.fetch_value("select 500 - sum(on_hand) from inventory")
    async with system.database("master").transaction(SERVICE) as tx:
        row = await tx.fetchrow(
            """select c.used as counted, c.held, s.order_count as shown,
                (select sum(orders_created) from usage_metrics m where m.store_id = s.id) as days,
                (select sum(orders_total_value) from usage_metrics m where m.store_id = s.id)
                  as worth
            from stores s join usage_counters c on c.store_id = s.id and c.metric = 'orders'
            where s.id = $1""",
            tenant,
        )
    assert row is not None, "it was counted"
    return {
        "placed": int(placed),
        "sold": int(sold),
        "counted": row["counted"],
        "held": row["held"],
        "of the day": row["days"],
        "shown": row["shown"],
        "worth": int(row["worth"]),
    }


async def test_roll_ups_that_are_killed_again_and_again_tell_what_was_sold(
    running: Owner,
) -> None:
    owner = running
    store = await owner.make_store()
    assert await owner.wait(await owner.provision(store)) == "active"
    wish = await owner.sellable(store)
    owner.answers.clear()
    chance = random.Random(7)  # noqa: S311
    for turn in range(ROLL_UPS):
        child = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-c", ROLLING, str(owner.process.home)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None, "piped"
        try:
            assert await asyncio.to_thread(child.stdout.readline) == b"ready\n"
            for number in range(3):
                await owner.order(store, wish, f"{turn}-{number}")
            await asyncio.sleep(chance.random() / 10)
        finally:
            child.kill()
            await asyncio.to_thread(child.communicate)
    async with inside(owner) as system:
        platform = system.outside.platform(system)
        await Stores(platform.master, platform.fleet).roll_up(UUID(store))
        await verify_invariants(system)
    days = (await owner.send("GET", f"/stores/{store}/analytics"))["days"]  # Two, at midnight.
    for figure, total in (("orders", 3), ("items_sold", 3), ("revenue", 15)):
        assert sum(float(day[figure]) for day in days) == ROLL_UPS * total
