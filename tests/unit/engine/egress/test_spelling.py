import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.egress.spelling import HostRefused, parse_host

STRANGE = [
    "",
    " ",
    ".",
    "..",
    "a..b",
    "-a.example",
    "a-.example",
    "db.example,127.0.0.1",
    "127.0.0.1,db.example",
    "db.example 127.0.0.1",
    "user@127.0.0.1",
    "127.0.0.1:5432",
    "db.example/../x",
    "/var/run/postgresql",
    "/",
    "@abstract",
    "%2Fvar%2Frun",
    "[::1]",
    "fe80::1%eth0",
    "::1%lo",
    "host=127.0.0.1",
    "db.example?host=127.0.0.1",
    "db.example#x",
    "db.example\\x",
    "db.example;x",
    "db.example\0.x",
    "db.example\n",
    "a\u202eb.example",
    "0",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "017700000001",
    "127.0.0.0x1",
    "0x",
    "1.2.3.4.5",
    "256.256.256.256",
    "127.0.0.1.",
    "example.1",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11",  # full-width digits
    "127\u30020\u30020\u30021",  # ideographic full stops
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",  # digits in circles
    "a" * 64 + ".example",
    ".".join(["abcdefgh"] * 29),
    "x" * 5000,
]


@pytest.mark.parametrize("text", STRANGE)
def test_a_strange_spelling_is_refused(text: str) -> None:
    with pytest.raises(HostRefused):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("db.example.com", "db.example.com"),
        ("DB.Example.COM.", "db.example.com"),
        ("localhost", "localhost"),
        ("my_service", "my_service"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),
        ("\uff44\uff42.example", "db.example"),
        ("1.example", "1.example"),
        ("3com", "3com"),
    ],
)
def test_a_name_is_given_back_in_ascii(text: str, name: str) -> None:
    assert parse_host(text) == name


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "::ffff:7f00:1", "2001:DB8::1"])
def test_an_address_is_given_back_as_one(text: str) -> None:
    assert parse_host(text) == ipaddress.ip_address(text)


@given(st.text(max_size=40) | st.text(string.digits + ".xXabcdef:%,/@", max_size=20))
def test_whatever_is_accepted_is_a_plain_name_or_an_address(text: str) -> None:
    try:
        host = parse_host(text)
    except HostRefused:
        return
    if isinstance(host, str):
        assert host.isascii()
        assert host == parse_host(host)
        assert not set(host) & set(",/@=?#%:;\\ \0")
        last = host.rpartition(".")[2]
        assert not last.isdecimal()
        assert not last.startswith("0x") or last.strip(string.hexdigits + "x")
