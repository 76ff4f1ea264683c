import json

import pytest
from tests.unit.gateway.rest.shop import ask, shop

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.plan import make_plan
from bulkhead.gateway.rest.request import (
    ApiRequest,
    Count,
    Preferences,
    Resolution,
    Return,
)
from bulkhead.gateway.rest.sql import render
from bulkhead.gateway.rest.statement import Statement, bind, bind_explain

CONFIG = RestConfig(schemas=("shop",), max_rows=None, plan_enabled=True)
REPRESENTATION = Preferences(returning=Return.REPRESENTATION)


def statement_of(request: ApiRequest, config: RestConfig = CONFIG) -> Statement:
    return render(make_plan(request, shop(), config))


def rows_of(target: str) -> str:
    """The query of the rows of a read."""
    sql = statement_of(ask("GET", target)).sql
    return sql.partition(" from (")[2].removesuffix(") pgrst_row")


def where_of(condition: str, table: str = "orders") -> str:
    return rows_of(f"/{table}?{condition}").partition(" where ")[2]


def test_a_read_gathers_its_rows_in_one_row() -> None:
    assert statement_of(ask("GET", "/labels")).sql == (
        "select null::bigint as total, count(*) as page_total, "
        "coalesce(json_agg(pgrst_row), '[]') as body, "
        "nullif(current_setting('response.headers', true), '') as headers, "
        "nullif(current_setting('response.status', true), '') as status, "
        "case when pg_catalog.pg_advisory_unlock_all() is null then 0::bigint end as inserted, "
        "null::text[] as location "
        'from (select "shop"."labels".* from "shop"."labels") pgrst_row'
    )


@pytest.mark.parametrize(
    ("condition", "sql"),
    [
        ("id=eq.1", '"shop"."orders"."id" = cast($1::text as integer)'),
        ("id=not.gt.1", 'not "shop"."orders"."id" > cast($1::text as integer)'),
        ("note=eq.x", '"shop"."orders"."note" = $1::text'),
        ("note=like.a*", '"shop"."orders"."note" like $1::text'),
        ("note=like(any).{a*,b}", '"shop"."orders"."note" like any (cast($1::text as text[]))'),
        ("id=eq(any).{1,2}", '"shop"."orders"."id" = any (cast($1::text as integer[]))'),
        ("id=in.(1,2)", '"shop"."orders"."id" = any (cast($1::text[] as integer[]))'),
        ("note=in.(a,b)", '"shop"."orders"."note" = any ($1::text[])'),
        ("tags=cs.{a}", '"shop"."orders"."tags" @> cast($1::text as text[])'),
        ("search=fts.x", '"shop"."orders"."search" @@ to_tsquery($1::text)'),
        (
            "note=plfts(german).x",
            (
                'to_tsvector(\'german\'::regconfig, "shop"."orders"."note")'
                " @@ plainto_tsquery('german'::regconfig, $1::text)"
            ),
        ),
        ("state=eq.open", '"shop"."orders"."state" = $1::shop.state'),
        ("state=in.(open)", '"shop"."orders"."state" = any ($1::shop.state[])'),
        ("total=like.1*", '"shop"."orders"."total" like null'),
        (
            "or=(id.eq.1,not.and(note.eq.x,id.is.null))",
            (
                '("shop"."orders"."id" = cast($1::text as integer) or '
                'not ("shop"."orders"."note" = $2::text and "shop"."orders"."id" is null))'
            ),
        ),
        ("unknown=eq.1", '"shop"."orders"."unknown" = $1::text'),
    ],
)
def test_a_filter_casts_its_value_to_the_type_of_the_column(condition: str, sql: str) -> None:
    assert where_of(condition) == sql


def test_what_is_inside_a_column_is_reached_step_by_step() -> None:
    assert where_of("profile->>name=eq.x", "customers") == (
        '"shop"."customers"."profile"->>\'name\' = $1::text'
    )
    assert where_of("profile->it's->0=eq.1", "customers") == (
        "\"shop\".\"customers\".\"profile\"->'it''s'->'0'::integer = cast($1::text as jsonb)"
    )
    assert where_of("tags->>0=eq.a") == (
        'to_jsonb("shop"."orders"."tags")->>\'0\'::integer = $1::text'
    )


def test_a_domain_is_shown_and_read_by_its_functions() -> None:
    request = ask("GET", "/paints?shade=eq.%23fff")
    assert '"shop"."json"("shop"."paints"."shade") as "shade"' in statement_of(request).sql
    assert where_of("shade=in.(a,b)", "paints") == (
        '"shop"."paints"."shade" = any ((select "shop"."shade_of"(unnest($1::text[]))))'
    )


