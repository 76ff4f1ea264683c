from ipaddress import ip_network
from typing import Any

import pytest

from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.http.asgi import Receive, Scope, Send
from bulkhead.web.proxies import TrustedProxies, find_client

PROXIES = [ip_network("10.0.0.0/8")]


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.1.1", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.1.1.1, 10.2.2.2", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("203.0.113.7, not an address", None),
        ("10.1.1.1", None),
        ("", None),
    ],
)
def test_the_client_is_the_last_stranger(forwarded: str, client: str | None) -> None:
    assert find_client(forwarded, PROXIES) == client


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


async def test_a_header_of_the_client_s_own_does_not_hide_the_proxy_s() -> None:
    scope = await seen_by_the_application(
        "10.9.9.9", (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"203.0.113.7")
    )
    assert scope["client"][0] == "203.0.113.7"


def test_a_proxy_that_is_no_address_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationInvalid):
        TrustedProxies(lambda *_: None, ["proxy.internal"])  # type: ignore[arg-type]
