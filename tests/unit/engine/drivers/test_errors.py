import asyncio
import ssl

import asyncpg
import pytest

from bulkhead.engine.drivers.errors import (
    BY_SQLSTATE,
    CheckViolated,
    CommitUnknown,
    ConnectionLost,
    DatabaseMissing,
    LoginRefused,
    RaisedBySql,
    ServerOverloaded,
    ServerStarting,
    ServerUnreachable,
    SqlError,
    StatementTimeout,
    TlsRequired,
    TooManyConnections,
    UniqueViolated,
    ValueInvalid,
    is_connection_loss,
    translate,
)
from bulkhead.engine.drivers.refusals import translate_connect
from bulkhead.engine.errors import BulkheadError, NotFound


def server_error(sqlstate: str, message: str = "secret 42", **fields: str) -> asyncpg.PostgresError:
    """What asyncpg makes of an ErrorResponse."""
    codes = {
        "detail": "D",
        "hint": "H",
        "table": "t",
        "column": "c",
        "constraint": "n",
        "function": "R",
    }
    response = {"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": message}
    response |= {codes[name]: value for name, value in fields.items()}
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(response)
    return error


def refused(error: BaseException) -> BulkheadError:
    return translate_connect(
        error, server="db.example:5432", role="shop_client", database="shop", timeout_s=5.0
    )


@pytest.mark.parametrize(
    ("sqlstate", "code", "status"),
    [
        ("23505", "unique_violated", 409),
        ("23503", "foreign_key_violated", 409),
        ("23001", "foreign_key_violated", 409),
        ("23P01", "exclusion_violated", 409),
        ("23514", "check_violated", 422),
        ("23502", "not_null_violated", 422),
        ("22P02", "value_invalid", 422),
        ("22003", "value_invalid", 422),
        ("22021", "value_invalid", 422),
        ("42501", "permission_denied", 403),
        ("25006", "read_only_violated", 405),
        ("40001", "serialization_failed", 503),
        ("40P01", "deadlock_detected", 503),
        ("55P03", "lock_timeout", 503),
        ("57014", "statement_timeout", 504),
        ("53300", "too_many_connections", 503),
        ("53100", "server_overloaded", 503),
        ("57P01", "connection_lost", 503),
        ("08006", "connection_lost", 503),
        ("25P03", "connection_lost", 503),
        ("3D000", "database_missing", 503),
        ("28P01", "login_refused", 503),
        ("P0001", "raised_by_sql", 400),
        ("42P01", "sql_error", 500),
        ("XX000", "sql_error", 500),
    ],
)
def test_each_sqlstate_has_its_error(sqlstate: str, code: str, status: int) -> None:
    found = translate(server_error(sqlstate))
    assert (found.code, found.status) == (code, status)


def test_what_may_be_repeated_says_when() -> None:
    for state in ("40001", "40P01", "55P03", "57P01", "53300"):
        assert translate(server_error(state)).retry_after_s is not None
    for state in ("23505", "42501", "22P02"):
        assert translate(server_error(state)).retry_after_s is None


def test_names_are_kept_and_values_are_not() -> None:
    found = translate(
        server_error(
            "23505",
            'duplicate key value violates unique constraint "users_email_key"',
            detail="Key (email)=(somebody@example.com) already exists.",
            table="users",
            constraint="users_email_key",
        )
    )
    assert isinstance(found, UniqueViolated)
    assert (found.constraint, found.table, found.column) == ("users_email_key", "users", None)
    assert found.sqlstate == "23505"
    assert "somebody" not in str(found.to_json())


def test_what_a_function_of_ours_raises_is_passed_on() -> None:
    found = translate(server_error("P0001", "The plan allows 3 stores", function="exec_stmt_raise"))
    assert isinstance(found, RaisedBySql)
    assert (found.reason, found.sqlstate) == ("The plan allows 3 stores", "P0001")
    assert found.to_json()["message"] == "The plan allows 3 stores"


