import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity.errors import EmailInvalid
from bulkhead.capabilities.identity.settings import IdentitySettings, Limit
from bulkhead.capabilities.identity.users.service import check_metadata, parse_email
from bulkhead.engine.errors import ConfigurationInvalid, Invalid


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada@EXAMPLE.com\n", "ada@example.com"),
        ("ada+shop@example.com", "ada+shop@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@shop.test", "ada@shop.test"),
    ],
)
def test_an_address_has_one_form(text: str, email: str) -> None:
    assert parse_email(text) == email


@pytest.mark.parametrize(
    "text",
    [
        *(
            None,
            7,
            "",
            " ",
            "ada",
            "ada@",
            "ada@localhost",
            "@example.com",
            "ada@@example.com",
            "a b@example.com",
        ),
        *("ada@example.com, bob@example.com", "ada@example.com\r\nBcc: bob@example.com"),
        *('"a b"@example.com', "Ada <ada@example.com>", "ada@[127.0.0.1]", "\u0430da@example.com"),
        "x" * 250 + "@example.com",
    ],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(EmailInvalid):
        parse_email(text)


@given(st.text(max_size=60))
def test_whatever_is_accepted_stays_what_it_is(text: str) -> None:
    try:
        email = parse_email(f"{text}@example.com")
    except EmailInvalid:
        return
    assert email.isascii()
    assert email == email.lower() == parse_email(email)
    assert not set(email) & set(' \r\n,;<>"')


def test_metadata_is_an_object_of_a_certain_size() -> None:
    settings = IdentitySettings(metadata_bytes_max=20)
    assert check_metadata(None, settings) == {}
    assert check_metadata({"a": "b"}, settings) == {"a": "b"}
    for data in ("text", [1], {"a": "x" * 20}, {"a": "é" * 10}):
        with pytest.raises(Invalid):
            check_metadata(data, settings)


@pytest.mark.parametrize(("burst", "per_s"), [(0, 1.0), (-1, 1.0), (1, 0.0)])
def test_a_limit_that_allows_nothing_is_refused(burst: int, per_s: float) -> None:
    with pytest.raises(ConfigurationInvalid):
        Limit("x", burst, per_s)
