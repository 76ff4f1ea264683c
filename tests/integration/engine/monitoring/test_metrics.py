from tests.integration.engine.references.rows import add_lines, add_products, run
from tests.integration.engine.references.shop_application import LINES, TOPOLOGY

from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.connections.router import Placement, Router
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.metrics import Figure, Sampler, pool_figures
from bulkhead.engine.references.deletion import announce_deletions
from bulkhead.engine.references.sweep import sweep_reference
from bulkhead.engine.system import System


def find(figures: list[Figure], name: str, **labels: str) -> list[float]:
    return [
        figure.value
        for figure in figures
        if figure.name == name and labels.items() <= figure.labels.items()
    ]


async def test_connections_in_use_and_idle_are_counted_by_pool(router: Router) -> None:
    sales = router.database("sales")
    async with sales.transaction(SERVICE), sales.transaction(ANON):
        during = list(pool_figures(router))
    after = list(pool_figures(router))
    for pool in ("visitor", "service"):
        labels = {"database": "sales", "pool": pool}
        assert find(during, "pool_connections", state="in_use", **labels) == [1]
        assert find(after, "pool_connections", state="in_use", **labels) == [0]
        [others] = find(during, "pool_connections", state="idle", **labels)
        assert find(after, "pool_connections", state="idle", **labels) == [others + 1]
    assert find(after, "server_connections") == [sum(find(after, "pool_connections"))]
    assert find(after, "breaker_open", database="sales") == [0]


async def test_what_stands_in_the_databases_is_sampled(system: System) -> None:
    router = system.router
    await add_lines(router, [new_id(), new_id()])
    await sweep_reference(router, TOPOLOGY, LINES)
    await add_products(router, 3)
    await run(router, "catalog", "delete from public.products")
    await announce_deletions(router, TOPOLOGY)
    sampler = Sampler(router)
    assert find(sampler.figures(), "database_up") == []
    await sampler.sample()
    figures = sampler.figures()
    assert find(figures, "database_up") == [1, 1]
    assert find(figures, "outbox_waiting", handler="references.sales") == [1]
    assert find(figures, "outbox_dead", handler="references.sales") == [0]
    assert find(figures, "reference_orphans", reference=LINES.name) == [2]
    assert find(figures, "sagas", database="sales", state="running") == [0]
    assert len(find(figures, "sample_age_seconds")) == 1


async def test_a_database_that_does_not_answer_is_a_figure_too(system: System) -> None:
    sales = next(p for p in system.router.placements if p.database == "sales")
    router = Router("shop", (Placement("catalog", sales.driver, DatabaseSpec("nowhere")), sales))
    sampler = Sampler(router)
    try:
        await sampler.sample()
    finally:
        await router.close()
    assert find(sampler.figures(), "database_up", database="catalog") == [0]
    assert find(sampler.figures(), "database_up", database="sales") == [1]


async def test_figures_of_one_name_have_the_same_labels(system: System) -> None:
    sampler = Sampler(system.router)
    await sampler.sample()
    labels: dict[str, set[frozenset[str]]] = {}
    for figure in sampler.figures():
        labels.setdefault(figure.name, set()).add(frozenset(figure.labels))
    assert {name for name, kinds in labels.items() if len(kinds) > 1} == set()
