"""How a secret is sealed: AES-256-GCM under its tenant's key, bound to the place it stands in.

A sealed value is `0x01 | master key id (4) | key id (4) | nonce (12) | ciphertext | tag (16)`. The
head and the place are authenticated with it, each part with its length, so that no bit of it can
be changed, and it opens neither in another row, column, table or database nor for another tenant.
The id of the master key is that of the time of sealing; the key id alone says which key opens it.

GCM does not commit to a key: one value can open under two. So each key has a commitment, which is
stored beside it and checked when it is unwrapped.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from bulkhead.engine.sealing import SealBroken, SealContext

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
COMMITMENT_BYTES: Final = 16
ID_BYTES: Final = 4
VERSION: Final = 1
HEADER: Final = Struct(">B4sI")
SEALS_MAX: Final = 2**31
"""Of one key; random nonces are safe for twice as many."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The key that seals the keys of tenants."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) != KEY_BYTES:
            message = f"a master key has {KEY_BYTES} bytes"
            raise ValueError(message)

    @property
    def id(self) -> bytes:
        """Four bytes that follow from the key and say nothing about it."""
        return derive(self.value, "master id", ID_BYTES)

    @property
    def check(self) -> bytes:
        """What a database remembers of the key, to know it again."""
        return derive(self.value, "master check", COMMITMENT_BYTES)

    def wrap(self, key: DataKey) -> bytes:
        """Seal a tenant's key for its row of the keyring."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key.value, _row(self.id, key.id, key.tenant))

    def unwrap(self, wrapped: bytes, commitment: bytes, key_id: int, tenant: str) -> DataKey:
        """The tenant's key; raises SealBroken when the row was changed."""
        nonce, body = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            key = DataKey(
                key_id, tenant, self._cipher.decrypt(nonce, body, _row(self.id, key_id, tenant))
            )
        except (InvalidTag, ValueError):
            raise SealBroken(place=f"key {key_id} of the keyring") from None
        if not hmac.compare_digest(key.commitment, commitment):
            raise SealBroken(place=f"key {key_id} of the keyring")
        return key

    @property
    def _cipher(self) -> AESGCM:
        return AESGCM(derive(self.value, "master wrap", KEY_BYTES))


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one tenant."""

    id: int
    tenant: str
    value: bytes = field(repr=False)
    _cipher: AESGCM = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cipher", AESGCM(derive(self.value, "seal", KEY_BYTES)))

    @property
    def commitment(self) -> bytes:
        """What no other key has."""
        return derive(self.value, "commit", COMMITMENT_BYTES)

    def seal(self, plain: bytes, context: SealContext, master_id: bytes) -> bytes:
        """Seal `plain` for its place."""
        header = HEADER.pack(VERSION, master_id, self.id)
        nonce = os.urandom(NONCE_BYTES)
        return header + nonce + self._cipher.encrypt(nonce, plain, _place(header, context))

    def open(self, sealed: bytes, context: SealContext) -> bytes:
        """What was sealed for the place; raises SealBroken."""
        header, rest = sealed[: HEADER.size], sealed[HEADER.size :]
        nonce, body = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        if context.tenant != self.tenant:
            raise SealBroken(place=context.place)
        try:
            return self._cipher.decrypt(nonce, body, _place(header, context))
        except (InvalidTag, ValueError):
            raise SealBroken(place=context.place) from None

    def fingerprint(self, plain: bytes, purpose: str) -> bytes:
        """16 bytes that are equal for equal secrets; without the key nobody can guess by them."""
        key = derive(self.value, "fingerprint", KEY_BYTES)
        return hmac.new(key, join(purpose.encode(), plain), hashlib.sha256).digest()[:16]


def key_id_of(sealed: bytes, context: SealContext) -> int:
    """Which key opens a sealed value; raises SealBroken for what is none."""
    if len(sealed) < HEADER.size + NONCE_BYTES + TAG_BYTES:
        raise SealBroken(place=context.place)
    version, _, key_id = HEADER.unpack_from(sealed)
    if version != VERSION:
        raise SealBroken(place=context.place)
    return int(key_id)


def derive(key: bytes, purpose: str, length: int) -> bytes:
    """Bytes that follow from a uniformly random `key`, for one purpose; HKDF-Expand, RFC 5869."""
    return HKDFExpand(SHA256(), length, f"bulkhead v1 {purpose}".encode()).derive(key)


def join(*parts: bytes) -> bytes:
    """The parts, each with its length, so that no other parts give the same."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _place(header: bytes, context: SealContext) -> bytes:
    return join(
        b"v1",
        header,
        context.database.encode(),
        context.table.encode(),
        context.column.encode(),
        context.key.encode(),
        context.tenant.encode(),
    )


def _row(master_id: bytes, key_id: int, tenant: str) -> bytes:
    return join(b"v1 keyring", master_id, key_id.to_bytes(ID_BYTES, "big"), tenant.encode())
