"""Signs people up as a browser would: sign up, read the mail, send the digits in it."""

from __future__ import annotations

import re
import secrets

from bulkhead.demo.client import Answer, Client
from bulkhead.demo.plan import Customer
from bulkhead.engine.errors import BulkheadError

AUTH = "/commerce/auth/v1"
_DIGITS = re.compile(r"\b[0-9]{6}\b")


class SignUpFailed(BulkheadError):
    """{email} could not sign up: {method} {path} answered {status}."""

    code = "demo_sign_up_failed"
    hint = "Look into the server's log, beside its databases."


async def sign_up(client: Client, customer: Customer) -> str:
    """Sign `customer` up over HTTP and return an access token; raises SignUpFailed."""
    email, password = customer.email, secrets.token_urlsafe()
    body = {"email": email, "password": password, "data": {"full_name": customer.name}}
    await _ask(client, email, "POST", f"{AUTH}/signup", body)
    inbox = await _ask(client, email, "GET", f"/commerce/inbox?to={email}")
    [digits, *_] = _DIGITS.findall(inbox.body["mails"][0]["text"])
    proof = {"type": "signup", "email": email, "token": digits}
    answer = await _ask(client, email, "POST", f"{AUTH}/verify", proof)
    token: str = answer.body["access_token"]
    return token


async def _ask(client: Client, email: str, method: str, path: str, body: object = None) -> Answer:
    answer = await client.ask(method, path, body)
    if answer.status != 200:  # noqa: PLR2004
        raise SignUpFailed(email=email, method=method, path=path, status=answer.status)
    return answer
