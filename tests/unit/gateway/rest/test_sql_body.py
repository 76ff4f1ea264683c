import pytest

from bulkhead.gateway.rest.plan_media import BuiltinHandler, CustomHandler, Handler
from bulkhead.gateway.rest.schema import Name
from bulkhead.gateway.rest.sql_body import render_body


@pytest.mark.parametrize(
    ("handler", "body"),
    [
        (CustomHandler(Name("shop", "agg"), None), '"shop"."agg"(pgrst_row)'),
        (
            CustomHandler(Name("shop", "agg"), Name("shop", "labels")),
            '"shop"."agg"(pgrst_row::"shop"."labels")',
        ),
        (CustomHandler(Name("shop", "f"), None, is_aggregate=False), "pgrst_row.pgrst_scalar"),
        (
            BuiltinHandler.OBJECT_STRIPPED,
            "coalesce(json_strip_nulls(json_agg(pgrst_row))->0, 'null')",
        ),
        (BuiltinHandler.ARRAY_STRIPPED, "coalesce(json_strip_nulls(json_agg(pgrst_row)), '[]')"),
    ],
)
def test_a_handler_renders_the_rows(handler: Handler, body: str) -> None:
    assert render_body(handler, None) == body