def test_a_row_of_another_table_is_embedded_as_an_object() -> None:
    assert rows_of("/items?select=sku,order:orders(total)") == (
        'select "shop"."items"."sku", (select to_jsonb("pgrst_1".*) from ('
        'select "orders_1"."total" from "shop"."orders" as "orders_1"'
        ' where "orders_1"."id" = "shop"."items"."order_id") as "pgrst_1") as "order"'
        ' from "shop"."items"'
    )


def test_rows_of_another_table_are_embedded_as_a_list() -> None:
    assert rows_of("/orders?select=items(sku)") == (
        'select coalesce((select jsonb_agg("pgrst_1") from ('
        'select "items_1"."sku" from "shop"."items" as "items_1"'
        ' where "items_1"."order_id" = "shop"."orders"."id") as "pgrst_1"), \'[]\') as "items"'
        ' from "shop"."orders"'
    )


def test_rows_without_any_of_another_table_are_left_out_by_an_inner_join() -> None:
    assert rows_of("/orders?select=items!inner(sku)&items.price=gt.5").endswith(
        ' where exists (select 1 from "shop"."items" as "items_1"'
        ' where "items_1"."price" > cast($1::text as integer)'
        ' and "items_1"."order_id" = "shop"."orders"."id")'
    )


def test_a_list_with_a_limit_is_joined_where_it_must_not_be_empty() -> None:
    assert rows_of("/orders?select=id,items!inner(sku)&items.offset=1") == (
        'select "shop"."orders"."id", coalesce("pgrst_1"."pgrst_1", \'[]\') as "items"'
        ' from "shop"."orders" inner join lateral ('
        'select jsonb_agg("pgrst_1") as "pgrst_1" from ('
        'select "items_1"."sku" from "shop"."items" as "items_1"'
        ' where "items_1"."order_id" = "shop"."orders"."id"'
        ' limit $1::bigint offset $2::bigint) as "pgrst_1"'
        ') as "pgrst_1" on "pgrst_1"."pgrst_1" is not null'
    )


def test_a_junction_is_joined_to_both_sides() -> None:
    assert (
        ' from "shop"."labels" as "labels_1", "shop"."order_labels" as "order_labels_j1"'
        ' where "order_labels_j1"."label_id" = "labels_1"."id"'
        ' and "order_labels_j1"."order_id" = "shop"."orders"."id" order by "labels_1"."id"'
    ) in rows_of("/orders?select=labels(name)")


def test_a_computed_relationship_takes_the_row() -> None:
    assert ' from "shop"."last_item"("orders"::"shop"."orders") as "items_1"' in rows_of(
        "/orders?select=last_item(sku)"
    )


def test_an_embedding_that_shows_nothing_only_filters() -> None:
    related = (
        'select 1 from "shop"."items" as "items_1"'
        ' where "items_1"."order_id" = "shop"."orders"."id"'
    )
    assert rows_of("/orders?select=id,items()&items=not.is.null").endswith(
        f'"shop"."orders"."id" from "shop"."orders" where exists ({related})'
    )
    assert rows_of("/orders?select=id,items()&items=is.null").endswith(
        f" where ({related} limit 1) is null"
    )
    assert rows_of("/items?select=id,orders()&orders=is.null").endswith(
        ' as "pgrst_1" on true where "pgrst_1" is not distinct from null'
    )


def test_rows_are_ordered_by_a_row_that_is_embedded() -> None:
    rows = rows_of("/items?select=sku,orders(total)&order=orders(total).desc.nullslast,sku")
    assert rows.endswith(' order by "pgrst_1"."total" desc nulls last, "shop"."items"."sku"')


def test_rows_are_grouped_by_what_is_not_aggregated() -> None:
    assert rows_of("/items?select=order_id,price.sum()::text,count()") == (
        'select "shop"."items"."order_id", cast(sum("shop"."items"."price") as text), count(*)'
        ' from "shop"."items" group by 1'
    )


def test_an_aggregate_in_a_spread_row_belongs_to_the_rows_above() -> None:
    rows = rows_of("/items?select=sku,...orders(customer_id,total.sum())")
    assert rows.startswith(
        'select "shop"."items"."sku", "pgrst_1"."customer_id", sum("pgrst_1"."sum") as "sum"'
    )
    assert '"orders_1"."total" as "sum"' in rows
    assert rows.endswith(" group by 1, 2")


def test_a_spread_list_is_ordered_where_it_is_gathered() -> None:
    rows = rows_of("/orders?select=id,...items(sku)&items.order=price.desc")
    assert '"items_1"."price" as "pgrst_1_o1"' in rows
    assert 'jsonb_agg("pgrst_1"."sku" order by "pgrst_1"."pgrst_1_o1" desc)' in rows


