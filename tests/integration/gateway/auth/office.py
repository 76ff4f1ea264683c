"""Who runs the club, and members with authenticators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import jwt
from tests.integration.capabilities.identity.club import Club

from bulkhead.capabilities.identity.factors.totp import PERIOD_S, decode_secret, render_code
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import Role
from bulkhead.gateway.auth.call import Authenticate
from bulkhead.gateway.keyring import ApiKeyRing
from bulkhead.gateway.keys import KeyKind


@dataclass
class Office:
    """The application itself, with the keys of the database that holds its users."""

    club: Club
    ring: ApiKeyRing
    authenticate: Authenticate

    def key(self, kind: KeyKind, role: Role = Role.SERVICE) -> str:
        return self.ring.keys("users").current(kind, role)

    async def send(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> httpx.Response:
        """A request of the application, with its legacy key unless with `token`."""
        token = token or self.key(KeyKind.JWT)
        return await self.club.browser.send(method, path, body, token=token)

    async def create(self, **attributes: object) -> dict[str, Any]:
        answer = await self.send("POST", "/admin/users", attributes)
        assert answer.status_code == 200, answer.text
        user: dict[str, Any] = answer.json()
        return user

    async def change(self, user: str, **attributes: object) -> dict[str, Any]:
        answer = await self.send("PUT", f"/admin/users/{user}", attributes)
        assert answer.status_code == 200, answer.text
        changed: dict[str, Any] = answer.json()
        return changed


@dataclass
class Authenticator:
    """What shows codes on somebody's telephone."""

    id: str
    secret: str

    def code(self, periods: int = 0) -> str:
        """The code of now, or of so many periods from now."""
        step = int(now().timestamp() // PERIOD_S) + periods
        return render_code(decode_secret(self.secret), step)

    def wrong_code(self) -> str:
        """A code that is none of those that count now."""
        right = {self.code(periods) for periods in range(-2, 3)}
        return next(code for code in map("{:06}".format, range(10)) if code not in right)


def claims_of(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


async def enroll(club: Club, token: str, **more: object) -> Authenticator:
    answer = await club.browser.send(
        "POST", "/factors", {"factor_type": "totp", **more}, token=token
    )
    assert answer.status_code == 200, answer.text
    return Authenticator(answer.json()["id"], answer.json()["totp"]["secret"])


async def challenge(club: Club, token: str, factor: str) -> str:
    answer = await club.browser.send("POST", f"/factors/{factor}/challenge", {}, token=token)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


async def verify(
    club: Club, token: str, factor: str, challenge_id: str, code: str
) -> httpx.Response:
    body = {"challenge_id": challenge_id, "code": code}
    return await club.browser.send("POST", f"/factors/{factor}/verify", body, token=token)


async def prove(club: Club, token: str, authenticator: Authenticator, periods: int = 0) -> Any:
    """Verify a factor; returns the tokens."""
    asked = await challenge(club, token, authenticator.id)
    answer = await verify(club, token, authenticator.id, asked, authenticator.code(periods))
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of an error."""
    return answer.status_code, answer.json()["error_code"]
