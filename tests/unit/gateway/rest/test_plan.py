from dataclasses import replace

import pytest
from tests.unit.gateway.rest.shop import ask, function, many_to_one, parameter, shop

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.errors import RestError
from bulkhead.gateway.rest.plan import CallPlan, ReadPlan, WritePlan, make_plan
from bulkhead.gateway.rest.request import ApiRequest, Preferences, Resolution, Return
from bulkhead.gateway.rest.schema import Name, ReturnType, Schema, Volatility

CONFIG = RestConfig(schemas=("shop",), max_rows=None)


def refusal_of(
    request: ApiRequest, schema: Schema | None = None, config: RestConfig = CONFIG
) -> RestError:
    with pytest.raises(RestError) as caught:
        make_plan(request, schema or shop(), config)
    return caught.value


def code_of(request: ApiRequest, schema: Schema | None = None, config: RestConfig = CONFIG) -> str:
    return refusal_of(request, schema, config).wire_code


def test_a_read_is_read_only_and_a_write_is_not() -> None:
    read = make_plan(ask("GET", "/orders"), shop(), CONFIG)
    assert isinstance(read, ReadPlan)
    assert read.is_read_only
    write = make_plan(ask("DELETE", "/orders?id=eq.1"), shop(), CONFIG)
    assert isinstance(write, WritePlan)
    assert not write.is_read_only


def test_a_call_by_post_is_read_only_unless_the_function_is_volatile() -> None:
    call = make_plan(ask("POST", "/rpc/add", "{}", columns=["a"]), shop(), CONFIG)
    assert isinstance(call, CallPlan)
    assert call.is_read_only
    assert not make_plan(ask("POST", "/rpc/ship", "{}"), shop(), CONFIG).is_read_only
    assert make_plan(ask("GET", "/rpc/ship"), shop(), CONFIG).is_read_only


def test_a_table_that_is_not_there_is_refused() -> None:
    refused = refusal_of(ask("GET", "/ordrs"))
    assert refused.wire_code == "PGRST205"
    assert refused.message == "Could not find the table 'shop.ordrs' in the schema cache"


def test_an_embedding_without_a_relationship_is_refused() -> None:
    refused = refusal_of(ask("GET", "/items?select=labels!x(id)"))
    assert refused.wire_code == "PGRST200"
    assert refused.to_body()["details"] == (
        "Searched for a foreign key relationship between 'items' and 'labels' using the hint 'x' "
        "in the schema 'shop', but no matches were found."
    )


def test_an_embedding_with_several_relationships_is_refused_with_all_of_them() -> None:
    refused = refusal_of(ask("GET", "/orders?select=customers(name)"))
    body = refused.to_body()
    assert body["code"] == "PGRST201"
    assert body["hint"] == (
        "Try changing 'customers' to one of the following: "
        "'customers!orders_customer_id_fkey', 'customers!orders_billed_to_fkey'. "
        "Find the desired relationship in the 'details' key."
    )
    assert body["details"][0] == {
        "cardinality": "many-to-one",
        "embedding": "orders with customers",
        "relationship": ("orders_customer_id_fkey using orders(customer_id) and customers(id)"),
    }


@pytest.mark.parametrize(
    "embedding",
    [
        "customers!orders_customer_id_fkey(name)",
        "customers!customer_id(name)",
        "customer_id(name)",
        "orders_customer_id_fkey(name)",
        "labels!order_labels(name)",
        "last_item(sku)",
    ],
)
def test_a_hint_tells_relationships_apart(embedding: str) -> None:
    plan = make_plan(ask("GET", f"/orders?select=id,{embedding}"), shop(), CONFIG)
    assert len(plan.root.embeds) == 1


def test_both_directions_of_a_self_reference_have_a_name() -> None:
    plan = make_plan(
        ask("GET", "/employees?select=boss_id(name),staff:employees!boss_id(name)"), shop(), CONFIG
    )
    boss, staff = plan.root.embeds
    assert boss.is_to_one
    assert not staff.is_to_one


def test_a_filter_on_what_is_not_embedded_is_refused() -> None:
    for target in ("items.id=eq.1", "items.order=id", "items.limit=1", "items.or=(id.eq.1)"):
        assert code_of(ask("GET", f"/orders?{target}")) == "PGRST108"


def test_rows_cannot_be_ordered_by_a_list() -> None:
    refused = refusal_of(ask("GET", "/orders?select=id,items(id)&order=items(id)"))
    assert refused.to_body()["details"] == (
        "'orders' and 'items' do not form a many-to-one or one-to-one relationship"
    )
    assert code_of(ask("GET", "/orders?order=items(id)")) == "PGRST108"


def test_aggregates_can_be_forbidden() -> None:
    config = replace(CONFIG, aggregates_enabled=False)
    for embedding in ("items(price.sum())", "...items(price.sum())"):
        request = ask("GET", f"/orders?select=id,{embedding}")
        assert code_of(request, config=config) == "PGRST123"


def test_a_list_that_is_spread_cannot_be_aggregated() -> None:
    assert code_of(ask("GET", "/orders?select=id,...items(price.sum())")) == "PGRST127"


