"""Puts the demonstration together: a server of its own, a shop, the replay, the proofs."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.apps import load_application
from bulkhead.apps.commerce.application import people_of
from bulkhead.demo.client import Client
from bulkhead.demo.dataset import Dataset
from bulkhead.demo.plan import Plan, plan_replay
from bulkhead.demo.proofs import come_to_rest, prove_answers, prove_rest, prove_revenue
from bulkhead.demo.replay import Progress, replay
from bulkhead.demo.report import DemoReport
from bulkhead.demo.shop import QUERIES, load_customers, load_shop, sign_in_customers
from bulkhead.demo.sign_up import sign_up
from bulkhead.demo.site import running_site
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Conflict
from bulkhead.engine.system import open_system

if TYPE_CHECKING:
    from bulkhead.engine.system import System

SIGN_UPS = 12
"""How many customers sign up over HTTP; a client may sign up 30 in five minutes."""
CLIENTS = 8


class DemoHomeUsed(Conflict):
    """There are orders in '{home}' already."""

    code = "demo_home_used"
    hint = "Choose another folder with --home, or leave it out for a temporary one."


@dataclass(frozen=True, slots=True)
class Watcher:
    """Whom the demonstration tells how far it is, and how long its parts took."""

    step: Callable[[str], None] = lambda _text: None
    progress: Progress | None = None
    """Called with how many orders are done, and of how many."""
    times_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def watch(self, name: str, text: str) -> Iterator[None]:
        """Tell of a part and measure it."""
        self.step(text)
        began_s = monotonic_s()
        yield
        self.times_s[name] = monotonic_s() - began_s


async def run_demo(
    dataset: Dataset,
    *,
    home: Path | None = None,
    clients: int = CLIENTS,
    watcher: Watcher | None = None,
) -> DemoReport:
    """Replay `dataset` on a server of its own in `home`, or in a folder that is removed again.

    Raises DemoHomeUsed, DemoServerFailed, SignUpFailed and what the databases raise. What turns
    out wrong is not raised but stands in the report.
    """
    watcher = watcher or Watcher()
    async with AsyncExitStack() as stack:
        with watcher.watch("start", "Starting a server with databases of its own"):
            folder = await stack.enter_async_context(_folder(home))
            settings = await stack.enter_async_context(running_site(folder))
            system = await stack.enter_async_context(
                open_system(load_application("commerce"), settings, provision=False)
            )
        return await demonstrate(system, dataset, clients=clients, watcher=watcher)


async def demonstrate(
    system: System, dataset: Dataset, *, clients: int = CLIENTS, watcher: Watcher
) -> DemoReport:
    """Replay `dataset` at the address in the settings of `system`, and prove what came of it."""
    await _check_unused(system)
    address = (system.settings.host, system.settings.port)
    plan = plan_replay(dataset)
    with watcher.watch("shop", f"Writing {len(plan.variants):,} prices and their stock"):
        await load_shop(system.database("products"), plan)
    with watcher.watch("customers", f"Signing up {len(plan.customers):,} customers"):
        tokens = await _enter_customers(system, plan, address)
    with watcher.watch("replay", f"Replaying {len(plan.actions):,} orders and cancellations"):
        result = await replay(address, plan, tokens, clients=clients, progress=watcher.progress)
    with watcher.watch("rest", "Waiting until all events are delivered"):
        at_rest = await come_to_rest(system)
    with watcher.watch("proofs", "Proving"):
        proofs = [
            *prove_answers(plan, result),
            *await prove_revenue(system, plan, result),
            *await prove_rest(system, at_rest=at_rest),
        ]
    over_http = min(SIGN_UPS, len(plan.customers))
    return DemoReport(dataset, plan, result, over_http, clients, proofs, watcher.times_s)


async def _enter_customers(
    system: System, plan: Plan, address: tuple[str, int]
) -> Mapping[str, str]:
    """Sign some customers up as a browser would, write the others; a token for each."""
    customers = list(plan.customers.values())
    first, others = customers[:SIGN_UPS], customers[SIGN_UPS:]
    tokens = {}
    async with Client(*address) as client:
        for customer in first:
            tokens[customer.email] = await sign_up(client, customer)
    await load_customers(system.database("users"), others)
    people = people_of(system)
    return tokens | await sign_in_customers(people, [customer.email for customer in others])


async def _check_unused(system: System) -> None:
    async with system.database("orders").transaction(SERVICE, read_only=True) as tx:
        if await tx.fetchval(QUERIES.find_order) is not None:
            raise DemoHomeUsed(home=system.settings.home)


@asynccontextmanager
async def _folder(home: Path | None) -> AsyncIterator[Path]:
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-demo-") as name:
        folder = Path(name)
        # The server runs as another user where we are root.
        await asyncio.to_thread(folder.chmod, 0o755)
        yield folder
