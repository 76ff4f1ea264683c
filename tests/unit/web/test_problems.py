import pytest

from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.drivers.errors import LoginRefused, ServerUnreachable
from bulkhead.engine.errors import BulkheadError, Conflict, NotFound, Unauthenticated
from bulkhead.engine.fleet.refusal import TenantMoving
from bulkhead.web.problems import problem_headers, render_problem


class StockExhausted(Conflict):
    """Only {left} of '{sku}' are left."""

    code = "test_stock_exhausted"
    hint = "Order at most {left}."


def test_a_refusal_says_what_happened_and_what_to_do() -> None:
    assert render_problem(StockExhausted(left=2, sku="T-1"), "r1") == {
        "type": "/docs/errors#test_stock_exhausted",
        "title": "Test stock exhausted",
        "status": 409,
        "detail": "Only 2 of 'T-1' are left.",
        "code": "test_stock_exhausted",
        "hint": "Order at most 2.",
        "request_id": "r1",
        "left": 2,
        "sku": "T-1",
    }


def test_a_detail_never_takes_the_place_of_a_member() -> None:
    problem = render_problem(Conflict(reason="closed", status="paid", code="x"), "r1")
    assert (problem["status"], problem["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    "error",
    [
        ServerUnreachable(server="db-7.internal:5432", reason="timed out"),
        LoginRefused(server="db-7.internal", role="orders_client", database="orders"),
        BulkheadError(server="db-7.internal"),
    ],
)
def test_a_failure_does_not_say_where_our_servers_are(error: BulkheadError) -> None:
    problem = render_problem(error, "r1")
    assert "db-7" not in str(problem)
    assert "orders_client" not in str(problem)
    assert problem["code"] == error.code


def test_a_failure_says_which_database_is_away() -> None:
    problem = render_problem(DatabaseUnavailable(database="commerce.orders"), "r1")
    assert problem["database"] == "commerce.orders"
    assert "Idempotency-Key" in problem["hint"]


def test_a_store_that_is_moved_says_that_it_takes_moments() -> None:
    problem = render_problem(TenantMoving(tenant="3f"), "r1")
    assert problem["detail"] == "Tenant 3f is being moved to another server."
    assert problem["hint"] == "It takes moments. Repeat the request."


def test_headers_say_when_to_repeat_and_how_to_sign_in() -> None:
    away = dict(problem_headers(DatabaseUnavailable(database="orders")))
    assert away[b"retry-after"] == b"1"
    assert dict(problem_headers(Unauthenticated()))[b"www-authenticate"] == b"Bearer"
    assert b"retry-after" not in dict(problem_headers(NotFound(what="Order")))
