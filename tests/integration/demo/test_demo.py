"""The demonstration on a small order book, with its server in this process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from quiet_port import quiet_port

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.demo.generated import generate_retail
from bulkhead.demo.proofs import Proof, prove_answers, prove_rest, prove_revenue
from bulkhead.demo.report import DemoReport
from bulkhead.demo.run import DemoHomeUsed, Watcher, demonstrate
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.ids import new_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.web.compose import compose
from bulkhead.web.serving import serving

INVOICES = 150
REVENUE = "revenue per month and country is what the invoices add up to"
CHARGED = "the payment company charged that and not a penny more"
REFERENCES = "no reference between the databases is broken"
REPEATS = "a repeated request gets the first answer"


@dataclass
class Shown:
    """A demonstration that has been given, and where."""

    system: System
    report: DemoReport

    async def run(self, database: str, sql: str, *args: object) -> None:
        async with self.system.database(database).transaction(SERVICE) as tx:
            await tx.execute(sql, *args)


@asynccontextmanager
async def open_site(servers: TestServers, home: Path) -> AsyncIterator[System]:
    settings = Settings(home=home, port=quiet_port())
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(servers.system(APPLICATION, settings))
        composed = compose([system], settings)
        await system.start_workers()
        stack.push_async_callback(system.stop_workers)
        await stack.enter_async_context(composed.workers())
        await stack.enter_async_context(serving(composed.app, settings.host, settings.port))
        yield system


@pytest.fixture(scope="module")
async def shown(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shown]:
    async with open_site(servers, tmp_path_factory.mktemp("demo")) as system:
        dataset = generate_retail(INVOICES)
        report = await demonstrate(system, dataset, clients=4, watcher=Watcher())
        yield Shown(system, report)


def failing(proofs: list[Proof]) -> set[str]:
    assert all(proof.examples for proof in proofs if not proof.holds), "it says what is wrong"
    return {proof.name for proof in proofs if not proof.holds}


async def test_an_order_book_is_replayed_and_everything_is_proven(shown: Shown) -> None:
    report = shown.report
    assert report.holds, report.to_text()
    assert len(report.proofs) == 9
    told = report.to_json()
    counted = told["replay"]
    assert counted["orders"] == len(report.plan.orders)
    assert counted["confirmed"] + counted["refused_for_stock"] == counted["orders"]
    assert counted["refused_for_stock"] > 0, "some things are short on purpose"
    assert counted["cancelled"] > 0
    assert counted["repeated"] > 0
    assert told["shop"]["signed_up_over_http"] > 0
    assert "made up" in report.to_text()
    figures = {name: each for proof in told["proofs"] for name, each in proof["figures"].items()}
    assert figures["received"] >= counted["confirmed"]
    assert figures["rows"] > counted["confirmed"]
    assert figures["orphans"] == figures["waiting"] == 0


async def test_a_home_with_orders_is_left_alone(shown: Shown) -> None:
    with pytest.raises(DemoHomeUsed):
        await demonstrate(shown.system, generate_retail(10), watcher=Watcher())


async def test_a_second_answer_that_differs_is_found(shown: Shown) -> None:
    plan, result = shown.report.plan, shown.report.replay
    key, again = result.repeats[0]
    other = replace(again, body={**again.body, "order_id": str(new_id())})
    result.repeats[0] = (key, other)
    assert failing(list(prove_answers(plan, result))) == {REPEATS}
    result.repeats[0] = (key, again)


async def test_an_order_that_is_lost_is_found(shown: Shown) -> None:
    plan, result = shown.report.plan, shown.report.replay
    key = min(result.placed - result.cancelled)
    answer = result.answers.pop(key)
    assert failing(list(prove_answers(plan, result)))
    assert failing(await prove_revenue(shown.system, plan, result)) == {REVENUE, CHARGED}
    result.answers[key] = answer
    assert failing(await prove_revenue(shown.system, plan, result)) == set()


async def test_a_line_that_is_missing_is_found(shown: Shown) -> None:
    plan, result = shown.report.plan, shown.report.replay
    await shown.run(
        "orders",
        "delete from order_items where line_number = 1 and order_id ="
        " (select id from orders where state = 'confirmed' order by id limit 1)",
    )
    assert failing(await prove_revenue(shown.system, plan, result)) == {REVENUE}


async def test_a_reference_that_is_broken_is_found(shown: Shown) -> None:
    await shown.run(
        "products",
        "insert into wishlists (user_id, product_id) select $1, id from products limit 1",
        new_id(),
    )
    assert REFERENCES in failing(await prove_rest(shown.system, at_rest=True))
