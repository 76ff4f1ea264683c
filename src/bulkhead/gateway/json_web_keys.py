"""Keys that verify tokens: from a secret, a JSON Web Key or a set of them. Source: RFC 7517."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from bulkhead.engine.errors import ConfigurationInvalid

Verify = Callable[[bytes, bytes], bool]
"""From what was signed and the signature to whether it is good."""

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
_RSA = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
}
_CURVES = {
    "secp256r1": ("ES256", ECAlgorithm(ECAlgorithm.SHA256)),
    "secp384r1": ("ES384", ECAlgorithm(ECAlgorithm.SHA384)),
    "secp521r1": ("ES512", ECAlgorithm(ECAlgorithm.SHA512)),
}
ALGORITHMS = frozenset({*_HASHES, *_RSA, *(name for name, _ in _CURVES.values()), "EdDSA"})
"""What tokens may be signed with; never `none`."""

_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key and what it can verify."""

    verifiers: Mapping[str, Verify] = field(repr=False)
    """By algorithm."""
    key_id: str | None = None

    def fits(self, algorithm: str, key_id: str | None) -> bool:
        """Whether a token with this head may have been signed with the key."""
        return algorithm in self.verifiers and key_id in (None, self.key_id)


def parse_keys(text: str) -> tuple[VerifyingKey, ...]:
    """Keys from a secret, or from the JSON of a key or a set of keys.

    Keys of unknown types, and those for encryption, are left out. Raises ConfigurationInvalid.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return (VerifyingKey(_hmac_verifiers(text.encode())),)
    keys = value.get("keys", [value])
    if not isinstance(keys, list):
        raise ConfigurationInvalid(reason="'keys' of a set of JSON Web Keys is no list")
    return tuple(key for one in keys if (key := _parse_key(one)) is not None)


def decode_base64url(text: bytes) -> bytes:
    """Decode without padding, strictly; raises ValueError."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    try:
        return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _parse_key(one: object) -> VerifyingKey | None:
    if not isinstance(one, dict):
        raise ConfigurationInvalid(reason="a JSON Web Key is no object")
    if one.get("use") == "enc":
        return None
    try:
        verifiers = _verifiers_of(one)
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError) as error:
        raise ConfigurationInvalid(reason=f"a JSON Web Key is not valid: {error}") from error
    algorithm, key_id = one.get("alg"), one.get("kid")
    if isinstance(algorithm, str):
        verifiers = {name: verify for name, verify in verifiers.items() if name == algorithm}
    return VerifyingKey(verifiers, key_id if isinstance(key_id, str) else None)


def _verifiers_of(one: Mapping[str, Any]) -> Mapping[str, Verify]:
    text = json.dumps(one)
    match one.get("kty"):
        case "oct":
            return _hmac_verifiers(decode_base64url(str(one["k"]).encode()))
        case "RSA":
            return _rsa_verifiers(RSAAlgorithm.from_jwk(text))
        case "EC":
            return _ec_verifiers(ECAlgorithm.from_jwk(text))
        case "OKP":
            return _okp_verifiers(OKPAlgorithm.from_jwk(text))
    return {}


def _hmac_verifiers(secret: bytes) -> Mapping[str, Verify]:
    def verifier(name: str) -> Verify:
        return lambda signed, signature: hmac.compare_digest(
            hmac.digest(secret, signed, _HASHES[name]), signature
        )

    return {name: verifier(name) for name in _HASHES}


def _rsa_verifiers(key: RSAPrivateKey | RSAPublicKey) -> Mapping[str, Verify]:
    public = key.public_key() if isinstance(key, RSAPrivateKey) else key

    def verifier(algorithm: RSAAlgorithm) -> Verify:
        return lambda signed, signature: algorithm.verify(signed, public, signature)

    return {name: verifier(algorithm) for name, algorithm in _RSA.items()}


def _ec_verifiers(
    key: EllipticCurvePrivateKey | EllipticCurvePublicKey,
) -> Mapping[str, Verify]:
    public = key.public_key() if isinstance(key, EllipticCurvePrivateKey) else key
    found = _CURVES.get(public.curve.name)
    if found is None:
        return {}
    name, algorithm = found
    return {name: lambda signed, signature: algorithm.verify(signed, public, signature)}


def _okp_verifiers(
    key: Ed25519PrivateKey | Ed25519PublicKey | Ed448PrivateKey | Ed448PublicKey,
) -> Mapping[str, Verify]:
    public = key.public_key() if isinstance(key, Ed25519PrivateKey | Ed448PrivateKey) else key
    algorithm = OKPAlgorithm()
    return {"EdDSA": lambda signed, signature: algorithm.verify(signed, public, signature)}


def find_keys(
    keys: Sequence[VerifyingKey], algorithm: str, key_id: str | None
) -> list[VerifyingKey]:
    """The keys that a token with this head may have been signed with."""
    return [key for key in keys if key.fits(algorithm, key_id)]
