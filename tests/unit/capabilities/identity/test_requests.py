import pytest
from starlette.requests import Request

from bulkhead.capabilities.identity.limits.service import network_of
from bulkhead.capabilities.identity.requests import read_bearer
from bulkhead.engine.errors import Unauthenticated


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
