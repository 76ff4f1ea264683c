import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from bulkhead.capabilities.identity.limits.service import network_of
from bulkhead.capabilities.identity.requests import read_bearer
from bulkhead.engine.errors import Unauthenticated
from bulkhead.gateway.auth.client import find_address

PROXIES = ("10.0.0.0/8", "2001:db8::5")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "6.6.6.6, nonsense", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8::5", "2001:db8::9", "2001:db8::9"),
        ("fe80::1%eth0", "", "fe80::1"),
        (None, "198.51.100.1", None),
        ("/run/socket", "198.51.100.1", None),
    ],
)
def test_only_what_a_trusted_proxy_wrote_is_believed(
    peer: str | None, forwarded: str, address: str | None
) -> None:
    assert find_address(peer, forwarded, PROXIES) == address


@given(st.text())
def test_a_stranger_s_header_changes_nothing(forwarded: str) -> None:
    assert find_address("203.0.113.9", forwarded, PROXIES) == "203.0.113.9"


@given(st.ip_addresses(), st.text())
def test_without_trusted_proxies_only_the_peer_counts(peer: object, forwarded: str) -> None:
    with_header = find_address(str(peer), forwarded, ())
    assert with_header == find_address(str(peer), "", ())


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        (None, "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_an_ipv6_client_counts_by_its_site(address: str | None, network: str) -> None:
    assert network_of(address) == network


def request(*headers: tuple[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize("header", ["Bearer abc.def", "bearer abc.def"])
def test_a_bearer_token_is_read(header: str) -> None:
    assert read_bearer(request(("authorization", header))) == "abc.def"


def test_no_header_is_no_token() -> None:
    assert read_bearer(request()) is None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "abc"])
def test_any_other_header_is_refused(header: str) -> None:
    with pytest.raises(Unauthenticated):
        read_bearer(request(("authorization", header)))
