import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity import errors
from bulkhead.capabilities.identity.errors import (
    CodeInvalid,
    InvalidCredentials,
    MailRateLimited,
    PasswordWeak,
    RateLimited,
    TokenInvalid,
    UserBanned,
)
from bulkhead.engine.drivers.errors import ServerUnreachable
from bulkhead.engine.errors import BulkheadError, Unauthenticated, Unavailable
from bulkhead.gateway.auth.body import parse_body
from bulkhead.gateway.auth.errors import BodyInvalid
from bulkhead.gateway.auth.redirect import render_redirect
from bulkhead.gateway.auth.wire import is_versioned, render_error

NEW = "2024-01-01"


def test_an_error_in_the_first_version_of_the_api() -> None:
    answer = render_error(InvalidCredentials(), None)
    assert answer.status == 400
    assert answer.body == {
        "code": 400,
        "error_code": "invalid_credentials",
        "msg": "Invalid login credentials",
    }
    assert dict(answer.headers) == {"x-sb-error-code": "invalid_credentials"}


def test_an_error_in_the_version_of_2024() -> None:
    answer = render_error(InvalidCredentials(), NEW)
    assert answer.body == {"code": "invalid_credentials", "message": "Invalid login credentials"}
    assert dict(answer.headers) == {
        "x-sb-error-code": "invalid_credentials",
        "x-supabase-api-version": NEW,
    }


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, False),
        ("", False),
        ("nonsense", False),
        ("2023-12-31", False),
        ("2024-01-01", True),
        ("2026-05-05", True),
    ],
)
def test_later_versions_are_answered_in_the_version_of_2024(
    version: str | None, *, expected: bool
) -> None:
    assert is_versioned(version) is expected


def test_a_weak_password_carries_its_reasons() -> None:
    error = PasswordWeak(reason="Too short.", reasons=["length"])
    for version in (None, NEW):
        body = render_error(error, version).body
        assert body["weak_password"] == {"reasons": ["length"]}
        assert "Too short." in body.values()


def test_who_is_not_signed_in_learns_how_to() -> None:
    answer = render_error(Unauthenticated(), NEW)
    assert (answer.status, answer.code) == (401, "no_authorization")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_bad_token_is_forbidden_here() -> None:
    answer = render_error(TokenInvalid(reason="it has expired"), NEW)
    assert (answer.status, answer.message) == (403, "invalid JWT: it has expired")


def test_a_refused_grant_is_a_bad_request() -> None:
    assert render_error(UserBanned(), NEW).status == 403
    assert render_error(UserBanned(), NEW, grant=True).status == 400
    assert render_error(RateLimited(retry_after_s=7), NEW, grant=True).status == 429


@pytest.mark.parametrize("kind", [RateLimited, MailRateLimited])
def test_a_limit_says_when_to_come_back(kind: type[RateLimited]) -> None:
    answer = render_error(kind(retry_after_s=7), NEW)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(
    "error", [BulkheadError(), ServerUnreachable(server="secret-host", reason="secret")]
)
def test_a_failure_of_ours_says_nothing_about_us(error: BulkheadError) -> None:
    answer = render_error(error, NEW)
    assert answer.status >= 500
    assert answer.code == "unexpected_failure"
    assert "secret" not in json.dumps(answer.body)


def test_a_failure_that_passes_says_when_to_come_back() -> None:
    assert render_error(Unavailable(what="X"), NEW).headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "kind",
    [
        each
        for each in vars(errors).values()
        if isinstance(each, type)
        and issubclass(each, BulkheadError)
        and each.__module__ == errors.__name__
    ],
)
def test_every_error_can_be_said(kind: type[BulkheadError]) -> None:
    details = dict.fromkeys(("reason", "reasons", "what", "why", "path", "kid", "function"), "x")
    error = kind(**details, retry_after_s=1)
    for version in (None, NEW):
        answer = render_error(error, version)
        assert answer.message
        assert "{" not in answer.message
        assert answer.headers["x-sb-error-code"] == answer.code


def test_a_redirect_hides_its_values_in_the_fragment() -> None:
    url = render_redirect("https://x.example/a?b=c#old", {"error_code": "otp_expired", "a": "b c"})
    parts = urlsplit(url)
    assert (parts.netloc, parts.path, parts.query) == ("x.example", "/a", "b=c")
    assert parse_qs(parts.fragment, keep_blank_values=True) == {
        "error_code": ["otp_expired"],
        "a": ["b c"],
        "sb": [""],
    }
    assert CodeInvalid().status == 403


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a": ' + b"[" * 20_000,
    ],
)
def test_a_body_that_readers_disagree_about_is_refused(raw: bytes) -> None:
    with pytest.raises(BodyInvalid):
        parse_body(raw)


@pytest.mark.parametrize("raw", [b"", b"  ", b"{}"])
def test_an_empty_body_is_an_empty_object(raw: bytes) -> None:
    assert parse_body(raw).values == {}


JSON_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)


@given(
    st.dictionaries(
        JSON_TEXT,
        st.recursive(
            st.none() | st.booleans() | st.integers() | JSON_TEXT,
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(JSON_TEXT, inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=5,
    )
)
def test_an_ordinary_body_is_read_as_it_is(value: dict[str, Any]) -> None:
    assert parse_body(json.dumps(value).encode()).values == value


def test_a_field_of_the_wrong_type_is_refused() -> None:
    body = parse_body(b'{"a": 1, "b": "x", "c": {"d": 1}, "e": null}')
    assert (body.text("b"), body.text("e"), body.text("f")) == ("x", "", "")
    assert body.mapping("c") == {"d": 1}
    assert body.mapping("e") is None
    for read in (lambda: body.text("a"), lambda: body.text("c"), lambda: body.mapping("b")):
        with pytest.raises(BodyInvalid):
            read()
