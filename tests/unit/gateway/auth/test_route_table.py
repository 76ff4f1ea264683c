import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.auth.app import RouteTable
from bulkhead.gateway.auth.call import Route
from bulkhead.gateway.auth.errors import MethodUnsupported, PathUnknown
from bulkhead.gateway.auth.routes import ROUTES

TABLE = RouteTable(ROUTES)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_found_at_its_address(route: Route) -> None:
    found = TABLE.find(route.method, route.path.replace("{", "").replace("}", ""))
    assert found.endpoint is route.endpoint


def test_no_address_is_there_twice() -> None:
    addresses = [(route.method, route.path) for route in ROUTES]
    assert len(set(addresses)) == len(addresses)


def test_what_stands_in_the_path_is_handed_over() -> None:
    found = TABLE.find("DELETE", "/user/identities/abc")
    assert found.names == {"identity_id": "abc"}


@given(
    st.sampled_from(METHODS) | st.text(max_size=5),
    st.lists(st.sampled_from(["user", "admin", "users", "x", "", "..", "{factor_id}", "factors"])),
)
def test_any_other_address_is_refused(method: str, parts: list[str]) -> None:
    try:
        found = TABLE.find(method, "/" + "/".join(parts))
    except (PathUnknown, MethodUnsupported):
        return
    assert all(found.names.values())
    assert method in METHODS
