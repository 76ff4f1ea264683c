import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.http.addresses import find_address, is_trusted, parse_networks

PROXIES = parse_networks(("10.0.0.0/8", "2001:db8::5"))


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
        (None, "198.51.100.1", ""),
        ("/run/socket", "198.51.100.1", ""),
    ],
)
def test_only_what_a_trusted_proxy_wrote_is_believed(
    peer: str | None, forwarded: str, address: str
) -> None:
    assert find_address(peer, [forwarded], PROXIES) == address


@given(st.text())
def test_a_stranger_s_header_changes_nothing(forwarded: str) -> None:
    assert find_address("203.0.113.9", [forwarded], PROXIES) == "203.0.113.9"


@given(st.ip_addresses(), st.text())
def test_without_trusted_proxies_only_the_peer_counts(peer: object, forwarded: str) -> None:
    with_header = find_address(str(peer), [forwarded], ())
    assert with_header == find_address(str(peer), [], ())


def test_a_header_of_the_client_s_own_does_not_hide_the_proxy_s() -> None:
    assert find_address("10.0.0.1", ["6.6.6.6", "198.51.100.1"], PROXIES) == "198.51.100.1"
    assert find_address("10.0.0.1", ["198.51.100.1", ""], PROXIES) == "198.51.100.1"


def test_what_was_found_is_found_again() -> None:
    lines = ["6.6.6.6, 198.51.100.1, 10.0.0.2"]
    found = find_address("10.0.0.1", lines, PROXIES)
    assert find_address(found, lines, PROXIES) == found


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::5"])
def test_a_proxy_is_known_however_its_address_is_written(peer: str) -> None:
    assert is_trusted(peer, PROXIES)


@pytest.mark.parametrize("peer", [None, "", "/run/socket", "203.0.113.9", "2001:db8::6"])
def test_nobody_else_is_a_proxy(peer: str | None) -> None:
    assert not is_trusted(peer, PROXIES)


@pytest.mark.parametrize("text", ["proxy.internal", "10.0.0.0/33", ""])
def test_a_proxy_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="BULKHEAD_TRUSTED_PROXIES"):
        parse_networks(("10.0.0.0/8", text))
