from typing import Any

import pytest

from bulkhead.web.request_guard import (
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    URL_BYTES_MAX,
    HeadersTooLarge,
    HostMissing,
    MethodUnknown,
    UrlInvalid,
    UrlTooLong,
    verify_request,
)


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
    verify_request(request(path="/" * URL_BYTES_MAX))
    with pytest.raises(UrlTooLong):
        verify_request(request(path="/" * URL_BYTES_MAX, query_string=b"a"))


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
        [(b"host", b"x"), (b"a", b"b" * HEADER_BYTES_MAX)],
        [(b"host", b"x")] + [(b"a", b"b")] * HEADERS_MAX,
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
    verify_request(request(headers=[], http_version="1.0"))


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW", "get"])
def test_a_strange_method_is_refused(method: str) -> None:
    with pytest.raises(MethodUnknown):
        verify_request(request(method=method))
