import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.egress.address import (
    LOOPBACK,
    is_allowed,
    is_public,
    parse_network,
    unmapped,
)
from bulkhead.engine.errors import ConfigurationInvalid

DANGEROUS = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "192.0.1.1",
    "2606:4700:4700::1111",
    "2a00:1450::1",
]


@pytest.mark.parametrize("text", DANGEROUS)
def test_an_address_of_a_special_purpose_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    # Of an IPv4 address within IPv6 some versions of Python call every one private.
    address = unmapped(address)
    if address.is_private or address.is_multicast or address.is_reserved or address.is_loopback:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_what_it_stands_for_or_refused(
    address: ipaddress.IPv4Address,
) -> None:
    number = int(address)
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    assert is_public(mapped) == is_public(address)
    for prefix in (0, 0x64FF9B << 96, 0xFFFF << 48):
        assert not is_public(ipaddress.IPv6Address(prefix | number))
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))


def test_a_network_that_is_allowed_lets_in_what_is_mapped_to_it_and_nothing_else() -> None:
    assert is_allowed(ipaddress.ip_address("127.0.0.9"), LOOPBACK)
    assert is_allowed(ipaddress.ip_address("::ffff:127.0.0.9"), LOOPBACK)
    assert is_allowed(ipaddress.ip_address("::1"), LOOPBACK)
    assert not is_allowed(ipaddress.ip_address("10.0.0.1"), LOOPBACK)
    assert not is_allowed(ipaddress.ip_address("64:ff9b::7f00:1"), LOOPBACK)


def test_metadata_is_let_in_by_its_own_address_only() -> None:
    address = ipaddress.ip_address("169.254.169.254")
    assert not is_allowed(address, [parse_network("169.254.0.0/16")])
    assert not is_allowed(address, [parse_network("0.0.0.0/0")])
    assert is_allowed(address, [parse_network("169.254.169.254")])


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0", "localhost", "::1/129", "*"])
def test_a_network_must_be_one(text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="is no network"):
        parse_network(text)
