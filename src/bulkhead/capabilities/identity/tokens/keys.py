"""Signing keys and their lives: standby, current, previous, revoked. Values only, no files.

A key is published while on standby, so that everybody who caches the key set knows it before the
first token carries it. A rotation makes it current; the former current key still verifies until
it is revoked, which is safe once the last token it signed has expired.

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

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bulkhead.capabilities.identity.errors import KeyNotRevocable

_COORDINATE_BYTES = 32


class KeyState(StrEnum):
    """Where a key is in its life."""

    STANDBY = "standby"
    CURRENT = "current"
    PREVIOUS = "previous"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Key:
    """An ES256 key; `private` signs, its public half verifies."""

    kid: str
    state: KeyState
    created_at: dt.datetime
    private: ec.EllipticCurvePrivateKey = field(repr=False)
    public: ec.EllipticCurvePublicKey = field(repr=False)

    def to_jwk(self) -> dict[str, Any]:
        """The public half as it is published."""
        return {
            **_coordinates(self.public),
            "kid": self.kid,
            "alg": "ES256",
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
        return {
            "kid": self.kid,
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
    """Make a fresh key; its id is the thumbprint of its public half."""
    private = ec.generate_private_key(ec.SECP256R1())
    return Key(_thumbprint(private.public_key()), state, created_at, private, private.public_key())


def create_key_set(created_at: dt.datetime) -> KeySet:
    """Make the first keys of an application: one to sign with, one on standby."""
    return KeySet(
        (create_key(KeyState.CURRENT, created_at), create_key(KeyState.STANDBY, created_at))
    )


def parse_key(document: Mapping[str, Any]) -> Key:
    """Read what `Key.to_json` wrote; raises ValueError, KeyError or TypeError."""
    private = serialization.load_pem_private_key(document["private_key"].encode("ascii"), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        message = "not a key of an elliptic curve"
        raise TypeError(message)
    public = private.public_key()
    if document["kid"] != _thumbprint(public):
        message = f"key '{document['kid']}' is not the key it says it is"
        raise ValueError(message)
    created_at = dt.datetime.fromisoformat(document["created_at"])
    return Key(document["kid"], KeyState(document["state"]), created_at, private, public)


def _advance(key: Key) -> Key:
    match key.state:
        case KeyState.STANDBY:
            return replace(key, state=KeyState.CURRENT)
        case KeyState.CURRENT:
            return replace(key, state=KeyState.PREVIOUS)
        case _:
            return key


def _coordinates(public: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = public.public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": _base64(numbers.x), "y": _base64(numbers.y)}


def _thumbprint(public: ec.EllipticCurvePublicKey) -> str:
    canonical = json.dumps(_coordinates(public), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _base64(number: int) -> str:
    raw = number.to_bytes(_COORDINATE_BYTES, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
