"""Passwords: what they must be like, and bcrypt off the event loop.

The hashes are those of Supabase (`$2a$`, cost 10), so that users move in and out with theirs.
bcrypt looks at 72 bytes and no more, so a longer password is refused when it is set and never
matches when it is tried.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import bcrypt

from bulkhead.capabilities.identity.errors import (
    PasswordsOverloaded,
    PasswordTooLong,
    PasswordWeak,
)
from bulkhead.capabilities.identity.settings import IdentitySettings

PASSWORD_BYTES_MAX = 72
HASH_LENGTH = 60
COST_MAX = 14
"""A hash that came from elsewhere with a higher cost would keep a thread busy for seconds."""

T = TypeVar("T")


def check_password(password: str, settings: IdentitySettings) -> None:
    """Raise PasswordTooLong or PasswordWeak, whose `reasons` Supabase clients know."""
    if _encode(password) is None:
        raise PasswordTooLong
    problems: dict[str, str] = {}
    if len(password) < settings.password_length_min:
        problems["length"] = (
            f"Password should be at least {settings.password_length_min} characters."
        )
    if any(not set(each) & set(password) for each in settings.password_characters):
        wanted = ", ".join(settings.password_characters)
        problems["characters"] = (
            f"Password should contain at least one character of each: {wanted}."
        )
    if problems:
        raise PasswordWeak(reason=" ".join(problems.values()), reasons=list(problems))


@dataclass(slots=True, eq=False)
class Passwords:
    """bcrypt in worker threads, `parallel` at a time and at most `waiting_max` in line."""

    cost: int = 10
    parallel: int = 2
    waiting_max: int = 100
    _running: asyncio.Semaphore = field(init=False)
    _waiting: int = 0

    def __post_init__(self) -> None:
        self._running = asyncio.Semaphore(self.parallel)

    async def hash(self, password: str) -> str:
        """Hash a password that `check_password` has accepted."""
        secret = _encode(password)
        if secret is None:
            raise PasswordTooLong
        salt = bcrypt.gensalt(self.cost, prefix=b"2a")
        return await self._in_thread(lambda: bcrypt.hashpw(secret, salt).decode("ascii"))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether `password` belongs to `hashed`; takes as long when there is no hash.

        Raises PasswordsOverloaded.
        """
        secret = _encode(password)
        usable = secret is not None and is_usable_hash(hashed)
        against = hashed if usable and hashed else _dummy(self.cost)
        matches = await self._in_thread(
            lambda: bcrypt.checkpw(secret or b"", against.encode("ascii"))
        )
        return matches and usable

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= self.waiting_max:
            raise PasswordsOverloaded(what="Signing in")
        self._waiting += 1
        try:
            async with self._running:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def is_usable_hash(hashed: str | None) -> bool:
    """Whether `hashed` is a bcrypt hash that can be compared with in reasonable time."""
    if not hashed or not hashed.isascii():
        return False
    parts = hashed.split("$")
    return (
        len(hashed) == HASH_LENGTH
        and len(parts) == len(["", "2a", "10", "salt and hash"])
        and parts[1] in {"2a", "2b", "2y"}
        and parts[2].isdecimal()
        and int(parts[2]) <= COST_MAX
    )


def _dummy(cost: int) -> str:
    """A hash that takes as long to compare with as a real one, of a password that nobody knows."""
    return f"$2a${cost:02}$NJvOrCv1xeZ0mcnhbi.CGurlNVK1/WbgUtOve7T6o4uQ0BL9NLyTK"


def _encode(password: str) -> bytes | None:
    """The bytes to hash; None for what bcrypt would cut off."""
    try:
        secret = password.encode()
    except UnicodeEncodeError:
        return None
    return None if len(secret) > PASSWORD_BYTES_MAX or b"\0" in secret else secret
