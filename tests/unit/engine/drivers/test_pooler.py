from dataclasses import replace

import asyncpg
import pytest

from bulkhead.engine.drivers.errors import (
    ConnectionLost,
    DatabaseMissing,
    LoginRefused,
    PoolerExhausted,
    PoolerUndeclared,
    ServerUnreachable,
    TooManyConnections,
    is_connection_loss,
    translate,
)
from bulkhead.engine.drivers.pooler import Word, pooler_word
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.drivers.refusals import translate_connect
from bulkhead.engine.errors import BulkheadError


def said(text: str, sqlstate: str = "08P01") -> asyncpg.PostgresError:
    """What asyncpg makes of a pooler's last word."""
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(
        {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text}
    )
    return error


def broken_off(text: str) -> Exception:
    """What a statement raises that was told so: asyncpg keeps the word as the cause."""
    error = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    error.__cause__ = said(text)
    return error


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SASL authentication failed", LoginRefused),
        ("password authentication failed", LoginRefused),
        ("no such user", LoginRefused),
        ("no such user: shop", LoginRefused),
        ("no such database: shop", DatabaseMissing),
        ("no more connections allowed (max_client_conn)", TooManyConnections),
        ("unsupported startup parameter: statement_timeout", PoolerUndeclared),
        ("query_wait_timeout", ServerUnreachable),
        ("server login has been failing, try again later (server_login_retry)", ServerUnreachable),
        ("something that nobody has said before", ServerUnreachable),
    ],
)
def test_a_poolers_words_say_why_it_lets_nobody_in(text: str, kind: type[BulkheadError]) -> None:
    found = translate_connect(
        said(text), server="pooler:6432", role="shop", database="shop", timeout_s=5
    )
    assert type(found) is kind
    assert "pooler:6432" in found.message or kind is TooManyConnections
    assert "nobody has said" not in found.message


def test_a_full_pool_is_no_lost_connection_to_the_reader_but_counts_as_one() -> None:
    found = translate(broken_off("query_wait_timeout"))
    assert isinstance(found, PoolerExhausted)
    assert is_connection_loss(found)
    assert isinstance(translate(broken_off("server conn crashed?")), ConnectionLost)


def test_the_same_words_of_another_error_are_not_a_poolers() -> None:
    assert pooler_word(said("query_wait_timeout", "57014")) is None
    assert pooler_word(ValueError("query_wait_timeout")) is None
    assert pooler_word(said("query_wait_timeout")) is Word.WAITED


@pytest.mark.parametrize(
    ("pooler", "login"),
    [
        ("postgresql://postgres:p@pooler.example:6543/postgres", "shop_client"),
        ("postgresql://postgres.abcdef:p@pooler.example:6543/postgres", "shop_client.abcdef"),
        ("postgresql://another:p@pooler.example:6543/postgres", "shop_client"),
    ],
)
def test_a_pooler_of_many_projects_is_told_which_one(pooler: str, login: str) -> None:
    server = "postgresql://postgres:p@db.example/postgres"
    driver = PostgresDriver(server, bytes(range(32)), pooler=pooler)
    assert driver.pooler is not None
    spec = DatabaseSpec("shop")
    found = driver.pooled_session(driver.pooler, spec, Login.CLIENT)
    assert found == replace(driver.session(spec, Login.CLIENT), user=login)