def test_a_limit_is_bound_and_never_above_the_configured_one() -> None:
    config = RestConfig(schemas=("shop",), max_rows=10)
    request = ask("GET", "/orders?select=id,items(id)&limit=50&offset=5&items.limit=3")
    statement = statement_of(request, config)
    assert statement.sql.count("limit $") == 2
    assert bind(statement, request) == [3, 0, 10, 5]
    assert " limit 10)" in statement_of(ask("GET", "/orders"), config).sql


def test_all_rows_are_counted_only_where_the_page_may_be_less() -> None:
    exact = Preferences(count=Count.EXACT)
    assert "count(*) as total" in statement_of(ask("GET", "/orders", preferences=exact)).sql
    limited = statement_of(ask("GET", "/orders?id=gt.1&limit=2", preferences=exact))
    assert (
        "case when count(*) between 1 and $2::bigint - 1 then $3::bigint + count(*) else "
        '(select count(*) from (select 1 from "shop"."orders" where '
        '"shop"."orders"."id" > cast($1::text as integer)) pgrst_count) end as total'
    ) in limited.sql
    grouped = ask("GET", "/orders?select=count()&limit=2", preferences=exact)
    assert "select (select count(*) from (select 1 from" in statement_of(grouped).sql


def test_a_guess_of_all_rows_has_an_inner_join_as_exists() -> None:
    planned = Preferences(count=Count.PLANNED)
    request = ask(
        "GET", "/orders?select=items!inner(id)&items.id=eq.7&limit=1", preferences=planned
    )
    statement = statement_of(request)
    assert statement.explain_sql == (
        'explain (format json) select 1 from "shop"."orders" where exists ('
        'select 1 from "shop"."items" as "items_1" where '
        '"items_1"."id" = cast($1::text as integer) '
        'and "items_1"."order_id" = "shop"."orders"."id")'
    )
    assert bind_explain(statement, request) == ["7"]


def test_an_insert_reads_typed_columns_from_the_body() -> None:
    request = ask("POST", "/labels", '{"id":1,"name":"a"}', columns=["name", "id"])
    statement = statement_of(request)
    assert (
        'insert into "shop"."labels" ("id", "name") select "pgrst_body"."id", "pgrst_body"."name"'
        " from (select cast($1::text as json) as json_data) pgrst_payload,"
        ' lateral (select "id", "name" from json_to_record(pgrst_payload.json_data)'
        ' as _("id" integer, "name" text)) pgrst_body returning 1'
    ) in statement.sql
    assert bind(statement, request) == ['{"id":1,"name":"a"}']


def test_missing_keys_are_defaults_when_that_is_preferred() -> None:
    request = ask(
        "POST",
        "/orders",
        "[{}]",
        columns=["id", "placed_at", "note"],
        preferences=Preferences(missing_default=True),
    )
    sql = statement_of(request).sql
    assert "jsonb_build_object('id', nextval('orders_id_seq'), 'placed_at', now()) || elem" in sql


def test_duplicates_are_merged_on_the_primary_key() -> None:
    request = ask(
        "POST",
        "/labels",
        "[]",
        columns=["id", "name"],
        preferences=Preferences(resolution=Resolution.MERGE),
    )
    sql = statement_of(request).sql
    assert ' on conflict ("id") do update set "id" = excluded."id", "name" = excluded."name"' in sql
    assert "'pgrst.inserted', true), '')::bigint, 0) as inserted" in sql


def test_duplicates_are_ignored_on_the_columns_that_were_named() -> None:
    request = ask(
        "POST",
        "/labels?on_conflict=name",
        "[]",
        columns=["name"],
        preferences=Preferences(resolution=Resolution.IGNORE),
    )
    assert ' on conflict ("name") do nothing returning 1' in statement_of(request).sql


def test_a_representation_returns_what_its_embeddings_need() -> None:
    request = ask(
        "PATCH",
        "/orders?id=eq.1&select=note,customers!customer_id(name)&order=total",
        '{"note":"x"}',
        columns=["note"],
        preferences=REPRESENTATION,
    )
    sql = statement_of(request).sql
    assert (
        ' returning "shop"."orders"."customer_id", "shop"."orders"."id", "shop"."orders"."note",'
        ' "shop"."orders"."total")'
    ) in sql
    assert '"customers_1"."id" = "orders"."customer_id"' in sql


