"""Who sends a request to a database: from its headers to the claims it acts under.

`apikey` says that the request is for this database, `Authorization` for whom it is. Without the
latter, or where it repeats a key, it is for the role of the key; the token of a signed-in user
outranks it. Everything that was verified is remembered until it expires, or until any key changes.

Source: the edge of hosted Supabase for the order of things and its texts (a user's token alone is
not enough), PostgREST v14 for what is said of tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jwt

from bulkhead.capabilities.identity.errors import TokenInvalid
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import Claims, Role
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.keys import DatabaseKeys, claims_of
from bulkhead.gateway.rest.errors import JwtClaimsInvalid, JwtUndecodable, RestError
from bulkhead.gateway.tokens import TokenVerifier

Headers = Sequence[tuple[bytes, bytes]]

CACHE_MAX = 10_000
TOKEN_BYTES_MAX = 16_384
JWT_PARTS = 3
ROLES = frozenset(role.value for role in Role)
OPAQUE = b"sb_"
NEVER = float("inf")


class ApiKeyRefused(RestError):
    """The API key is not acceptable."""

    code = "api_key_refused"
    status = 401

    def to_body(self) -> dict[str, Any]:
        """The error as the edge of Supabase sends it, and a code of ours."""
        return {
            "code": self.code,
            "details": None,
            "hint": self.advice,
            "message": self.message,
        }

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Nothing of PostgREST, which was not asked."""
        return ()


class ApiKeyMissing(ApiKeyRefused):
    """No API key found in request."""

    code = "api_key_missing"
    hint = "No `apikey` request header was found."


class ApiKeyInvalid(ApiKeyRefused):
    """Invalid API key."""

    code = "api_key_invalid"
    hint = "Each database has keys of its own; `bulkhead status -o env` prints them."


class ApiKeyAmbiguous(ApiKeyRefused):
    """Duplicate API key found."""

    code = "api_key_ambiguous"
    hint = "Send one `apikey` header, and one `Authorization` header at most."


class RoleNotServed(RestError):
    """role "{role}" does not exist."""

    code = "role_not_served"
    status = 401
    hint = "A token's role is anon, authenticated or service_role."

    @property
    def wire_code(self) -> str:
        """What PostgreSQL says of a role that it does not know."""
        return "22023"


@dataclass(frozen=True, slots=True)
class Users:
    """Whom the application's own identity vouches for."""

    verify: Callable[[str], Claims]
    """From an access token to its claims; raises TokenInvalid."""
    version: Callable[[], object]
    """Another object once a key was rotated or revoked."""


class Sent(NamedTuple):
    """What a request says of its sender."""

    key: bytes
    authorization: bytes

    @classmethod
    def read(cls, headers: Headers) -> Sent:
        """Find both headers; raises ApiKeyAmbiguous when one is there twice and differs."""
        fields = dict(headers)
        if len(fields) == len(headers):
            return cls(fields.get(b"apikey", b""), fields.get(b"authorization", b""))
        key = authorization = b""
        for name, value in headers:
            if name == b"apikey":
                if key not in (b"", value):
                    raise ApiKeyAmbiguous
                key = value
            elif name == b"authorization":
                if authorization not in (b"", value):
                    raise ApiKeyAmbiguous
                authorization = value
        return cls(key, authorization)

    @property
    def token(self) -> bytes | None:
        """The bearer's token, None where another scheme or nothing is sent."""
        scheme, _, token = self.authorization.partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" else None


