"""Signing keys and their lives: standby, current, previous, revoked. Values only, no files.

A key is published while on standby, so that everybody who caches the key set knows it before the
first token carries it. A rotation makes it current; the former current key still verifies until
it is revoked, which is safe once the last token it signed has expired. Keys that we make are
ES256; those that are imported may also be RS256.

Source: RFC 7517 for the published form, RFC 7638 for the key ids.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from bulkhead.capabilities.identity.errors import KeyNotImportable, KeyNotRevocable

ES256, RS256 = "ES256", "RS256"
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 4096
KID_LENGTH_MAX = 200
_COORDINATE_BYTES = 32

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
VerifyingKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class KeyState(StrEnum):
    """Where a key is in its life."""

    STANDBY = "standby"
    CURRENT = "current"
    PREVIOUS = "previous"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair; `private` signs, its public half verifies."""

    kid: str
    state: KeyState
    created_at: dt.datetime
    private: SigningKey = field(repr=False)
    public: VerifyingKey = field(repr=False)

    @property
    def alg(self) -> str:
        """The one algorithm that the key is used with: ES256 or RS256."""
        return RS256 if isinstance(self.public, rsa.RSAPublicKey) else ES256

    def to_jwk(self) -> dict[str, Any]:
        """The public half as it is published."""
        return {
            **_public_numbers(self.public),
            "kid": self.kid,
            "alg": self.alg,
            "use": "sig",
            "key_ops": ["verify"],
            "ext": True,
        }

    def to_json(self) -> dict[str, Any]:
        """The whole key, as it stands in its file; a secret."""
        pem = self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        thumbprint = _thumbprint(self.public)
        return {
            "kid": self.kid,
            **({} if self.kid == thumbprint else {"thumbprint": thumbprint}),
            "state": self.state.value,
            "created_at": self.created_at.isoformat(),
            "private_key": pem.decode("ascii"),
        }


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one application; exactly one of them is current (else ValueError)."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        current = [key for key in self.keys if key.state is KeyState.CURRENT]
        if len(current) != 1 or len({key.kid for key in self.keys}) != len(self.keys):
            message = "exactly one key is current, and every key is there once"
            raise ValueError(message)

    @property
    def current(self) -> Key:
        """The key that signs."""
        return next(key for key in self.keys if key.state is KeyState.CURRENT)

    def find(self, kid: str) -> Key | None:
        """The key that verifies tokens with this `kid`; None for unknown and revoked ones."""
        for key in self.keys:
            if key.kid == kid and key.state is not KeyState.REVOKED:
                return key
        return None

    def to_jwks(self) -> dict[str, Any]:
        """What is published: the public halves of all keys that are not revoked."""
        return {"keys": [key.to_jwk() for key in self.keys if key.state is not KeyState.REVOKED]}

    def rotated(self, standby: Key) -> KeySet:
        """Let the standby key sign from now on, and keep `standby` for the next rotation."""
        return KeySet((*(_advance(key) for key in self.keys), standby))

    def imported(self, key: Key) -> KeySet:
        """Add a key from elsewhere; raises KeyNotImportable.

        On standby it takes the place of the key that was, which has signed nothing. As a previous
        key it lets tokens that were signed elsewhere go on.
        """
        if any(key.kid == known.kid for known in self.keys):
            raise KeyNotImportable(reason=f"there is a key '{key.kid}' already")
        match key.state:
            case KeyState.STANDBY:
                kept = [known for known in self.keys if known.state is not KeyState.STANDBY]
                return KeySet((*kept, key))
            case KeyState.PREVIOUS:
                return KeySet((key, *self.keys))
            case _:
                raise KeyNotImportable(reason=f"a key is not imported as {key.state}")

    def revoked(self, kid: str) -> KeySet:
        """Refuse every token signed with `kid`, at once; raises KeyNotRevocable."""
        states = {key.kid: key.state for key in self.keys}
        if kid not in states:
            raise KeyNotRevocable(kid=kid, reason="there is no such key")
        if states[kid] is KeyState.CURRENT:
            raise KeyNotRevocable(kid=kid, reason="it is in use; rotate first, then revoke it")
        if states[kid] is KeyState.STANDBY:
            raise KeyNotRevocable(kid=kid, reason="it is next in line; rotate twice, then revoke")
        return KeySet(
            tuple(
                replace(key, state=KeyState.REVOKED) if key.kid == kid else key for key in self.keys
            )
        )


