"""Verifies tokens as PostgREST does: any mix of keys, its rules of time and audience, its words.

Source: PostgREST v14, `Auth.Jwt`, and jose-jwt, which it verifies with.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import Claims
from bulkhead.gateway.claim_path import find_claim, parse_claim_path
from bulkhead.gateway.json_web_keys import ALGORITHMS, decode_base64url, find_keys, parse_keys
from bulkhead.gateway.rest.errors import (
    JwtClaimsInvalid,
    JwtRequired,
    JwtSecretMissing,
    JwtUndecodable,
)

LEEWAY_S = 30
CACHE_MAX = 10_000
TOKEN_BYTES_MAX = 16_384
_PARTS = 3

Payload = Mapping[str, Any]


class Times(NamedTuple):
    """When a token is good, in seconds since 1970; None is not said."""

    expires_at_s: float | None
    not_before_s: float | None
    issued_at_s: float | None


class Verified(NamedTuple):
    """A token whose signature and audience are good."""

    times: Times
    payload: Payload
    claims: Claims


class TokenVerifier:
    """Verifies tokens with one set of keys; where keys change, make another one."""

    def __init__(
        self,
        keys: str | Sequence[str] | None,
        *,
        audience: str | None = None,
        role_claim: str = ".role",
        anon_role: str | None = "anon",
        leeway_s: float = LEEWAY_S,
    ) -> None:
        """Take secrets, JSON Web Keys and sets of them as texts; None is no key at all.

        Raises ConfigurationInvalid for keys or paths that cannot be read.
        """
        texts = [keys] if isinstance(keys, str) else keys or ()
        self._keys = tuple(key for text in texts for key in parse_keys(text))
        self._has_keys = keys is not None
        self._audience = audience
        self._role_path = parse_claim_path(role_claim)
        self._anon_role = anon_role
        self._anonymous = None if anon_role is None else _claims_of(anon_role, {})
        self._leeway_s = leeway_s
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()

    def authenticate(self, headers: Sequence[tuple[bytes, bytes]]) -> Claims:
        """The claims of who sends `headers`; those of the anonymous role without a token.

        Raises what `identify` raises, and JwtRequired when there is no anonymous role.
        """
        token = find_bearer(headers)
        if token is not None:
            return self.identify(token).claims
        if self._anonymous is None:
            raise JwtRequired
        return self._anonymous

    def verify(self, token: str) -> Payload:
        """The payload of a valid token; raises JwtUndecodable, JwtClaimsInvalid and others."""
        return self.identify(token.encode("utf-8", "replace")).payload

    def identify(self, token: bytes) -> Verified:
        """All about a valid token.

        Raises JwtSecretMissing, JwtUndecodable, JwtClaimsInvalid, or JwtRequired when it names no
        role and there is no anonymous one.
        """
        found = self._verified.get(token)
        if found is None:
            found = self._verify(token)
        else:
            self._verified.move_to_end(token)
        self._check_times(found.times)
        return found

    def _verify(self, token: bytes) -> Verified:
        if not self._has_keys:
            raise JwtSecretMissing
        payload = _parse_payload(self._check_signature(token))
        times = Times(*(_number(payload, name) for name in ("exp", "nbf", "iat")))
        self._check_times(times)
        self._check_audience(payload.get("aud"))
        verified = Verified(times, payload, self._claims_of(payload))
        self._verified[token] = verified
        if len(self._verified) > CACHE_MAX:
            self._verified.popitem(last=False)
        return verified

    def _check_signature(self, token: bytes) -> bytes:
        """The second part of a token that is signed with one of the keys, decoded."""
        if not token:
            raise JwtUndecodable(reason="Empty JWT is sent in Authorization header")
        parts = token.split(b".")
        if len(parts) != _PARTS:
            raise JwtUndecodable(reason=f"Expected 3 parts in JWT; got {len(parts)}")
        if len(token) > TOKEN_BYTES_MAX:
            raise JwtUndecodable(reason="JWT couldn't be decoded")
        algorithm, key_id = _parse_head(parts[0])
        keys = find_keys(self._keys, algorithm, key_id)
        if not keys:
            raise _no_key("No suitable key was found to decode the JWT")
        signed = token[: token.rindex(b".")]
        try:
            signature, body = decode_base64url(parts[2]), decode_base64url(parts[1])
        except ValueError:
            raise _no_key("None of the keys was able to decode the JWT") from None
        if not any(key.verifiers[algorithm](signed, signature) for key in keys):
            raise _no_key("None of the keys was able to decode the JWT")
        return body

    def _check_times(self, times: Times) -> None:
        at_s = int(now().timestamp())
        expires_at_s, not_before_s, issued_at_s = times
        if expires_at_s is not None and at_s - self._leeway_s > expires_at_s:
            raise JwtClaimsInvalid(reason="JWT expired")
        if not_before_s is not None and at_s + self._leeway_s < not_before_s:
            raise JwtClaimsInvalid(reason="JWT not yet valid")
        if issued_at_s is not None and at_s + self._leeway_s < issued_at_s:
            raise JwtClaimsInvalid(reason="JWT issued at future")

    def _check_audience(self, audience: object) -> None:
        audiences = [audience] if isinstance(audience, str) else audience
        if audiences is None:
            return
        if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
            raise JwtClaimsInvalid(
                reason="The JWT 'aud' claim must be a string or an array of strings"
            )
        if self._audience is not None and audiences and self._audience not in audiences:
            raise JwtClaimsInvalid(reason="JWT not in audience")

    def _claims_of(self, payload: Payload) -> Claims:
        found = find_claim(self._role_path, payload)
        if found is None:
            found = self._anon_role
        if found is None:
            raise JwtRequired
        role = found if isinstance(found, str) else _render(found)
        return _claims_of(role, payload)


def _claims_of(role: str, payload: Payload) -> Claims:
    claims = {**payload, "role": role}
    return Claims(role, claims, _render(claims))


def find_bearer(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The token in the Authorization header; None without one, or with another scheme."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else None
    return None


def _parse_head(part: bytes) -> tuple[str, str | None]:
    """The algorithm and the id of the key."""
    try:
        text = decode_base64url(part)
    except ValueError:
        raise JwtUndecodable(reason="JWT cryptographic operation failed") from None
    head = _load_object(text)
    algorithm, key_id = (head.get("alg"), head.get("kid")) if head else (None, None)
    if algorithm == "none":
        raise JwtUndecodable(
            reason="Wrong or unsupported encoding algorithm",
            details="JWT is unsecured but expected 'alg' was not 'none'",
        )
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise JwtUndecodable(reason="JWT couldn't be decoded")
    if key_id is not None and not isinstance(key_id, str):
        raise JwtUndecodable(reason="JWT couldn't be decoded")
    return algorithm, key_id


def _no_key(details: str) -> JwtUndecodable:
    return JwtUndecodable(reason="No suitable key or wrong key type", details=details)


def _parse_payload(text: bytes) -> dict[str, Any]:
    payload = _load_object(text)
    if payload is None:
        raise JwtClaimsInvalid(reason="Parsing claims failed")
    return payload


def _load_object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> float:
    raise ValueError(name)  # NaN would be a time that never comes


def _number(payload: Payload, name: str) -> float | None:
    value = payload.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise JwtClaimsInvalid(reason=f"The JWT '{name}' claim must be a number")
    return value


def _render(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