@dataclass(slots=True, eq=False)
class Credentials:
    """Tells who sends the requests to one database."""

    keys: Callable[[], DatabaseKeys]
    """The same object as long as no key has changed."""
    users: Users | None = None
    is_key_required: bool = True
    """Whether a token alone is not enough."""
    _known: OrderedDict[Sent, tuple[float, Claims]] = field(default_factory=OrderedDict)
    _versions: tuple[object, object] = (None, None)
    _verifier: TokenVerifier | None = None

    def authenticate(self, headers: Headers) -> Claims:
        """The claims of a request.

        Raises ApiKeyMissing, ApiKeyInvalid, ApiKeyAmbiguous, JwtUndecodable, JwtClaimsInvalid or
        RoleNotServed.
        """
        sent = Sent.read(headers)
        keys = self._refresh()
        found = self._known.get(sent)
        if found is not None and (found[0] == NEVER or now().timestamp() < found[0]):
            self._known.move_to_end(sent)
            return found[1]
        claims, expires_at = self._identify(sent, keys)
        if len(sent.authorization) <= TOKEN_BYTES_MAX:
            self._known[sent] = (expires_at, claims)
            if len(self._known) > CACHE_MAX:
                self._known.popitem(last=False)
        return claims

    def verify_key(self, headers: Headers) -> None:
        """Pass what brings a key of this database, whatever else it brings.

        Raises ApiKeyMissing, ApiKeyInvalid, ApiKeyAmbiguous.
        """
        self._claims_of_key(Sent.read(headers).key, self._refresh())

    def _refresh(self) -> DatabaseKeys:
        """Forget what was verified with keys that may have been revoked since."""
        keys = self.keys()
        versions = (keys, None if self.users is None else self.users.version())
        if versions[0] is not self._versions[0] or versions[1] is not self._versions[1]:
            self._known.clear()
            self._verifier = TokenVerifier(keys.jwt_secrets)
            self._versions = versions
        return keys

    def _claims_of_key(self, key: bytes, keys: DatabaseKeys) -> Claims:
        if not key:
            raise ApiKeyMissing
        found = keys.claims.get(key)
        if found is None:
            raise ApiKeyInvalid
        return found

    def _identify(self, sent: Sent, keys: DatabaseKeys) -> tuple[Claims, float]:
        token = sent.token
        if sent.key or self.is_key_required or token is None:
            own = self._claims_of_key(sent.key, keys)
            if token is None or token == sent.key:
                return own, NEVER
        if token.startswith(OPAQUE) or token in keys.claims:
            return self._claims_of_key(token, keys), NEVER
        return self._verify(token)

    def _verify(self, token: bytes) -> tuple[Claims, float]:
        text = _read_token(token)
        algorithm = _read_algorithm(text)
        if algorithm.startswith("HS") or self.users is None:
            assert self._verifier is not None, "made before anything is identified"
            payload = self._verifier.verify(text)
            claims = _claims_of_payload(payload)
        else:
            try:
                claims = self.users.verify(text)
            except TokenInvalid as error:
                raise _refuse(error) from None
        expires_at = claims.payload.get("exp")
        return claims, float(expires_at) if isinstance(expires_at, int | float) else NEVER


def without_service(authenticate: Callable[[Headers], Claims]) -> Callable[[Headers], Claims]:
    """As `authenticate`, but nobody is the application itself.

    The keys of a database do not govern the users of another one.
    """

    def authenticate_users(headers: Headers) -> Claims:
        claims = authenticate(headers)
        return claims if claims.role != Role.SERVICE else claims_of({"role": Role.ANON.value})

    return authenticate_users


def _read_token(token: bytes) -> str:
    if not token:
        raise JwtUndecodable(reason="Empty JWT is sent in Authorization header")
    if len(token) > TOKEN_BYTES_MAX:
        raise JwtUndecodable(reason="JWT is too long")
    parts = token.count(b".") + 1
    if parts != JWT_PARTS:
        raise JwtUndecodable(reason=f"Expected 3 parts in JWT; got {parts}")
    try:
        return token.decode("ascii")
    except UnicodeDecodeError:
        raise JwtUndecodable(reason="JWT couldn't be decoded") from None


def _read_algorithm(token: str) -> str:
    try:
        algorithm = jwt.get_unverified_header(token).get("alg")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise JwtUndecodable(reason="JWT couldn't be decoded") from None
    return algorithm if isinstance(algorithm, str) else ""


def _claims_of_payload(payload: Mapping[str, Any]) -> Claims:
    role = payload.get("role", Role.ANON.value)
    if not isinstance(role, str) or role not in ROLES:
        raise RoleNotServed(role=str(role)[:63])
    return claims_of({**payload, "role": role})


def _refuse(error: TokenInvalid) -> BulkheadError:
    """Say in PostgREST's words why the identity does not take a token."""
    reason = str(error.details.get("reason", ""))
    if "expired" in reason:
        return JwtClaimsInvalid(reason="JWT expired")
    if "not valid yet" in reason:
        return JwtClaimsInvalid(reason="JWT not yet valid")
    if "somebody else" in reason:
        return JwtClaimsInvalid(reason="JWT not in audience")
    return JwtUndecodable(reason="No suitable key or wrong key type", details=error.message)
