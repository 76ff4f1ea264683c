"""Access tokens: signed with the current key, verified strictly, remembered until they expire.

A signature takes some 80 us to verify, a checkout verifies one in every request, so claims that
were verified are kept under the hash of their token. The signature is not looked at again, the
time and the keys are: a token ends when it expires or when its key is revoked.

Source: RFC 7519 and RFC 8725 (best current practices); the claims are those of Supabase.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt

from bulkhead.capabilities.identity.errors import TokenInvalid
from bulkhead.capabilities.identity.model import AUDIENCE, Session, UserRow
from bulkhead.capabilities.identity.tokens.keyring import KeyRing
from bulkhead.capabilities.identity.tokens.keys import ES256, RS256, Key, KeySet
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import Claims, authenticated

LEEWAY_S = 30
"""By how much the clocks of two machines may differ."""
TOKEN_BYTES_MAX = 16_384
CACHE_MAX = 10_000
HEADER_NAMES = frozenset({"alg", "kid", "typ"})
"""Everything else (jku, jwk, x5c, crit ...) lets a token say how it wants to be verified."""
REQUIRED = ["exp", "iat", "sub", "aud", "iss", "role", "session_id"]


@dataclass(slots=True, eq=False)
class AccessTokens:
    """Makes and verifies the access tokens of one issuer."""

    keyring: KeyRing
    issuer: str
    ttl_s: int = 3600
    audiences: tuple[str, ...] = ()
    """Who else may read the tokens, where it is not every database of the application."""
    _verified: OrderedDict[bytes, tuple[float, Claims]] = field(default_factory=OrderedDict)
    _verified_with: KeySet | None = None

    def claims_of(self, user: UserRow, session: Session) -> dict[str, Any]:
        """What a token made now says."""
        issued_at = int(now().timestamp())
        return {
            "iss": self.issuer,
            "sub": str(user.id),
            "aud": [AUDIENCE, *self.audiences] if self.audiences else AUDIENCE,
            "exp": issued_at + self.ttl_s,
            "iat": issued_at,
            "email": user.email,
            "phone": user.phone,
            "app_metadata": dict(user.app_metadata),
            "user_metadata": dict(user.user_metadata),
            "role": AUDIENCE,
            "aal": session.aal,
            "amr": [dict(reference) for reference in session.amr],
            "session_id": str(session.id),
            "is_anonymous": user.is_anonymous,
        }

    def encode(self, claims: Mapping[str, Any]) -> str:
        """Sign `claims` with the current key."""
        key = self.keyring.keys.current
        return jwt.encode(dict(claims), key.private, algorithm=key.alg, headers={"kid": key.kid})

    def sign(self, user: UserRow, session: Session) -> tuple[str, int]:
        """Make a token; returns it with its end in seconds since 1970."""
        claims = self.claims_of(user, session)
        return self.encode(claims), claims["exp"]

    def verify(self, token: str) -> Claims:
        """The claims of a valid token; raises TokenInvalid. Does not ask the database."""
        keys = self._notice_keys()
        digest = _digest(token)
        at_s = now().timestamp()
        found = self._verified.get(digest)
        if found is not None and at_s < found[0]:
            self._verified.move_to_end(digest)
            return found[1]
        payload = verify_payload(token, self.keyring.find, self.issuer, at_s, self.audiences)
        claims = authenticated(payload)
        if self._notice_keys() is keys:
            self._verified[digest] = (payload["exp"] + LEEWAY_S, claims)
            if len(self._verified) > CACHE_MAX:
                self._verified.popitem(last=False)
        return claims

    def _notice_keys(self) -> KeySet:
        """The keys; what was verified is forgotten when they change: one may have been revoked."""
        keys = self.keyring.keys
        if keys is not self._verified_with:
            self._verified.clear()
            self._verified_with = keys
        return keys


def verify_payload(
    token: str,
    find: Callable[[str], Key | None],
    issuer: str,
    at_s: float,
    audiences: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Verify `token` as of `at_s`, seconds since 1970, and return its payload.

    Raises TokenInvalid unless it was signed by a key that `find` knows, with the algorithm of that
    key, for us, for the role `authenticated`, and is valid now. It may name several audiences only
    where `audiences` are given.
    """
    kid, algorithm = _read_header(token)
    key = find(kid)
    if key is None:
        raise TokenInvalid(reason="its key is not known here, or was revoked")
    if algorithm != key.alg:
        raise TokenInvalid(reason=f"its key signs with {key.alg} only")
    try:
        payload: dict[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=[key.alg],
            audience=AUDIENCE,
            issuer=issuer,
            # The times are checked below, by the clock that tests can stop.
            options={
                "require": REQUIRED,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenInvalid(reason=type(error).__name__) from None
    _check_times(payload, at_s)
    _check_identity(payload, issuer, audiences)
    return payload


def _digest(token: str) -> bytes:
    if len(token) > TOKEN_BYTES_MAX:
        raise TokenInvalid(reason="it is too long")
    try:
        return hashlib.sha256(token.encode("ascii")).digest()
    except UnicodeEncodeError:
        raise TokenInvalid(reason="it is not ASCII") from None


def _read_header(token: str) -> tuple[str, str]:
    """The id of the key and the algorithm that a token names."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenInvalid(reason="it cannot be read") from None
    kid, algorithm = header.get("kid"), header.get("alg")
    if algorithm not in {ES256, RS256} or not isinstance(kid, str):
        raise TokenInvalid(reason=f"it must be signed with {ES256} or {RS256} and name its key")
    if not HEADER_NAMES.issuperset(header):
        raise TokenInvalid(reason="its header asks for more than it may")
    return kid, algorithm


def _check_times(payload: Mapping[str, Any], at_s: float) -> None:
    expires_at, issued_at = payload["exp"], payload["iat"]
    begins_at = payload.get("nbf", issued_at)
    # A boolean is an int to Python, and NaN would compare as never expired.
    if any(type(instant) is not int for instant in (expires_at, issued_at, begins_at)):
        raise TokenInvalid(reason="its times must be whole seconds")
    if at_s >= expires_at + LEEWAY_S:
        raise TokenInvalid(reason="it has expired")
    if at_s < max(issued_at, begins_at) - LEEWAY_S:
        raise TokenInvalid(reason="it is not valid yet")


def _check_identity(payload: Mapping[str, Any], issuer: str, audiences: tuple[str, ...]) -> None:
    if payload["role"] != AUDIENCE or type(payload["role"]) is not str:
        raise TokenInvalid(reason=f"its role must be '{AUDIENCE}'")
    # The library has looked whether we are among them; who is the only one says so plainly.
    is_ours = payload["aud"] == AUDIENCE or (audiences and isinstance(payload["aud"], list))
    if not is_ours or payload["iss"] != issuer:
        raise TokenInvalid(reason="it was issued for somebody else")
    for name in ("sub", "session_id"):
        if not _is_uuid(payload[name]):
            raise TokenInvalid(reason=f"its {name} must be a UUID")


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False
