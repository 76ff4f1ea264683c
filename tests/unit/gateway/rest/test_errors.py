import json

import pytest

from bulkhead.gateway.rest import errors
from bulkhead.gateway.rest.errors import (
    BodyInvalid,
    DatabaseUnreachable,
    GucHeadersInvalid,
    JwtRequired,
    JwtUndecodable,
    NotEmbedded,
    NotSingular,
    QueryInvalid,
    RestError,
    SchemaNotExposed,
)
from bulkhead.gateway.rest.schema_errors import function_not_found, relationship_not_found


def test_a_body_has_four_keys_in_postgrests_order() -> None:
    assert NotSingular(count=0).render_body() == (
        b'{"code":"PGRST116","details":"The result contains 0 rows","hint":null,'
        b'"message":"Cannot coerce the result to a single JSON object"}'
    )


def test_names_from_clients_are_no_templates() -> None:
    error = NotEmbedded(resource="{resource}{0}{")
    assert error.message == "'{resource}{0}{' is not an embedded resource in this request"
    assert error.advice.startswith("Verify that '{resource}{0}{' is")
    assert QueryInvalid(position="{x} (a.)", details="{y}").message == "{x} (a.)"


def test_only_some_messages_end_with_a_period() -> None:
    assert DatabaseUnreachable().message == "Database connection error."
    assert BodyInvalid(reason="Empty or invalid json").message == "Empty or invalid json"
    assert GucHeadersInvalid().message.endswith("a single key and a string value")


def test_details_and_hints_may_be_given_or_come_from_the_class() -> None:
    exposed = SchemaNotExposed(schema="x", exposed="v1, v2").to_body()
    assert exposed["hint"] == "Only the following schemas are exposed: v1, v2"
    given = NotSingular(count=2, details=["any", {"json": 1}], hint="try").to_body()
    assert given["details"] == ["any", {"json": 1}]
    assert given["hint"] == "try"


def test_headers_name_the_error_and_how_to_sign_in() -> None:
    assert (b"proxy-status", b"PostgREST; error=PGRST116") in NotSingular(count=0).headers
    assert (b"www-authenticate", b"Bearer") in JwtRequired().headers
    assert (
        b"www-authenticate",
        b'Bearer error="invalid_token", error_description="JWT expired"',
    ) in JwtUndecodable(reason="JWT expired").headers
    assert (b"retry-after", b"1") in DatabaseUnreachable().headers


def test_a_text_that_is_no_unicode_is_told_all_the_same() -> None:
    body = json.loads(BodyInvalid(reason="a\ud800").render_body())
    assert body["message"] == "a?"


@pytest.mark.parametrize(
    "error",
    [each for each in vars(errors).values() if isinstance(each, type)],
    ids=lambda each: each.__name__,
)
def test_the_code_is_postgrests(error: type[object]) -> None:
    if issubclass(error, RestError) and error is not RestError:
        assert error.code.upper().startswith("PGRST")
        assert 300 <= error.status < 600


def test_a_missing_relationship_tells_the_hint_that_was_used() -> None:
    error = relationship_not_found("a", "b", "api", used_hint="h", advice=None)
    assert error.to_body() == {
        "code": "PGRST200",
        "details": "Searched for a foreign key relationship between 'a' and 'b' using the hint "
        "'h' in the schema 'api', but no matches were found.",
        "hint": None,
        "message": "Could not find a relationship between 'a' and 'b' in the schema cache",
    }


@pytest.mark.parametrize(
    ("keys", "content_type", "is_post", "message", "searched"),
    [
        (["a"], "application/json", False, "api.f(a)", "api.f with parameter a"),
        (
            ["a", "b"],
            "application/json",
            True,
            "api.f(a, b)",
            "api.f with parameters a, b or with a single unnamed json/jsonb parameter",
        ),
        ([], "application/json", False, "api.f without parameters", "api.f without parameters"),
        (
            [],
            "application/octet-stream",
            True,
            "api.f",
            "api.f with a single unnamed bytea parameter",
        ),
        (["a"], "text/csv", True, "api.f(a)", "api.f with parameter a"),
    ],
)
def test_a_missing_function_tells_what_was_searched_for(
    keys: list[str], content_type: str, *, is_post: bool, message: str, searched: str
) -> None:
    error = function_not_found("api.f", keys, content_type=content_type, is_post=is_post, hint=None)
    assert error.message == f"Could not find the function {message} in the schema cache"
    assert error.to_body()["details"] == (
        f"Searched for the function {searched}, but no matches were found in the schema cache."
    )
