"""The API keys of a database: whom an application's front end and its servers present.

There are two forms. Opaque keys, `sb_publishable_...` for everybody and `sb_secret_...` for the
application itself, are looked up. Legacy keys are JWTs for the roles `anon` and `service_role`,
signed with the JWT secret of the database. All of them follow from the secret of the installation
and a generation number: a rotation counts it up and keeps the former key valid until it is revoked.

The forms are those of Supabase; the checksum of an opaque key covers what it is a key of.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import jwt

from bulkhead.engine.connections.claims import Claims, Role
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.errors import Conflict

ISSUER = "bulkhead"
ISSUED_AT = 1_767_225_600
"""2026-01-01; legacy keys are derived, so that nothing remembers when each was first shown."""
EXPIRES_AT = 4_102_444_800
"""2100-01-01: a key ends when it is revoked."""
RANDOM_CHARACTERS = 22
CHECKSUM_CHARACTERS = 8


class KeyNotRevocable(Conflict):
    """Key {number} of kind '{kind}' of database '{database}' cannot be revoked: {reason}."""

    code = "api_key_not_revocable"


class KeyKind(StrEnum):
    """What is rotated as one."""

    PUBLISHABLE = "publishable"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    JWT = "jwt"
    """The JWT secret, and with it both legacy keys."""


@dataclass(frozen=True, slots=True)
class Series:
    """The generations of one kind of key that are valid."""

    current: int = 0
    previous: tuple[int, ...] = ()

    @property
    def valid(self) -> tuple[int, ...]:
        """The current generation, then the previous ones, latest first."""
        return (self.current, *reversed(self.previous))

    def rotated(self) -> Series:
        """A new key is current; the former one stays valid."""
        return Series(self.current + 1, (*self.previous, self.current))

    def revoked(self, number: int) -> Series:
        """Without the previous generation `number`; ValueError where that is none."""
        if number not in self.previous:
            message = "it is in use; rotate first" if number == self.current else "it is not valid"
            raise ValueError(message)
        return Series(self.current, tuple(each for each in self.previous if each != number))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One valid key."""

    kind: KeyKind
    role: Role
    number: int
    is_current: bool
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DatabaseKeys:
    """The valid keys of one database."""

    database: str
    reference: str
    """`application-database`: the `ref` of its legacy keys."""
    keys: tuple[ApiKey, ...]
    jwt_secrets: tuple[str, ...] = field(repr=False)
    """What signs its legacy keys, current first."""
    claims: Mapping[bytes, Claims] = field(repr=False)
    """By key: for whom a transaction acts that was asked for with it."""

    def current(self, kind: KeyKind, role: Role) -> str:
        """The text of the current key."""
        return next(
            key.text for key in self.keys if key.is_current and (key.kind, key.role) == (kind, role)
        )


def derive_keys(
    secret: Secret, application: str, database: str, series: Mapping[KeyKind, Series]
) -> DatabaseKeys:
    """All valid keys of a database; a kind that `series` leaves out was never rotated."""
    reference = f"{application}-{database}"

    def seed(kind: KeyKind, number: int) -> bytes:
        return secret.derive(f"api-key:{application}:{database}:{kind.value}:{number}")

    def of(kind: KeyKind) -> Iterator[tuple[int, bool]]:
        generations = series.get(kind, Series())
        return ((number, number == generations.current) for number in generations.valid)

    keys: list[ApiKey] = []
    claims: dict[bytes, Claims] = {}
    secrets: list[str] = []
    for kind, role in ((KeyKind.PUBLISHABLE, Role.ANON), (KeyKind.SECRET, Role.SERVICE)):
        for number, is_current in of(kind):
            text = opaque_key(kind, seed(kind, number), reference)
            keys.append(ApiKey(kind, role, number, is_current, text))
            claims[text.encode()] = claims_of({"role": role.value})
    for number, is_current in of(KeyKind.JWT):
        secrets.append(seed(KeyKind.JWT, number).hex())
        for role in (Role.ANON, Role.SERVICE):
            payload = legacy_payload(reference, role)
            text = jwt.encode(payload, secrets[-1], algorithm="HS256")
            keys.append(ApiKey(KeyKind.JWT, role, number, is_current, text))
            claims[text.encode()] = claims_of(payload)
    return DatabaseKeys(database, reference, tuple(keys), tuple(secrets), claims)


def opaque_key(kind: KeyKind, seed: bytes, reference: str) -> str:
    """A key of random characters with the checksum that Supabase's own have."""
    stem = f"sb_{kind.value}_{_base64(seed)[:RANDOM_CHARACTERS]}"
    digest = hashlib.sha256(f"{reference}|{stem}".encode()).digest()
    return f"{stem}_{_base64(digest)[:CHECKSUM_CHARACTERS]}"


def legacy_payload(reference: str, role: Role) -> dict[str, Any]:
    """The claims of a legacy key."""
    return {
        "iss": ISSUER,
        "ref": reference,
        "role": role.value,
        "iat": ISSUED_AT,
        "exp": EXPIRES_AT,
    }


def claims_of(payload: Mapping[str, Any]) -> Claims:
    """Claims under the role that `payload` names, which must have been checked."""
    return Claims(payload["role"], payload, json.dumps(payload, separators=(",", ":")))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
