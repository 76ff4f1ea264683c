from typing import Any

import pytest

from bulkhead.http.heads import (
    HeadersTooLarge,
    HeadLimits,
    HostMissing,
    MethodUnknown,
    UrlInvalid,
    UrlTooLong,
    verify_head,
)

LIMITS = HeadLimits(url_bytes_max=1_000, header_bytes_max=2_000, headers_max=10)


def verify_request(scope: dict[str, Any]) -> None:
    verify_head(scope, LIMITS)


def request(**changes: Any) -> dict[str, Any]:
    return {
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost")],
        **changes,
    }


def test_a_plain_request_passes() -> None:
    verify_request(request(path="/größe/😀", query_string=b"a=%41&b=%E2%82%AC"))


def test_a_long_address_is_refused() -> None:
    verify_request(request(path="/" * LIMITS.url_bytes_max))
    with pytest.raises(UrlTooLong):
        verify_request(request(path="/" * LIMITS.url_bytes_max, query_string=b"a"))


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/a\0b"},
        {"path": "/a\ud800b"},
        {"path": "/a" + chr(0xFFFD) + "b"},
        {"query_string": b"a=%00"},
    ],
)
def test_an_address_that_no_column_holds_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UrlInvalid):
        verify_request(request(**change))


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"x"), (b"a", b"b" * LIMITS.header_bytes_max)],
        [(b"host", b"x")] + [(b"a", b"b")] * LIMITS.headers_max,
    ],
)
def test_large_headers_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(HeadersTooLarge):
        verify_request(request(headers=headers))


def test_a_request_of_http_1_1_names_its_host() -> None:
    with pytest.raises(HostMissing):
        verify_request(request(headers=[]))
    with pytest.raises(HostMissing):
        verify_request(request(headers=[(b"host", b"")]))
    with pytest.raises(HostMissing):
        verify_request(request(headers=[(b"host", b"x"), (b"host", b"x")]))
    verify_request(request(headers=[], http_version="1.0"))


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW", "get"])
def test_a_strange_method_is_refused(method: str) -> None:
    with pytest.raises(MethodUnknown):
        verify_request(request(method=method))
