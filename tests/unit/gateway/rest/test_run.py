import asyncpg
import pytest

from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.connections.pool import PoolExhausted
from bulkhead.engine.drivers.errors import CommitUnknown, StatementTimeout, translate
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.rest.config import RestConfig, TxEnd
from bulkhead.gateway.rest.query import Query
from bulkhead.gateway.rest.request import Action, ApiRequest, Preferences
from bulkhead.gateway.rest.run import is_taken_back, to_rest_error


def request(**preferences: object) -> ApiRequest:
    return ApiRequest(
        method="PATCH",
        path="/a",
        action=Action.UPDATE,
        schema="public",
        resource="a",
        is_function=False,
        query=Query(),
        values=(),
        ranges={},
        preferences=Preferences(**preferences),  # type: ignore[arg-type]
        accept=("*/*",),
        content_type="application/json",
        payload=None,
        columns=frozenset(),
    )


@pytest.mark.parametrize(
    ("end", "wanted", "expected"),
    [
        (TxEnd.COMMIT, None, False),
        (TxEnd.COMMIT, "rollback", False),
        (TxEnd.COMMIT_ALLOW_OVERRIDE, "rollback", True),
        (TxEnd.COMMIT_ALLOW_OVERRIDE, None, False),
        (TxEnd.ROLLBACK, "commit", True),
        (TxEnd.ROLLBACK_ALLOW_OVERRIDE, "commit", False),
        (TxEnd.ROLLBACK_ALLOW_OVERRIDE, None, True),
    ],
)
def test_a_preference_ends_the_transaction_only_where_it_may(
    end: TxEnd, wanted: str | None, *, expected: bool
) -> None:
    assert is_taken_back(request(transaction=wanted), RestConfig(tx_end=end)) is expected


def raised(cause: Exception) -> BulkheadError:
    error = translate(cause)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(("is_anonymous", "status"), [(True, 401), (False, 403)])
def test_what_the_database_says_is_passed_on(*, is_anonymous: bool, status: int) -> None:
    cause = asyncpg.exceptions.PostgresError.new(
        {"C": "42501", "M": "permission denied for table a", "H": "Ask somebody.", "S": "ERROR"}
    )
    error = to_rest_error(raised(cause), is_anonymous=is_anonymous)
    assert error.http_status == status
    assert error.to_body() == {
        "code": "42501",
        "details": None,
        "hint": "Ask somebody.",
        "message": "permission denied for table a",
    }


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (PoolExhausted(database="a", timeout_s=5), "PGRST003", 504),
        (DatabaseUnavailable(database="a"), "PGRST000", 503),
        (CommitUnknown(database="a"), "PGRST000", 503),
        (StatementTimeout(sqlstate="57014"), "57014", 500),
        (BulkheadError(), "PGRST001", 503),
    ],
)
def test_what_the_engine_says_has_a_code_that_clients_know(
    error: BulkheadError, code: str, status: int
) -> None:
    found = to_rest_error(error, is_anonymous=False)
    assert (found.wire_code, found.http_status) == (code, status)
