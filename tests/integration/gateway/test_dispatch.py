"""Which requests reach a service, over real sockets, and what becomes of the others."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.gateway.echo_site import BODY_BYTES_MAX, PREFIX, Echo, site
from tests.integration.web.raw import send_raw
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.engine.settings import Settings
from bulkhead.gateway.service import URL_BYTES_MAX
from bulkhead.web.http_protocol import HEAD_BYTES_MAX
from bulkhead.web.serving import Serving, serving

HASTE_S = 0.3
KEY = {"apikey": "key"}
HEAD = f"POST {PREFIX}/t HTTP/1.1\r\nHost: x\r\napikey: key\r\n"
ORIGIN = {"origin": "https://shop.example"}


@pytest.fixture(scope="module")
async def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
async def web(echo: Echo) -> AsyncIterator[Serving]:
    async with serving(site(echo)) as running:
        yield running


@pytest.fixture(scope="module")
async def hasty() -> AsyncIterator[Serving]:
    async with serving(site(Echo(), HASTE_S), header_timeout_s=HASTE_S) as running:
        yield running


@pytest.fixture
async def client(web: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.url, headers=KEY, verify=TRUSTS_NOBODY) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("", "/"),
        ("/", "/"),
        ("/orders", "/orders"),
        ("/rpc/f", "/rpc/f"),
        ("//orders", "//orders"),
        ("/gr%C3%B6%C3%9Fe", "/größe"),
        ("/a%2Fb", "/a/b"),
    ],
)
async def test_a_service_sees_what_stands_below_its_prefix(
    client: httpx.AsyncClient, path: str, below: str
) -> None:
    answer = await client.get(f"{PREFIX}{path}?a=b")
    told = answer.json()
    assert (told["path"], told["root_path"], told["query_bytes"]) == (below, PREFIX, 3)
    assert told["raw_path"] == (path or "/")


async def test_other_routes_are_the_web_s(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "ready"}
    assert (await client.get("/sample/items/lamp")).json()["name"] == "lamp"
    for path in (f"{PREFIX}x/orders", "/shop/orders/rest", "/other/orders/rest/v1/t", "/shop"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/shop/nothing/rest/v1/t", "placement_unknown"),
        ("/shop/nothing/auth/v1/token", "placement_unknown"),
        ("/shop/users/rest/v1/t", "service_missing"),
        ("/shop/orders/storage/v1/object/a", "service_missing"),
        ("/shop/orders/realtime/v1/websocket", "service_missing"),
        ("/shop/orders/functions/v1/f", "service_missing"),
        ("/shop/rest/v1/t", "database_unnamed"),
    ],
)
async def test_what_is_not_served_is_said_in_the_words_of_clients(
    client: httpx.AsyncClient, path: str, code: str
) -> None:
    for method in ("GET", "POST", "HEAD"):
        answer = await client.request(method, path, headers=ORIGIN)
        assert answer.status_code == 404
        assert answer.headers["access-control-allow-origin"] == "*"
        if method != "HEAD":
            assert answer.json().keys() == {"code", "details", "hint", "message"}
            assert answer.json()["code"] == code


async def test_a_request_that_is_not_admitted_is_refused_before_its_body(web: Serving) -> None:
    async with httpx.AsyncClient(base_url=web.url, verify=TRUSTS_NOBODY) as client:
        answer = await client.get(f"{PREFIX}/t")
        assert answer.status_code == 401
        assert answer.json()["message"] == "No API key found in request"
    head = f"POST {PREFIX}/t HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n"
    raw = await send_raw(web, head.encode())
    assert raw.status == 401


async def test_a_preflight_needs_no_key_and_reaches_no_service(web: Serving, echo: Echo) -> None:
    before = len(echo.served)
    headers = {
        **ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "apikey,authorization,prefer,x-client-info",
    }
    async with httpx.AsyncClient(base_url=web.url, verify=TRUSTS_NOBODY) as client:
        answer = await client.options(f"{PREFIX}/t", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "prefer" in answer.headers["access-control-allow-headers"]
    assert len(echo.served) == before


async def test_pages_of_any_origin_may_read_answers_and_refusals(
    client: httpx.AsyncClient, web: Serving
) -> None:
    async with httpx.AsyncClient(base_url=web.url, verify=TRUSTS_NOBODY) as stranger:
        answers = [
            await client.get(f"{PREFIX}/t", headers=ORIGIN),
            await stranger.get(f"{PREFIX}/t", headers=ORIGIN),
            await client.get(f"{PREFIX}/broken", headers=ORIGIN),
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 500]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Content-Range" in answer.headers["access-control-expose-headers"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-credentials" not in answer.headers


async def test_other_origins_may_not_read_the_web_s_own_routes(client: httpx.AsyncClient) -> None:
    answer = await client.get("/livez", headers=ORIGIN)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_failure_tells_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{PREFIX}/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "swordfish" not in answer.text


async def test_options_and_head_reach_the_service(client: httpx.AsyncClient) -> None:
    assert (await client.options(f"{PREFIX}/t")).json()["method"] == "OPTIONS"
    answer = await client.head(f"{PREFIX}/t")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


async def test_logs_and_metrics_name_templates(client: httpx.AsyncClient) -> None:
    await client.get(f"{PREFIX}/secret-table?secret=1")
    text = (await client.get("/metrics")).text
    assert f'route="{PREFIX}/{{table}}",status="200"' in text
    assert "secret-table" not in text


async def test_an_address_may_have_64_kilobytes(client: httpx.AsyncClient, web: Serving) -> None:
    room = URL_BYTES_MAX - len(f"{PREFIX}/t") - 2
    answer = await client.get(f"{PREFIX}/t", params={"a": "x" * room})
    assert answer.json()["query_bytes"] == room + 2
    for path, query in (
        (f"{PREFIX}/t", "a" * (room + 3)),
        (f"{PREFIX}/t", "a" * 65_450),
        (f"{PREFIX}/t" + "%41" * 21_500, "a" * 2_000),
    ):
        text = f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nOrigin: x\r\napikey: key\r\n\r\n"
        raw = await send_raw(web, text.encode())
        assert raw.status == 414
        assert '"code":"url_too_long"' in raw.text
        assert '"hint":"Ask for less' in raw.text
        assert "access-control-allow-origin: *" in raw.text


async def test_an_address_and_headers_that_grow_without_end_are_cut_off(web: Serving) -> None:
    address = await send_raw(web, f"GET {PREFIX}/".encode(), *[b"a" * 50_000] * 400)
    assert address.status in {0, 414}
    headers = await send_raw(web, HEAD.encode(), b"X: ", *[b"a" * 50_000] * 400)
    assert headers.status in {0, 431}
    for sent in (address, headers):
        assert sent.sent_bytes < 400 * 50_000, "more than sockets hold"
    assert HEAD_BYTES_MAX < 2 * 65_536


async def test_headers_are_bounded(client: httpx.AsyncClient) -> None:
    for headers in ({"x-a": "b" * 33_000}, {f"x-{number}": "b" for number in range(101)}):
        answer = await client.get(f"{PREFIX}/t", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")


async def test_a_body_of_any_type_arrives_as_it_was_sent(client: httpx.AsyncClient) -> None:
    for body in (b'{"a":1,"a":NaN}', b"\xff\xfe\x00", b"x" * BODY_BYTES_MAX):
        answer = await client.post(f"{PREFIX}/t", content=body)
        told = answer.json()
        assert told["body_bytes"] == len(body)
        assert told["body"] == body[:20].decode("latin-1")


async def test_a_body_that_comes_in_chunks_arrives_whole(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"a" * 1000

    assert (await client.post(f"{PREFIX}/t", content=pieces())).json()["body_bytes"] == 10_000


async def test_a_body_that_is_too_large_is_refused_with_an_answer(
    client: httpx.AsyncClient, web: Serving
) -> None:
    answer = await client.post(f"{PREFIX}/t", content=b"x" * (BODY_BYTES_MAX + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert (await client.get(f"{PREFIX}/t")).status_code == 200

    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    raw = await send_raw(web, HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 200)
    assert raw.status in {0, 413}
    assert raw.sent_bytes < 200 * len(chunk)


async def test_a_slow_head_and_a_slow_body_are_not_waited_for(hasty: Serving) -> None:
    head = await send_raw(hasty, b"GET /shop/orders/rest/v1/t HTTP/1.1\r\nHost")
    assert head.status == 408
    body = await send_raw(hasty, HEAD.encode() + b"Content-Length: 10\r\n\r\nabc")
    assert body.status == 408
    assert '"code":"body_too_slow"' in body.text


async def test_requests_on_one_connection_are_answered_in_their_order(web: Serving) -> None:
    get = f"GET {PREFIX}/%s HTTP/1.1\r\nHost: x\r\napikey: key\r\n%s\r\n"
    post = HEAD + "Content-Length: 3\r\n\r\nabc"
    text = get % ("one", "") + post + get % ("two", "") + get % ("three", "Connection: close\r\n")
    answer = await send_raw(web, text.encode())
    paths = [part.split('"')[0] for part in answer.text.split('"path": "')[1:]]
    assert paths == ["/one", "/t", "/two", "/three"]
    assert answer.text.count("HTTP/1.1 200") == 4


async def test_a_refused_body_does_not_become_the_next_request(web: Serving) -> None:
    hidden = f"GET {PREFIX}/hidden HTTP/1.1\r\nHost: x\r\napikey: key\r\n\r\n"
    head = f"POST {PREFIX}/t HTTP/1.1\r\nHost: x\r\nContent-Length: {len(hidden)}\r\n\r\n"
    end = f"GET {PREFIX}/end HTTP/1.1\r\nHost: x\r\napikey: key\r\nConnection: close\r\n\r\n"
    answer = await send_raw(web, (head + hidden + end).encode())
    assert "/hidden" not in answer.text
    assert answer.text.count("HTTP/1.1 401") == 1
    assert '"path": "/end"' in answer.text


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: -3\r\n",
        "X: a\0b\r\n",
        "X: a\x01b\r\n",
        "X\0: a\r\n",
        " folded: a\r\n",
        "X : a\r\n",
    ],
)
async def test_a_head_that_two_readers_would_read_differently_is_refused(
    web: Serving, echo: Echo, lines: str
) -> None:
    before = len(echo.served)
    answer = await send_raw(web, (HEAD + lines + "Connection: close\r\n\r\nabc").encode())
    assert answer.status in {0, 400}
    assert len(echo.served) == before


@pytest.mark.parametrize("path", ["/a%00b", "/t?a=%00", "/t%FF", "/t%ED%A0%80"])
async def test_an_address_that_no_column_holds_is_refused(web: Serving, path: str) -> None:
    request = f"GET {PREFIX}{path} HTTP/1.1\r\nHost: x\r\napikey: key\r\n\r\n"
    answer = await send_raw(web, request.encode())
    assert answer.status == 400
    assert '"code":"url_invalid"' in answer.text


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND"])
async def test_a_strange_method_is_refused(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, f"{PREFIX}/t")
    assert (answer.status_code, answer.json()["code"]) == (501, "method_unknown")


async def test_a_client_that_leaves_while_it_sends_is_forgotten(web: Serving, echo: Echo) -> None:
    before = len(echo.served)
    _, writer = await asyncio.open_connection(web.host, web.port)
    writer.write(HEAD.encode() + b"Content-Length: 10\r\n\r\nabc")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with httpx.AsyncClient(base_url=web.url, headers=KEY, verify=TRUSTS_NOBODY) as client:
        assert (await client.get(f"{PREFIX}/after")).status_code == 200
    assert echo.served[before:] == ["/after"]


async def test_https_is_kept_where_there_is_https() -> None:
    app = site(Echo(), settings=Settings(site_url="https://shop.example"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get(f"{PREFIX}/t", headers=KEY)
    assert "strict-transport-security" in answer.headers


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "BREW"]),
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=" ?#"), max_size=40
    ),
    st.binary(max_size=200),
)
async def test_whatever_is_sent_is_answered(
    web: Serving, method: str, path: str, body: bytes
) -> None:
    head = f"{method} {PREFIX}/{path} HTTP/1.1\r\nHost: x\r\napikey: key\r\n"
    tail = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answer = await send_raw(web, (head + tail).encode() + body)
    assert answer.status in {200, 400, 500, 501}
    assert answer.status != 500 or path == "broken"
