"""What every source of master keys has, and how keys are written: one to a line, the newest first.

A key is 32 bytes in base64 or base64url; what begins with `#` is for people. Exactly 32 bytes are
taken as one raw key.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Protocol

from bulkhead.capabilities.vault.envelope import KEY_BYTES, MasterKey
from bulkhead.capabilities.vault.errors import MasterKeyUnusable

if TYPE_CHECKING:
    from pathlib import Path


class KeySource(Protocol):
    """Where master keys are found; every method may raise MasterKeyUnusable."""

    @property
    def place(self) -> str:
        """Where that is, for messages."""

    @property
    def path(self) -> Path | None:
        """The file, if it is one."""

    @property
    def is_ours(self) -> bool:
        """Whether this program makes and changes the keys; otherwise an operator does."""

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        """The keys, newest first; none when there are none yet."""

    def find(self, key_id: bytes) -> MasterKey | None:
        """The key with this id; None when it is not there."""

    def ensure(self) -> MasterKey:
        """The newest key; made when there is none and they are ours."""

    def add(self, *keys: MasterKey) -> None:
        """Put keys below those that are there already."""

    def rotate(self) -> MasterKey:
        """A new key, on top; raises RotationRefused when they are not ours to change."""


def parse_keys(content: bytes, place: str) -> tuple[MasterKey, ...]:
    """The keys in what was found at `place`, at least one; raises MasterKeyUnusable."""
    if len(content) == KEY_BYTES:
        return (MasterKey(content),)
    try:
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
        keys = tuple(MasterKey(_decode(line)) for line in lines if line and line[0] != "#")
    except (ValueError, binascii.Error):
        # The reason must not quote what was found, which is a secret.
        raise MasterKeyUnusable(path=place, reason="it holds something else") from None
    if not keys:
        raise MasterKeyUnusable(path=place, reason="it is empty")
    return keys


def _decode(line: str) -> bytes:
    return base64.b64decode(line.replace("-", "+").replace("_", "/"), validate=True)
