import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gateway.rest.errors import RestError
from bulkhead.gateway.rest.sqlstate import from_postgres, status_of


def refusal(
    sqlstate: str, message: str = "m", detail: str | None = None, *, is_anonymous: bool = True
) -> RestError:
    return from_postgres(sqlstate, message, detail, None, is_anonymous=is_anonymous)


@pytest.mark.parametrize(
    ("sqlstate", "status"),
    [
        *[("08006", 503), ("09000", 500), ("0LP01", 403), ("0P000", 403), ("23503", 409)],
        *[("23505", 409), ("23502", 400), ("25006", 405), ("25001", 500), ("28000", 403)],
        *[("2D000", 500), ("38000", 500), ("39000", 500), ("3B000", 500), ("40001", 500)],
        *[("53400", 500), ("53300", 503), ("54001", 500), ("55006", 500), ("57P01", 503)],
        *[("57014", 500), ("58000", 500), ("F0000", 500), ("HV000", 500), ("P0001", 400)],
        *[("P0002", 500), ("XX000", 500), ("42883", 404), ("42P01", 404), ("42P17", 500)],
        *[("22P02", 400), ("PT402", 402), ("PT40A", 500), ("PT012", 500), ("PT101", 500)],
        *[("22023", 400), ("21000", 500), ("99999", 400), ("PT", 500)],
    ],
)
def test_a_sqlstate_has_a_status(sqlstate: str, status: int) -> None:
    assert refusal(sqlstate).http_status == status


def test_some_statuses_depend_on_the_message() -> None:
    unguarded = "UPDATE requires a WHERE clause"
    assert status_of("21000", unguarded, is_anonymous=True) == 400
    assert status_of("22023", 'role "x" does not exist', is_anonymous=True) == 401
    assert status_of("42883", "function xmlagg(integer) does not exist", is_anonymous=True) == 406


def test_a_missing_right_asks_strangers_to_sign_in() -> None:
    stranger = refusal("42501")
    assert stranger.http_status == 401
    assert (b"www-authenticate", b"Bearer") in stranger.headers
    user = refusal("42501", is_anonymous=False)
    assert user.http_status == 403
    assert b"www-authenticate" not in dict(user.headers)


def test_the_message_of_the_database_is_told_as_it_is() -> None:
    error = from_postgres("23505", "dup {x}.", "Key (id)=(1)", "no", is_anonymous=False)
    assert error.to_body() == {
        "code": "23505",
        "details": "Key (id)=(1)",
        "hint": "no",
        "message": "dup {x}.",
    }
    assert (b"proxy-status", b"PostgREST; error=23505") in error.headers
    assert (b"retry-after", b"1") in refusal("57P01").headers


def test_a_function_may_raise_its_whole_answer() -> None:
    error = refusal(
        "PGRST",
        '{"code":"123","message":"ABC","details":"DEF","hint":"XYZ"}',
        '{"status":332,"status_text":"My Status","headers":{"X-B":"str","X-A":"é"}}',
    )
    assert error.http_status == 332
    assert error.to_body() == {"code": "123", "details": "DEF", "hint": "XYZ", "message": "ABC"}
    assert error.headers[1:] == ((b"x-a", "é".encode()), (b"x-b", b"str"))


MESSAGE = '{"code":"1","message":"m"}'


@pytest.mark.parametrize(
    ("message", "detail", "details"),
    [
        ("INVALID", "{}", "Invalid JSON value for MESSAGE: 'INVALID'"),
        ('{"code":1,"message":""}', "{}", None),
        ('{"code":"1","message":"","hint":1}', "{}", None),
        (MESSAGE, None, "DETAIL is missing in the RAISE statement"),
        (MESSAGE, "x", "Invalid JSON value for DETAIL: 'x'"),
        (MESSAGE, '{"status":332}', None),
        (MESSAGE, '{"status":"332","headers":{}}', None),
        (MESSAGE, '{"status":true,"headers":{}}', None),
        (MESSAGE, '{"status":NaN,"headers":{}}', None),
        (MESSAGE, '{"status":20,"headers":{}}', None),
        (MESSAGE, '{"status":200,"headers":{"a":1}}', None),
        (MESSAGE, '{"status":200,"headers":{"a":"b\\r\\nc: d"}}', None),
    ],
)
def test_what_cannot_be_answered_is_said(
    message: str, detail: str | None, details: str | None
) -> None:
    error = refusal("PGRST", message, detail)
    assert error.wire_code == "PGRST121"
    assert error.http_status == 500
    assert error.advice.startswith(("MESSAGE must be", "DETAIL must be"))
    assert details is None or error.to_body()["details"] == details


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_no_raised_answer_smuggles_a_header(
    code: str, message: str, raised: dict[str, str]
) -> None:
    body = json.dumps({"code": code, "message": message})
    error = refusal("PGRST", body, json.dumps({"status": 400, "headers": raised}))
    assert error.render_body()
    for name, value in error.headers:
        assert not set(b"\r\n\0") & {*name, *value}
