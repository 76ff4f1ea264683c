import pytest
from hypothesis import given
from hypothesis import strategies as st

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
