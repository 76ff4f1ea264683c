"""The least that can answer the gateway's questions: bare ASGI, asyncpg, SQL written by hand.

Verifies the token (and remembers that it did, as the gateway does), takes on the role and its
claims within the transaction, and sends the JSON that the database made: three round trips. It
wipes no session, has no limits and knows no errors.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any

import asyncpg
import jwt
from gateway_shop import POOL_SIZE

from bulkhead.engine.connections.sql import literal

Handler = Callable[[Any, bytes, bytes], Awaitable[tuple[int, bytes, bytes]]]

COLUMNS = "id, order_number, state, total, created_at"
ITEMS = """(
  select coalesce(json_agg(i), '[]')
  from (
    select line_number, sku, title, unit_price, quantity from order_items where order_id = o.id
  ) i
) as order_items"""
PAGE = "from orders o where user_id = $1 order by created_at desc limit 20"


def _array(query: str) -> str:
    return f"select coalesce(json_agg(t), '[]')::text from ({query}) t"


READS = {
    "/own": _array(f"select {COLUMNS} {PAGE}"),
    "/own-with-items": _array(f"select {COLUMNS}, {ITEMS} {PAGE}"),
    "/one": _array(f"select {COLUMNS} from orders where id = $1"),
    "/one-with-items": _array(f"select {COLUMNS}, {ITEMS} from orders o where id = $1"),
}
COUNTED = f"""
select coalesce(json_agg(t), '[]')::text as body, count(*) as rows,
  (select count(*) from orders where user_id = $1) as total
from (select {COLUMNS} {PAGE}) t
"""
INSERT = """
with note as (
  insert into order_notes (order_id, body) values ($1, $2)
  returning id, order_id, user_id, body, created_at
)
select json_agg(note)::text from note
"""
SPENT = "select coalesce(json_agg(t), '[]')::text from spent_since($1::text::timestamptz) t"


class Bare:
    """The ASGI application."""

    def __init__(self, pool: asyncpg.Pool, secret: str) -> None:
        """Answer from the connections of `pool` to tokens signed with `secret`."""
        self._pool = pool
        self._begin = lru_cache(maxsize=4096)(partial(_begin, secret))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        """Answer one request."""
        begin = self._begin(
            next(value for name, value in scope["headers"] if name == b"authorization")
        )
        path = scope["path"]
        async with self._pool.acquire() as connection:
            if scope["method"] == "GET":
                key = scope["query_string"][3:].decode()
                await connection.execute(f"begin read only;{begin}")
                status, body, content_range = await _read(connection, path, key)
            else:
                values = json.loads((await receive())["body"])
                await connection.execute(f"begin;{begin}")
                status, body, content_range = await _write(connection, path, values)
            await connection.execute("commit")
        headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-range", content_range),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def open_bare(url: str, secret: str) -> Bare:
    """Connect; sessions are not reset between requests, since all that is set is local."""

    async def keep(_: Any) -> None:  # noqa: ANN401
        pass

    pool = await asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=keep)
    return Bare(pool, secret)


def _begin(secret: str, authorization: bytes) -> str:
    claims = jwt.decode(authorization[7:], secret, ["HS256"], audience="authenticated")
    text = json.dumps(claims, separators=(",", ":"))
    return f"set local role authenticated;set local request.jwt.claims = {literal(text)}"


async def _read(connection: Any, path: str, key: str) -> tuple[int, bytes, bytes]:  # noqa: ANN401
    if path == "/counted":
        row = await connection.fetchrow(COUNTED, key)
        status = 206 if row["rows"] < row["total"] else 200
        return status, row["body"].encode(), b"0-%d/%d" % (row["rows"] - 1, row["total"])
    body: str = await connection.fetchval(READS[path], key)
    return 200, body.encode(), b"0-0/*"


async def _write(
    connection: Any,  # noqa: ANN401
    path: str,
    values: dict[str, str],
) -> tuple[int, bytes, bytes]:
    if path == "/notes":
        body = await connection.fetchval(INSERT, values["order_id"], values["body"])
        return 201, body.encode(), b"*/*"
    body = await connection.fetchval(SPENT, values["since"])
    return 200, body.encode(), b"0-0/*"
