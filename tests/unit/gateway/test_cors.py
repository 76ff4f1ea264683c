from typing import Any

import pytest

from bulkhead.gateway.cors import ANY_ORIGIN, EXPOSED, SHARED, find_preflight, share

ORIGIN = (b"origin", b"https://shop.example")
WANTS = (b"access-control-request-method", b"PATCH")


def request(method: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": method, "headers": list(headers)}


def test_a_preflight_is_answered_with_what_the_page_wants_to_send() -> None:
    wanted = (b"access-control-request-headers", b"Foo,Bar")
    answer = dict(find_preflight(request("OPTIONS", ORIGIN, WANTS, wanted)) or [])
    assert answer[b"access-control-allow-origin"] == b"*"
    assert (
        answer[b"access-control-allow-methods"] == b"GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD"
    )
    assert (
        answer[b"access-control-allow-headers"]
        == b"Authorization, Foo, Bar, Accept, Accept-Language, Content-Language"
    )
    assert answer[b"access-control-max-age"] == b"86400"


@pytest.mark.parametrize(
    "scope",
    [
        request("OPTIONS"),
        request("OPTIONS", ORIGIN),
        request("OPTIONS", WANTS),
    ],
)
def test_everything_else_is_no_preflight(scope: dict[str, Any]) -> None:
    assert find_preflight(scope) is None


def test_pages_may_read_every_header_that_clients_use() -> None:
    assert dict(SHARED)[b"access-control-expose-headers"] == EXPOSED
    names = {name.lower() for name in EXPOSED.split(b", ")}
    assert names >= {b"content-range", b"location", b"preference-applied", b"x-sb-error-code"}


def test_an_answer_that_says_who_may_read_it_is_left_as_it_is() -> None:
    own = [(b"access-control-allow-origin", b"https://shop.example")]
    assert share(own, [ANY_ORIGIN]) == own
    assert share([(b"a", b"b")], [ANY_ORIGIN]) == [(b"a", b"b"), ANY_ORIGIN]