def test_a_function_may_raise_a_condition_of_the_standard_or_of_its_own() -> None:
    found = translate(server_error("23514", "Out of stock", function="exec_stmt_raise"))
    assert isinstance(found, CheckViolated)
    assert found.message == "Out of stock"
    own = translate(server_error("BH001", "Out of stock", function="exec_stmt_raise"))
    assert isinstance(own, RaisedBySql)
    assert own.sqlstate == "BH001"


def test_what_the_server_says_by_itself_is_not_passed_on() -> None:
    for state in ("23514", "22P02", "42P01", "BH001"):
        assert "secret 42" not in str(translate(server_error(state)).to_json())


def test_our_own_errors_stay_themselves() -> None:
    error = NotFound(what="x")
    assert translate(error) is error
    assert refused(error) is error


def test_errors_of_the_client_are_translated_too() -> None:
    assert isinstance(translate(asyncpg.DataError("invalid input for $1: 'x'")), ValueInvalid)
    assert isinstance(translate(TimeoutError()), StatementTimeout)
    assert isinstance(translate(ConnectionResetError()), ConnectionLost)
    assert isinstance(translate(asyncpg.InterfaceError("connection is closed")), ConnectionLost)
    assert type(translate(asyncpg.InterfaceError("another operation is in progress"))) is SqlError


def test_every_translated_error_has_a_message_without_gaps() -> None:
    for state in BY_SQLSTATE:
        found = translate(server_error(state.ljust(5, "0")))
        if not isinstance(found, LoginRefused | DatabaseMissing):
            assert "{" not in found.message


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        EOFError(),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation is in progress"),
        server_error("57P01"),
        server_error("57P02"),
        server_error("08006"),
        ConnectionLost(),
        CommitUnknown(database="orders"),
        ServerUnreachable(server="s", reason="r"),
    ],
)
def test_a_lost_answer_is_known_as_such(error: Exception) -> None:
    assert is_connection_loss(error)
    translated = translate(error)
    translated.__cause__ = error
    assert is_connection_loss(translated)


@pytest.mark.parametrize(
    "error",
    [
        server_error("23505"),
        server_error("40001"),
        server_error("57014"),
        FileNotFoundError(),
        ValueError(),
        asyncio.CancelledError(),
        NotFound(what="x"),
    ],
)
def test_an_answer_is_no_loss(error: BaseException) -> None:
    assert not is_connection_loss(error)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (
            ConnectionRefusedError(111, "Connection refused"),
            ServerUnreachable,
            "Connection refused",
        ),
        (TimeoutError(), ServerUnreachable, "no answer within 5 s"),
        (asyncpg.ConnectionDoesNotExistError("x"), ServerUnreachable, "refused the connection"),
        (server_error("57P03"), ServerStarting, "starting up"),
        (server_error("55000"), ServerUnreachable, "sealed"),
        (server_error("28P01"), LoginRefused, "'shop_client'"),
        (server_error("42501"), LoginRefused, "'shop'"),
        (server_error("3D000"), DatabaseMissing, "'shop'"),
        (server_error("53300"), TooManyConnections, "any more"),
        (server_error("XX000"), ServerUnreachable, "XX000"),
        (
            server_error("28000", 'no pg_hba.conf entry for host "10.0.0.1", no encryption'),
            TlsRequired,
            "encrypted connections only",
        ),
        (ConnectionError("rejected SSL upgrade"), TlsRequired, "does not offer TLS"),
        (ssl.SSLError(1, "[SSL] handshake failed"), TlsRequired, "db.example:5432"),
    ],
)
def test_a_refused_connection_says_why(
    error: Exception, expected: type[BulkheadError], words: str
) -> None:
    found = refused(error)
    assert type(found) is expected
    assert words in found.message
    assert found.status == 503
    assert "{" not in found.message + found.advice


def test_other_resources_are_named() -> None:
    found = translate(server_error("53100"))
    assert isinstance(found, ServerOverloaded)
    assert "disk space" in found.message
