"""Tokens that were signed with the JWT secret of a database, for users of that database alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from bulkhead.engine.clock import now
from bulkhead.gateway.rest.errors import JwtClaimsInvalid, JwtUndecodable

LEEWAY_S = 30
ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class LegacyTokens:
    """Verifies against any of `secrets`."""

    secrets: Sequence[str] = field(repr=False)

    def verify(self, token: str) -> Mapping[str, Any]:
        """The claims of a valid token; raises JwtUndecodable, JwtClaimsInvalid."""
        for secret in self.secrets:
            try:
                payload: dict[str, Any] = jwt.decode(
                    token,
                    secret,
                    algorithms=[ALGORITHM],
                    # The times are checked below, by the clock that tests can stop.
                    options={
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                        "verify_aud": False,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, RecursionError):
                break
            _verify_times(payload)
            return payload
        raise JwtUndecodable(reason="No suitable key or wrong key type")


def _verify_times(payload: Mapping[str, Any]) -> None:
    at_s = now().timestamp()
    times = {name: payload[name] for name in ("exp", "nbf", "iat") if name in payload}
    # A boolean is an int to Python, and NaN would compare as never expired.
    if any(type(instant) is not int for instant in times.values()):
        raise JwtClaimsInvalid(reason="Parsing claims failed")
    if "exp" in times and at_s > times["exp"] + LEEWAY_S:
        raise JwtClaimsInvalid(reason="JWT expired")
    if "nbf" in times and at_s < times["nbf"] - LEEWAY_S:
        raise JwtClaimsInvalid(reason="JWT not yet valid")
    if "iat" in times and at_s < times["iat"] - LEEWAY_S:
        raise JwtClaimsInvalid(reason="JWT issued at future")
