from typing import Any

import pytest

from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.http.asgi import Receive, Scope, Send
from bulkhead.web.proxies import TrustedProxies


async def seen_by_the_application(peer: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope)

    async def nothing(*_: Any) -> Any:
        return None

    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": list(headers)}
    await TrustedProxies(app, ["10.0.0.0/8", "::1"])(scope, nothing, nothing)
    return seen


async def test_a_stranger_s_word_about_its_address_is_not_taken() -> None:
    scope = await seen_by_the_application(
        "203.0.113.7", (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-proto", b"https")
    )
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.7", "http")


async def test_a_trusted_proxy_s_word_is_taken() -> None:
    scope = await seen_by_the_application(
        "10.9.9.9", (b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")
    )
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.7", "https")


async def test_a_proxy_is_known_on_a_socket_for_both_families() -> None:
    scope = await seen_by_the_application(
        "::ffff:10.9.9.9", (b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")
    )
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.7", "https")


@pytest.mark.parametrize("forwarded", [None, b"", b"nonsense", b"203.0.113.7, nonsense"])
async def test_a_proxy_that_says_nothing_to_the_point_is_the_client(
    forwarded: bytes | None,
) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded)]
    scope = await seen_by_the_application("10.9.9.9", *headers)
    assert scope["client"][0] == "10.9.9.9"


async def test_a_header_of_the_client_s_own_does_not_hide_the_proxy_s() -> None:
    scope = await seen_by_the_application(
        "10.9.9.9", (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"203.0.113.7")
    )
    assert scope["client"][0] == "203.0.113.7"


def test_a_proxy_that_is_no_address_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationInvalid):
        TrustedProxies(lambda *_: None, ["proxy.internal"])  # type: ignore[arg-type]