def test_an_update_that_sets_nothing_changes_nothing() -> None:
    request = ask("PATCH", "/labels?id=eq.1", "{}", preferences=REPRESENTATION)
    assert 'select "labels".* from "shop"."labels" where false' in statement_of(request).sql


def test_a_row_that_was_inserted_is_located_by_its_key() -> None:
    request = ask(
        "POST",
        "/order_labels",
        "{}",
        columns=["order_id", "label_id"],
        preferences=Preferences(returning=Return.HEADERS_ONLY),
    )
    assert (
        "array['label_id=' || coalesce('eq.' || (to_json(s.\"label_id\") #>> '{}'), 'is.null')"
    ) in statement_of(request).sql


def test_arguments_of_the_address_are_bound_one_by_one() -> None:
    request = ask("GET", "/rpc/add?a=1&b=2")
    statement = statement_of(request)
    assert (
        'select pgrst_call.pgrst_scalar from (select "shop"."add"('
        '"a" := cast($1::text as integer), "b" := cast($2::text as integer)'
        ") pgrst_scalar) pgrst_call"
    ) in statement.sql
    assert bind(statement, request) == ["1", "2"]


def test_a_repeated_argument_is_variadic() -> None:
    request = ask("GET", "/rpc/total?values=1&values=2")
    statement = statement_of(request)
    assert '"shop"."total"(variadic "values" := cast($1::text[] as integer[]))' in statement.sql
    assert bind(statement, request) == [["1", "2"]]


def test_arguments_of_a_body_are_read_as_a_record() -> None:
    request = ask("POST", "/rpc/add", '{"a":1}', columns=["a"])
    sql = statement_of(request).sql
    assert 'json_to_record(pgrst_payload.json_data) as _("a" integer) limit 1) pgrst_body' in sql
    assert '"shop"."add"("a" := "pgrst_body"."a")' in sql


def test_a_body_is_the_only_unnamed_argument() -> None:
    request = ask("POST", "/rpc/echo", '{"x":1}', columns=["x"])
    statement = statement_of(request)
    assert '"shop"."echo"(cast($1::text as json))' in statement.sql
    assert [json.loads(str(value)) for value in bind(statement, request)] == [{"x": 1}]


def test_a_function_that_returns_rows_stands_alone_in_from() -> None:
    sql = statement_of(ask("GET", "/rpc/recent_orders?select=id&total=gt.5")).sql
    assert sql.startswith(
        'with pgrst_source as (select "pgrst_call"."id", "pgrst_call"."total" from'
        ' "shop"."recent_orders"() pgrst_call) select'
    )
    assert 'where "orders"."total" > cast($1::text as numeric)' in sql


def test_one_object_is_not_a_list() -> None:
    request = ask("GET", "/labels?id=eq.1", accept=["application/vnd.pgrst.object+json"])
    sql = statement_of(request).sql
    assert "coalesce(json_agg(pgrst_row)->0, 'null') as body" in sql


def test_a_plan_is_explained_with_its_options() -> None:
    accept = ["application/vnd.pgrst.plan+json; options=buffers|analyze"]
    sql = statement_of(ask("GET", "/labels", accept=accept)).sql
    assert sql.startswith("explain (format json, analyze, buffers) select ")


def test_a_name_cannot_end_its_quotes() -> None:
    assert rows_of("/labels?select=%22a%5C%22b%22&%22x%5C%22y%22=eq.1").startswith(
        'select "shop"."labels"."a""b" from "shop"."labels" where "shop"."labels"."x""y" = '
    )


def test_a_table_of_comma_separated_values_has_a_line_of_names() -> None:
    sql = statement_of(ask("GET", "/labels", accept=["text/csv"])).sql
    assert sql.startswith('with pgrst_rows as (select "shop"."labels".* from "shop"."labels")')
    assert "json_object_keys((select row_to_json(h) from pgrst_rows h limit 1)) k)" in sql
    assert sql.endswith(" from pgrst_rows pgrst_row")


def test_a_request_for_headers_has_no_body_and_counts_its_rows() -> None:
    sql = statement_of(ask("HEAD", "/labels")).sql
    assert "count(*) as page_total, ''::text as body" in sql


def test_a_write_without_representation_reads_nothing_of_its_rows() -> None:
    sql = statement_of(ask("DELETE", "/labels?id=eq.1&select=nothing")).sql
    assert " returning 1) select" in sql
    assert "nothing" not in sql


def test_a_function_of_one_value_is_not_a_list() -> None:
    sql = statement_of(ask("GET", "/rpc/add?a=1")).sql
    assert (
        "1::bigint as page_total, coalesce(json_agg(pgrst_row.pgrst_scalar)->0, 'null') as body"
    ) in sql
