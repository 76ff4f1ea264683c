"""Identifiers: UUIDv7 where a row is born, UUIDv5 where an id follows from what is known.

Source: RFC 9562, sections 5.5 and 5.7.
"""

import os
import time
import uuid

_NAMESPACE = uuid.UUID("8f6d2c1e-5a0b-5c3d-9e4f-b0a1c2d3e4f5")


def new_id() -> uuid.UUID:
    """Make a UUIDv7: sorts by the millisecond in which it was made, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def new_hex() -> str:
    """A UUIDv7 as 32 hexadecimal digits, made of text alone, where nobody needs more of it."""
    digits = os.urandom(10).hex()
    return f"{time.time_ns() // 1_000_000:012x}7{digits[:3]}8{digits[3:18]}"


def derive_id(kind: str, *parts: object) -> uuid.UUID:
    """Make the UUIDv5 that always follows from `kind` and `parts`, whoever computes it.

    Each part is length-prefixed, so that ("a", "bc") and ("ab", "c") differ.
    """
    texts = [kind, *(str(part) for part in parts)]
    return uuid.uuid5(_NAMESPACE, "".join(f"{len(text)}:{text}" for text in texts))