def test_a_put_needs_exactly_the_primary_key() -> None:
    for query in ("", "id=gt.1", "id=not.eq.1", "id=eq.1&name=eq.x", "or=(id.eq.1)"):
        request = ask("PUT", f"/labels?{query}", "{}", columns=["id"])
        assert code_of(request) == "PGRST105"
    assert code_of(ask("PUT", "/notes?text=eq.x", "{}", columns=["text"])) == "PGRST105"


def test_an_unknown_column_cannot_be_written() -> None:
    refused = refusal_of(ask("POST", "/labels", "{}", columns=["colour"]))
    assert refused.wire_code == "PGRST204"
    assert refused.message == "Could not find the 'colour' column of 'labels' in the schema cache"


def test_writing_to_a_whole_table_can_be_forbidden() -> None:
    config = replace(CONFIG, safe_update=True)
    refused = refusal_of(ask("DELETE", "/labels"), config=config)
    assert (refused.wire_code, refused.http_status) == ("21000", 400)
    assert refused.message == "DELETE requires a WHERE clause"
    request = ask("PATCH", "/labels", "{}", columns=["name"])
    assert refusal_of(request, config=config).message == "UPDATE requires a WHERE clause"
    make_plan(ask("DELETE", "/labels?id=gt.0"), shop(), config)


def test_a_function_is_chosen_by_the_names_of_its_arguments() -> None:
    plan = make_plan(ask("GET", "/rpc/choose?a=1&b=2"), shop(), CONFIG)
    assert isinstance(plan, CallPlan)
    assert len(plan.call.function.parameters) == 2


def test_two_functions_that_take_the_arguments_are_ambiguous() -> None:
    refused = refusal_of(ask("GET", "/rpc/choose?a=1"))
    assert refused.wire_code == "PGRST203"
    assert refused.message == (
        "Could not choose the best candidate function between: "
        "shop.choose(a => integer), shop.choose(a => integer, b => integer)"
    )


def test_a_function_with_other_parameters_is_not_found() -> None:
    refused = refusal_of(ask("GET", "/rpc/add?a=1&c=2"))
    assert refused.wire_code == "PGRST202"
    assert refused.message == "Could not find the function shop.add(a, c) in the schema cache"


def test_a_strict_maximum_needs_a_function_that_returns_a_set() -> None:
    preferences = Preferences(handling="strict", max_affected=1)
    assert code_of(ask("GET", "/rpc/add?a=1", preferences=preferences)) == "PGRST128"
    make_plan(ask("GET", "/rpc/recent_orders", preferences=preferences), shop(), CONFIG)


def test_preferences_that_are_not_understood_are_refused_when_strict() -> None:
    preferences = Preferences(handling="strict", invalid=("a=b", "c"))
    refused = refusal_of(ask("GET", "/orders", preferences=preferences))
    assert refused.to_body()["details"] == "Invalid preferences: a=b, c"
    lenient = replace(preferences, handling="lenient")
    make_plan(ask("GET", "/orders", preferences=lenient), shop(), CONFIG)


def test_a_write_says_what_its_answer_needs() -> None:
    preferences = Preferences(returning=Return.HEADERS_ONLY, resolution=Resolution.MERGE)
    plan = make_plan(
        ask("POST", "/labels", "{}", columns=["id"], preferences=preferences), shop(), CONFIG
    )
    assert isinstance(plan, WritePlan)
    assert plan.wants_location
    assert plan.wants_inserted
    assert plan.resolution_applies
    keyless = make_plan(ask("POST", "/notes", "{}", columns=["text"]), shop(), CONFIG)
    assert isinstance(keyless, WritePlan)
    assert not keyless.resolution_applies


def test_a_function_of_one_row_embeds_like_its_table() -> None:
    one = function(
        "find_order",
        parameter("id"),
        returns=ReturnType(Name("shop", "orders"), is_set=False, is_composite=True),
        volatility=Volatility.STABLE,
    )
    plan = make_plan(
        ask("GET", "/rpc/find_order?id=1&select=id,items(sku)"), shop(functions=[one]), CONFIG
    )
    assert plan.root.embeds[0].table == Name("shop", "items")


def test_long_names_keep_their_aliases_apart() -> None:
    name = "n" * 63
    schema = shop(*many_to_one("orders", "total", name))
    plan = make_plan(ask("GET", f"/orders?select={name}(id)"), schema, CONFIG)
    alias = plan.root.embeds[0].source_alias
    assert alias is not None
    assert len(alias) == 63
    assert alias.endswith("_1")


def test_an_embedding_is_never_called_what_its_parent_is() -> None:
    schema = shop(*many_to_one("items_1", "order_id", "items"))
    named = replace(schema.tables[Name("shop", "items")], name=Name("shop", "items_1"))
    schema = replace(schema, tables={**schema.tables, named.name: named})
    request = ask("DELETE", "/items_1?id=eq.1&select=id,items(sku)")
    embed = make_plan(request, schema, CONFIG).root.embeds[0]
    assert embed.parent == Name("", "items_1")
    assert embed.source_alias == "items_e1"
