import asyncio
import ssl

import pytest
from asyncmy import errors as mysql

from bulkhead.engine.drivers.errors import (
    CheckViolated,
    ConnectionLost,
    DatabaseMissing,
    DeadlockDetected,
    ForeignKeyViolated,
    LoginRefused,
    RaisedBySql,
    ReadOnlyViolated,
    ServerOverloaded,
    ServerUnreachable,
    SqlError,
    StatementTimeout,
    TlsRequired,
    TooManyConnections,
    UniqueViolated,
    ValueInvalid,
    is_connection_loss,
)
from bulkhead.engine.drivers.mysql_errors import BY_NUMBER, translate, translate_connect
from bulkhead.engine.errors import BulkheadError

FOREIGN = (
    "Cannot add or update a child row: a foreign key constraint fails (`a`.`t`, "
    "CONSTRAINT `t_other` FOREIGN KEY (`other`) REFERENCES `t` (`id`))"
)


@pytest.mark.parametrize(
    ("number", "text", "kind", "constraint"),
    [
        (1062, "Duplicate entry 'x' for key 'PRIMARY'", UniqueViolated, "PRIMARY"),
        (1062, "Duplicate entry 'for key 'a'' for key 't.slug'", UniqueViolated, "slug"),
        (1452, FOREIGN, ForeignKeyViolated, "t_other"),
        (4025, "CONSTRAINT `pos` failed for `a`.`t`", CheckViolated, "pos"),
        (3819, "Check constraint 'pos' is violated.", CheckViolated, "pos"),
    ],
)
def test_constraints_are_named_and_values_are_not(
    number: int, text: str, kind: type[SqlError], constraint: str
) -> None:
    found = translate(mysql.IntegrityError(number, text))
    assert type(found) is kind
    assert isinstance(found, SqlError)
    assert found.constraint == constraint
    assert "entry" not in str(found.to_json())


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [
        (1021, "Disk full (/tmp/x); waiting", ServerOverloaded),
        (1114, "The table 't' is full", ServerOverloaded),
        (1030, 'Got error 28 "No space left on device" from storage engine', ServerOverloaded),
        (1030, "Got error 122 from storage engine", SqlError),
        (
            1005,
            'Can\'t create table `a`.`b` (errno: 28 "No space left on device")',
            ServerOverloaded,
        ),
        (1006, "Can't create database 'a' (errno: 28)", ServerOverloaded),
        (1004, "Can't create file 'a28' (errno: 13)", SqlError),
        (3, "Error writing file 'a' (Errcode: 28 \"No space left on device\")", ServerOverloaded),
        (1290, "running with the --read-only option", ReadOnlyViolated),
        (1290, "running with the --secure-file-priv option", SqlError),
        (1213, "Deadlock found", DeadlockDetected),
        (1927, "Connection was killed", ConnectionLost),
        (2006, "MySQL server has gone away", ConnectionLost),
        (2013, "Lost connection", ConnectionLost),
        (0, "Not connected", ConnectionLost),
        (3024, "Query execution was interrupted", StatementTimeout),
        (9999, "never heard of", SqlError),
    ],
)
def test_numbers_become_errors_of_ours(number: int, text: str, kind: type[BulkheadError]) -> None:
    assert type(translate(mysql.OperationalError(number, text))) is kind


def test_what_a_function_said_is_kept_and_made_printable() -> None:
    found = translate(mysql.OperationalError(1644, "No stock\x1b[2J left" + "!" * 1000))
    assert isinstance(found, RaisedBySql)
    assert found.message.startswith("No stock [2J left!")
    assert len(found.message) == 500


def test_names_of_a_hostile_server_are_short_and_printable() -> None:
    text = "Duplicate entry 'x' for key '" + "\x1b" * 500 + "'"
    found = translate(mysql.IntegrityError(1062, text))
    assert isinstance(found, SqlError)
    assert found.constraint == " " * 64


@pytest.mark.parametrize("error", [IndexError(), AssertionError(), mysql.InternalError("seq")])
def test_nonsense_of_a_server_is_a_lost_connection(error: Exception) -> None:
    assert isinstance(translate(error), ConnectionLost)
    assert is_connection_loss(translate(error))


def test_values_that_cannot_be_sent_are_the_callers() -> None:
    assert isinstance(translate(ValueError("too big")), ValueInvalid)
    assert isinstance(translate(TimeoutError()), StatementTimeout)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (mysql.OperationalError(1045, "Access denied"), LoginRefused, "refuses role 'app'"),
        (mysql.OperationalError(1044, "Access denied"), LoginRefused, "'shop'"),
        (mysql.OperationalError(1049, "Unknown database"), DatabaseMissing, "no database 'shop'"),
        (mysql.OperationalError(1040, "Too many"), TooManyConnections, "more connections"),
        (mysql.OperationalError(4151, "locked"), ServerUnreachable, "is sealed"),
        (mysql.OperationalError(3159, "insecure"), TlsRequired, "encrypted connections only"),
        (mysql.OperationalError(1129, "blocked"), ServerUnreachable, "error 1129"),
        (mysql.OperationalError(2013, "lost"), ServerUnreachable, "connection broke"),
        (asyncio.IncompleteReadError(b"", 4), ServerUnreachable, "connection broke"),
        (ConnectionRefusedError(111, "Connection refused"), ServerUnreachable, "refused"),
        (ssl.SSLError(1, "[SSL] wrong version"), TlsRequired, "handshake"),
        (TimeoutError(), ServerUnreachable, "no answer within 5 s"),
    ],
)
def test_a_refused_connection_is_explained(
    error: Exception, kind: type[BulkheadError], words: str
) -> None:
    wrapped = mysql.OperationalError(2003, "Can't connect")
    wrapped.__cause__ = error
    for given in (error, wrapped):
        found = translate_connect(given, server="db:3306", role="app", database="shop", timeout_s=5)
        if given is error or not isinstance(error, mysql.Error):
            assert type(found) is kind
            assert words in found.message


def test_every_number_is_known_once() -> None:
    assert all(issubclass(kind, BulkheadError) for kind in BY_NUMBER.values())


def test_who_names_no_database_is_refused_at_the_servers_own() -> None:
    error = mysql.OperationalError(1045, "Access denied for user 'root'@'localhost'")
    found = translate_connect(error, server="db:3306", role="root", database="", timeout_s=5)
    assert found.message == "The server db:3306 refuses role 'root' for database 'mysql'."