def create_key(state: KeyState, created_at: dt.datetime) -> Key:
    """Make a fresh key; its id is the thumbprint of its public half.

    No id looks like an option, so that it can be given to a command as it is.
    """
    kid = "-"
    while kid.startswith("-"):
        private = ec.generate_private_key(ec.SECP256R1())
        kid = _thumbprint(private.public_key())
    return Key(kid, state, created_at, private, private.public_key())


def create_key_set(created_at: dt.datetime) -> KeySet:
    """Make the first keys of an application: one to sign with, one on standby."""
    return KeySet(
        (create_key(KeyState.CURRENT, created_at), create_key(KeyState.STANDBY, created_at))
    )


def parse_key(document: Mapping[str, Any]) -> Key:
    """Read what `Key.to_json` wrote; raises ValueError, KeyError or TypeError."""
    loaded = serialization.load_pem_private_key(document["private_key"].encode("ascii"), None)
    private = _checked(loaded)
    public = private.public_key()
    if document.get("thumbprint", document["kid"]) != _thumbprint(public):
        message = f"key '{document['kid']}' is not the key it says it is"
        raise ValueError(message)
    created_at = dt.datetime.fromisoformat(document["created_at"])
    return Key(document["kid"], KeyState(document["state"]), created_at, private, public)


def parse_foreign_key(text: str, state: KeyState, created_at: dt.datetime) -> Key:
    """Read a private key from elsewhere, PEM or JWK, P-256 or RSA; raises KeyNotImportable.

    A JWK keeps its `kid`, so that tokens which name it go on; others are called by thumbprint.
    """
    try:
        private, kid = _read_jwk(text) if text.lstrip().startswith("{") else _read_pem(text)
        private = _checked(private)
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        # What the error says may quote the key.
        raise KeyNotImportable(reason=f"it cannot be read ({type(error).__name__})") from None
    public = private.public_key()
    return Key(kid or _thumbprint(public), state, created_at, private, public)


def _read_pem(text: str) -> tuple[PrivateKeyTypes, str | None]:
    return serialization.load_pem_private_key(text.strip().encode("ascii"), None), None


def _read_jwk(text: str) -> tuple[PrivateKeyTypes, str | None]:
    document = json.loads(text)
    kid = document.get("kid")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= KID_LENGTH_MAX):
        message = "its kid is not a short text"
        raise ValueError(message)
    key = jwt.PyJWK({**document, "alg": RS256 if document["kty"] == "RSA" else ES256}).key
    return key, kid


def _checked(private: object) -> SigningKey:
    """The key, if it is one that we sign with; raises TypeError or ValueError."""
    if isinstance(private, rsa.RSAPrivateKey):
        if not RSA_BITS_MIN <= private.key_size <= RSA_BITS_MAX:
            message = f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits"
            raise ValueError(message)
        return private
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        message = "neither an RSA key nor one of an elliptic curve"
        raise TypeError(message)
    if not isinstance(private.curve, ec.SECP256R1):
        message = "not a key of the curve P-256"
        raise TypeError(message)
    return private


def _advance(key: Key) -> Key:
    match key.state:
        case KeyState.STANDBY:
            return replace(key, state=KeyState.CURRENT)
        case KeyState.CURRENT:
            return replace(key, state=KeyState.PREVIOUS)
        case _:
            return key


def _public_numbers(public: VerifyingKey) -> dict[str, str]:
    """The members of a JWK that are the key, and that its thumbprint is taken of."""
    if isinstance(public, rsa.RSAPublicKey):
        modulus, exponent = public.public_numbers().n, public.public_numbers().e
        return {"e": _base64(exponent), "kty": "RSA", "n": _base64(modulus)}
    point = public.public_numbers()
    x, y = _base64(point.x, _COORDINATE_BYTES), _base64(point.y, _COORDINATE_BYTES)
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _thumbprint(public: VerifyingKey) -> str:
    canonical = json.dumps(_public_numbers(public), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _base64(number: int, length: int | None = None) -> str:
    raw = number.to_bytes(length or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
