import asyncio

import pytest
import structlog

from bulkhead.http.asgi import Message, Receive, Scope, Send
from bulkhead.web.exchange import CLIENT_LEFT, Exchange, ExchangeLayer, choose_request_id


@pytest.mark.parametrize("given", [b"req-12345678", b"0190c1d2:aa.bb_cc", b"a" * 128])
def test_a_harmless_request_id_is_kept(given: bytes) -> None:
    assert choose_request_id(given) == given.decode()


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"",
        b"short",
        b"a" * 129,
        b"a b c d e f g",
        b"abcdefgh\n",
        b"<script>aaaa",
        b"\xff" * 9,
    ],
)
def test_any_other_request_id_is_replaced(given: bytes | None) -> None:
    chosen = choose_request_id(given)
    assert len(chosen) == 32
    assert chosen.isalnum()


class Client:
    """Sends a request to a layer around `app` and keeps what comes back."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.exchanges: list[Exchange] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def ask(self, app: object) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {}}
        layer = ExchangeLayer(app, (self.exchanges.append,))  # type: ignore[arg-type]
        await layer(scope, self.receive, self.send)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    scope["state"]["user_id"] = "u1"
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_an_exchange_tells_who_asked_and_how_it_ended() -> None:
    client = Client()
    await client.ask(answer)
    (exchange,) = client.exchanges
    assert (exchange.status, exchange.user_id, exchange.route) == (204, "u1", "unmatched")
    assert (b"x-request-id", exchange.request_id.encode()) in client.sent[0]["headers"]


async def test_a_failure_is_answered_and_logged_but_not_told() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        message = "the password is swordfish"
        raise RuntimeError(message)

    client = Client()
    with structlog.testing.capture_logs() as logs:
        await client.ask(fail)
    assert client.sent[0]["status"] == 500
    assert b"swordfish" not in client.sent[1]["body"]
    assert [entry["event"] for entry in logs] == ["request failed"]


async def test_a_failure_after_the_answer_began_sends_no_second_one() -> None:
    async def fail_late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        message = "too late"
        raise RuntimeError(message)

    client = Client()
    with structlog.testing.capture_logs():
        await client.ask(fail_late)
    assert [message["type"] for message in client.sent] == ["http.response.start"]


async def test_a_request_that_is_given_up_gets_an_answer() -> None:
    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    client = Client()
    task = asyncio.create_task(client.ask(wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.sent[0]["status"] == 503
    assert b"server_stopping" in client.sent[1]["body"]


async def test_a_client_that_left_is_counted_as_such() -> None:
    async def give_up(scope: Scope, receive: Receive, send: Send) -> None:
        return

    client = Client()
    await client.ask(give_up)
    assert client.exchanges[0].status == CLIENT_LEFT


async def test_what_is_logged_inside_carries_the_request_id() -> None:
    seen: list[object] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(structlog.contextvars.get_contextvars().get("request_id"))

    client = Client()
    await client.ask(look)
    assert seen == [client.exchanges[0].request_id]
    assert "request_id" not in structlog.contextvars.get_contextvars()
