from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.config import OpenApiMode, RestConfig, TxEnd
from bulkhead.gateway.rest.errors import RestError
from bulkhead.gateway.rest.query import Field, Filter, Operator, RowRange, Slot
from bulkhead.gateway.rest.read_request import read_request
from bulkhead.gateway.rest.request import Action, ApiRequest, Count
from bulkhead.gateway.rest.schema import Name

CONFIG = RestConfig(schemas=("api", "other"), tx_end=TxEnd.COMMIT_ALLOW_OVERRIDE)


def read(
    method: str = "GET",
    path: str = "/orders",
    query: bytes = b"",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    **options: Any,
) -> ApiRequest:
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return read_request(method, path, query, raw, body, options.get("config", CONFIG))


def code_of(*arguments: Any, **options: Any) -> str:
    with pytest.raises(RestError) as caught:
        read(*arguments, **options)
    return caught.value.wire_code


@pytest.mark.parametrize(
    ("method", "path", "action", "target"),
    [
        ("GET", "/orders", Action.READ, "orders"),
        ("HEAD", "/orders", Action.READ, "orders"),
        ("POST", "/orders", Action.CREATE, "orders"),
        ("PATCH", "/my orders", Action.UPDATE, "my orders"),
        ("PUT", "/orders", Action.UPSERT, "orders"),
        ("DELETE", "/rpc", Action.DELETE, "rpc"),
        ("OPTIONS", "/orders", Action.OPTIONS, "orders"),
        ("GET", "/rpc/f", Action.CALL_READ, "f"),
        ("HEAD", "/rpc/f", Action.CALL_READ, "f"),
        ("POST", "/rpc/f", Action.CALL, "f"),
        ("OPTIONS", "/rpc/f", Action.OPTIONS, "f"),
        ("GET", "/", Action.DESCRIBE, ""),
        ("OPTIONS", "", Action.OPTIONS, ""),
    ],
)
def test_method_and_path_make_the_action(
    method: str, path: str, action: Action, target: str
) -> None:
    request = read(method, path, body=b"{}")
    assert request.action is action
    assert request.target == Name("api", target)
    assert request.is_function == path.startswith("/rpc/")
    assert request.headers_only == (method == "HEAD")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/a/b", "PGRST125"),
        ("GET", "/rpc/a/b", "PGRST125"),
        ("GET", "/orders/", "PGRST125"),
        ("TRACE", "/orders", "PGRST117"),
        ("POST", "/", "PGRST117"),
        ("PATCH", "/rpc/f", "PGRST101"),
        ("DELETE", "/rpc/f", "PGRST101"),
    ],
)
def test_what_has_no_meaning_is_refused(method: str, path: str, code: str) -> None:
    assert code_of(method, path) == code


def test_the_root_may_be_disabled_or_a_function() -> None:
    disabled = RestConfig(openapi_mode=OpenApiMode.DISABLED)
    assert code_of("GET", "/", config=disabled) == "PGRST126"
    function = read("GET", "/", config=RestConfig(root_spec="api.root"))
    assert (function.action, function.resource) == (Action.CALL_READ, "root")


def test_reads_and_writes_choose_the_schema_by_headers_of_their_own() -> None:
    assert read(headers={"accept-profile": "other"}).schema == "other"
    assert read(headers={"content-profile": "other"}).schema == "api"
    assert read("POST", headers={"content-profile": "other"}, body=b"{}").schema == "other"
    assert code_of(headers={"accept-profile": "secret"}) == "PGRST106"


def test_the_schema_is_named_in_the_answer_where_there_is_a_choice() -> None:
    only = RestConfig(schemas=("api",))
    assert read().has_profile
    assert not read(config=only).has_profile
    assert read(headers={"accept-profile": "api"}, config=only).has_profile


def test_headers_are_kept_but_cookies_are_apart() -> None:
    request = read(headers={"X-A": "1", "cookie": "a=1; b=x=y;; c", "authorization": "Bearer x"})
    assert request.headers == (("x-a", "1"), ("authorization", "Bearer x"))
    assert request.cookies == {"a": "1", "b": "x=y", "c": ""}


def test_preferences_of_several_headers_are_one_list() -> None:
    raw = [(b"prefer", b"count=exact"), (b"Prefer", b"count=planned, tx=rollback"), (b"x", b"")]
    request = read_request("GET", "/orders", b"", raw, b"", CONFIG)
    assert request.preferences.count is Count.EXACT
    assert request.preferences.transaction == "rollback"


def test_a_transaction_cannot_be_chosen_unless_that_is_allowed() -> None:
    request = read(headers={"prefer": "tx=rollback"}, config=RestConfig())
    assert request.preferences.transaction is None
    assert request.preferences.invalid == ()


def test_without_an_accept_header_anything_is_fine() -> None:
    assert read().accept == ("*/*",)


def test_a_query_string_is_values_and_shape() -> None:
    request = read(query=b"id=eq.5&limit=3&order=id", headers={"range": "1-9"})
    assert request.query.conditions == (((), Filter(Field("id"), Operator.EQ, Slot(0))),)
    assert request.values == ("5",)
    assert request.ranges == {(): RowRange(1, 2)}
    assert request.shape == "id=eq.&limit=&order=id"
    assert request.canonical_query == "id=eq.5&limit=3&order=id"


def test_columns_are_those_of_the_body_unless_they_are_named() -> None:
    body = b'{"a":1,"b":2}'
    assert read("POST", body=body).columns == {"a", "b"}
    assert read("POST", query=b"columns=a", body=body).columns == {"a"}
    assert read("POST", "/rpc/f", b"columns=a", body=body).columns == {"a"}
    # PUT writes the whole row.
    assert read("PUT", query=b"columns=a", body=body).columns == {"a", "b"}
    assert read("DELETE", body=b"no json").payload is None


@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "LINK"]),
    st.text(max_size=8),
    st.binary(max_size=30),
    st.lists(
        st.tuples(
            st.sampled_from([b"prefer", b"range", b"accept", b"cookie", b"content-type", b"x"]),
            st.binary(max_size=12),
        ),
        max_size=4,
    ),
    st.binary(max_size=12),
)
def test_anything_is_read_or_refused(
    method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    try:
        request = read_request(method, f"/{path}", query, headers, body, CONFIG)
    except RestError as error:
        assert 400 <= error.http_status < 500  # noqa: PT017 - both outcomes are fine
        return
    assert isinstance(request.canonical_query, str)
