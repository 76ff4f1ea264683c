import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.drivers.mysql_sql import (
    account_of,
    native_hash,
    parse_query,
    quote_name,
    quote_pattern,
    quote_text,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.errors import Invalid


@pytest.mark.parametrize("name", ["", "a ", "a\r", "a\0b", "x" * 65, "\ud800", "a😀"])
def test_a_name_that_mysql_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        quote_name(name)


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_characters="\0"), min_size=1))
def test_a_quoted_name_has_no_backtick_that_ends_it(name: str) -> None:
    try:
        quoted = quote_name(name)
    except Invalid:
        return
    assert quoted[0] == quoted[-1] == "`"
    assert quoted[1:-1].replace("``", "") == name.replace("`", "")


@given(st.text())
def test_a_quoted_text_ends_where_it_should(text: str) -> None:
    quoted = quote_text(text)
    position = 1
    while position < len(quoted) - 1:
        if quoted[position] in "\\'":
            position += 1
        position += 1
    assert position == len(quoted) - 1
    assert quoted[-1] == "'"


def test_a_pattern_stands_for_one_database_only() -> None:
    assert quote_pattern("a_b%c") == r"`a\_b\%c`"


def test_placeholders_become_the_servers_and_per_cents_stay() -> None:
    query = parse_query("select '50%%', %s, 'a%' where x like '%%s' and y = %s -- 5%")
    assert query.text == "select '50%', ?, 'a%' where x like '%s' and y = ? -- 5%"
    assert query.placeholders == 2


def test_a_long_statement_is_parsed_alike() -> None:
    assert parse_query("select %s, '" + "%%" * 20_000 + "'").text == (
        "select ?, '" + "%" * 20_000 + "'"
    )


@pytest.mark.parametrize("sql", ["select '\0'", "select '\udc80'"])
def test_a_statement_that_no_server_reads_alike_is_refused(sql: str) -> None:
    with pytest.raises(Invalid):
        parse_query(sql)


def test_accounts_fit_into_what_mysql_takes_and_differ() -> None:
    short = DatabaseSpec("shop")
    assert account_of(short, Login.SERVICE) == "shop_service"
    long = [DatabaseSpec("a" * 40 + letter) for letter in "xy"]
    names = {account_of(spec, login) for spec in long for login in (Login.CLIENT, Login.SERVICE)}
    assert len(names) == 4
    assert all(len(name) <= 32 for name in names)


def test_the_hash_of_a_password_is_the_servers() -> None:
    # What `select password('mypass')` says in the manual of MySQL 5.6.
    assert native_hash("mypass") == "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"
