"""Whatever is sent over a real socket is refused with a code, never with a failure."""

import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.web.raw import send_raw
from tests.integration.web.sample_api import UPLOAD_BYTES_MAX

from bulkhead.web.serving import Serving

JSON = {"content-type": "application/json"}
HEAD = "POST /sample/anything HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

BODIES = {
    "nothing after the brace": (b"{", "json_invalid"),
    "a trailing comma": (b'{"name":"a",}', "json_invalid"),
    "two values": (b"1 2", "json_invalid"),
    "a raw NUL": (b'{"name":"a\0"}', "json_invalid"),
    "a raw control character": (b'{"name":"a\x1f"}', "json_invalid"),
    "bytes that are not UTF-8": (b'{"name":"\xff\xfe"}', "json_invalid"),
    "a surrogate in UTF-8": (b'{"name":"\xed\xa0\x80"}', "json_invalid"),
    "UTF-16": ('{"name":"a"}'.encode("utf-16"), "json_invalid"),
    "a byte order mark": (b'\xef\xbb\xbf{"name":"a"}', "json_invalid"),
    "an escaped NUL": (b'{"name":"a\\u0000"}', "json_text_unusable"),
    "an escaped NUL in a key": (b'{"a\\u0000":1}', "json_text_unusable"),
    "half a surrogate pair": (b'{"name":"\\ud800"}', "json_text_unusable"),
    "NaN": (b'{"quantity":NaN}', "json_number_unusable"),
    "Infinity": (b'{"quantity":Infinity}', "json_number_unusable"),
    "minus Infinity": (b'{"quantity":-Infinity}', "json_number_unusable"),
    "1e400": (b'{"quantity":1e400}', "json_number_unusable"),
    "five thousand digits": (b'{"quantity":' + b"9" * 5000 + b"}", "json_number_unusable"),
    "a key twice": (b'{"name":"a","name":"b"}', "json_duplicate_key"),
    "a key twice, once escaped": (b'{"name":"a","n\\u0061me":"b"}', "json_duplicate_key"),
    "65 levels": (b"[" * 65 + b"]" * 65, "json_too_deep"),
    "a hundred thousand levels": (b"[" * 100_000, "json_too_deep"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_does_not_mean_one_thing_is_refused(
    client: httpx.AsyncClient, name: str
) -> None:
    body, code = BODIES[name]
    answer = await client.post("/sample/anything", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_sound_body_arrives_as_it_was_sent(client: httpx.AsyncClient) -> None:
    value = {"text": "größe 😀 \\u0000", "deep": [[[{"a": [1, 2.5, None, True]}]]], "": ""}
    answer = await client.post("/sample/anything", json=value)
    assert answer.json() == {"received": value}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "x" * 300]
)
async def test_another_media_type_is_refused(client: httpx.AsyncClient, content_type: str) -> None:
    headers = {"content-type": content_type}
    answer = await client.post("/sample/items", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "content_type_unsupported")


async def test_a_body_without_media_type_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/sample/items", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (415, "content_type_unsupported")


async def test_a_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = JSON | {"content-encoding": "gzip"}
    answer = await client.post("/sample/items", content=b"\x1f\x8b", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "content_encoding_unsupported")


async def test_an_address_with_a_rule_takes_what_the_rule_says(client: httpx.AsyncClient) -> None:
    png = {"content-type": "image/png"}
    taken = await client.post("/sample/upload", content=b"\0" * UPLOAD_BYTES_MAX, headers=png)
    large = await client.post("/sample/upload", content=b"\0" * (UPLOAD_BYTES_MAX + 1), headers=png)
    other = await client.post("/sample/upload", content=b"{}", headers=JSON)
    assert taken.json() == {"size_bytes": UPLOAD_BYTES_MAX}
    assert (large.status_code, other.status_code) == (413, 415)


async def test_a_declared_body_of_200_mb_is_refused_without_being_read(web: Serving) -> None:
    head = (HEAD + "Content-Length: 200000000\r\n\r\n").encode()
    answer = await send_raw(web, head, *[b" " * 65_536] * 3052)
    assert answer.status in {0, 413}  # The reset may overtake the answer.
    assert answer.sent_bytes < 20_000_000


async def test_a_chunked_body_of_200_mb_is_read_no_further_than_the_limit(web: Serving) -> None:
    head = (HEAD + "Transfer-Encoding: chunked\r\n\r\n").encode()
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = await send_raw(web, head, *[chunk] * 3052)
    assert answer.status in {0, 413}
    assert answer.sent_bytes < 20_000_000


async def test_a_body_just_over_the_limit_is_told_so(client: httpx.AsyncClient) -> None:
    body = json.dumps("a" * 999_999).encode()
    answer = await client.post("/sample/anything", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_body_that_does_not_arrive_is_given_up(hasty_web: Serving) -> None:
    answer = await send_raw(hasty_web, (HEAD + "Content-Length: 10\r\n\r\n{").encode())
    assert answer.status == 408
    assert "body_too_slow" in answer.text


@pytest.mark.parametrize(
    "head", [b"", b"G", b"GET /sample/items/a HTTP/1.1\r\nHost: x\r\nX-Slow: a"]
)
async def test_a_connection_whose_headers_do_not_arrive_is_closed(
    hasty_web: Serving, head: bytes
) -> None:
    answer = await send_raw(hasty_web, head)
    assert answer.status in {0, 408}


async def test_an_idle_connection_is_closed(hasty_web: Serving) -> None:
    answer = await send_raw(hasty_web, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.status == 200


@pytest.mark.parametrize(
    "head",
    [
        "POST /sample/items HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
        "POST /sample/items HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n",
        "POST /sample/items HTTP/1.1\r\nHost: x\r\nContent-Length: 2x\r\n",
        "POST /sample/items HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, identity\r\n",
        "GET /livez HTTP/1.1\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
        "GET /livez HTTP/9.9\r\nHost: x\r\n",
        "GET /livez\xff HTTP/1.1\r\nHost: x\r\n",
        "GET /li\tvez HTTP/1.1\r\nHost: x\r\n",
        "GET /livez HTTP/1.1\r\nHost : x\r\n",
        "GET /livez HTTP/1.1\r\n Host: x\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nNo colon\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + "a" * 40_000 + "\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\n" + "X-A: b\r\n" * 150,
        "GET /livez?" + "a" * 9_000 + " HTTP/1.1\r\nHost: x\r\n",
        "GET /livez?" + "a" * 90_000 + " HTTP/1.1\r\nHost: x\r\n",
        "BREW /livez HTTP/1.1\r\nHost: x\r\n",
        "TRACE /livez HTTP/1.1\r\nHost: x\r\n",
        "\x16\x03\x01\x02",
    ],
)
async def test_a_malformed_head_is_refused(web: Serving, head: str) -> None:
    answer = await send_raw(web, (head + "Connection: close\r\n\r\n{}").encode("latin-1"))
    assert 400 <= answer.status < 500 or answer.status in {501, 505}


async def test_headers_without_end_are_cut_off(web: Serving) -> None:
    answer = await send_raw(web, b"GET /livez HTTP/1.1\r\nX-A: ", *[b"a" * 65_536] * 400)
    assert answer.status in {0, 431}
    assert answer.sent_bytes < 10_000_000


async def test_a_connection_goes_on_after_a_small_body_was_refused(web: Serving) -> None:
    refused = HEAD.replace("application/json", "text/plain") + "Content-Length: 3\r\n\r\nabc"
    following = "GET /sample/items/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await send_raw(web, (refused + following).encode())
    assert "content_type_unsupported" in answer.text
    assert '{"name":"next","query":""}' in answer.text


async def test_a_client_that_asks_first_is_refused_before_it_sends(web: Serving) -> None:
    head = HEAD + "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n"
    answer = await send_raw(web, head.encode())
    assert "100 Continue" not in answer.text
    assert answer.status == 413


async def test_two_framings_at_once_never_smuggle_a_request(web: Serving) -> None:
    head = HEAD + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
    smuggled = "0\r\n\r\nGET /sample/items/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await send_raw(web, (head + smuggled).encode())
    assert "smuggled" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/sample/items/a%00b",
        "/sample/items/a?query=%00",
        "/sample/items/%ff%fe",
        "/sample/items/%ed%a0%80",
        "/sample/items/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "//sample//items",
        "http://other.example/livez",
        "*",
        "//[::1/x",
        "/sample/items/%",
        "/sample/items/%zz",
        "/sample/items/a?query=%ff",
        "/%E2%82%AC",
        "/docs/../../server.py",
    ],
)
async def test_a_strange_address_is_no_failure(web: Serving, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await send_raw(web, head.encode())
    assert 200 <= answer.status < 500
    assert "root:" not in answer.text


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    st.sampled_from(
        ["/sample/items", "/sample/items/a", "/sample/anything", "/sample/upload", "/x"]
    ),
    st.binary(max_size=200),
    st.sampled_from(["application/json", "text/csv", "application/x+json", "nonsense", ""]),
)
async def test_no_request_makes_the_server_fail(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, content_type: str
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = await client.request(method, path, content=body, headers=headers)
    assert answer.status_code < 500


async def test_secrets_of_a_request_do_not_come_back(client: httpx.AsyncClient) -> None:
    body = b'{"name": 1, "password": "swordfish", "quantity": "swordfish"}'
    answer = await client.post("/sample/items", content=body, headers=JSON)
    assert answer.status_code == 422
    assert "swordfish" not in answer.text
