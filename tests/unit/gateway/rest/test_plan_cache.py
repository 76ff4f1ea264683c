from dataclasses import replace

import pytest
from tests.unit.gateway.rest.shop import ask, shop

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.plan_cache import SHAPE_LENGTH_MAX, PlanCache
from bulkhead.gateway.rest.request import Count, Preferences, Return
from bulkhead.gateway.rest.schema_errors import TableNotFound
from bulkhead.gateway.rest.statement import bind

CONFIG = RestConfig(schemas=("shop",))


def test_requests_that_differ_in_values_share_a_statement() -> None:
    cache, schema = PlanCache(CONFIG), shop()
    one, two = ask("GET", "/orders?id=eq.1&limit=2"), ask("GET", "/orders?id=eq.5&limit=7")
    assert cache.find(one, schema)[1] is cache.find(two, schema)[1]
    assert bind(cache.find(two, schema)[1], two) == ["5", 7, 0]


def test_what_changes_a_statement_is_part_of_the_key() -> None:
    cache, schema = PlanCache(CONFIG), shop()
    requests = [
        ask("GET", "/orders"),
        ask("HEAD", "/orders"),
        ask("GET", "/items"),
        ask("GET", "/orders?limit=1"),
        ask("GET", "/orders", accept=["text/csv"]),
        ask("GET", "/orders", preferences=Preferences(count=Count.EXACT)),
        ask("POST", "/orders", "{}", columns=["id"]),
        ask("POST", "/orders", "{}", columns=["note"]),
        ask("POST", "/orders", "[{}]", columns=["id"]),
        ask(
            "POST",
            "/orders",
            "{}",
            columns=["id"],
            preferences=Preferences(returning=Return.REPRESENTATION),
        ),
    ]
    statements = {cache.find(each, schema)[1].sql for each in requests}
    assert len(statements) == len(requests) == len(cache)


def test_a_changed_schema_has_plans_of_its_own() -> None:
    cache, schema = PlanCache(CONFIG), shop()
    request = ask("GET", "/orders")
    before = cache.find(request, schema)
    assert cache.find(request, replace(schema, version=2)) is not before


def test_the_plan_not_used_for_longest_is_forgotten() -> None:
    cache, schema = PlanCache(CONFIG, size_max=2), shop()
    first, second, third = (ask("GET", f"/{name}") for name in ("orders", "items", "labels"))
    kept = cache.find(first, schema)
    cache.find(second, schema)
    cache.find(first, schema)
    cache.find(third, schema)
    assert len(cache) == 2
    assert cache.find(first, schema) is kept


def test_what_is_very_long_is_planned_each_time() -> None:
    cache = PlanCache(CONFIG)
    names = ",".join(f"a{number}:id" for number in range(SHAPE_LENGTH_MAX // 5))
    cache.find(ask("GET", f"/orders?select={names}"), shop())
    assert len(cache) == 0


def test_a_refusal_is_not_kept() -> None:
    cache = PlanCache(CONFIG)
    with pytest.raises(TableNotFound):
        cache.find(ask("GET", "/nothing"), shop())
    assert len(cache) == 0
