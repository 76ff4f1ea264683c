"""Passwords: what they must be like, and hashing them off the event loop.

The hashes are those of Supabase (`$2a$`, cost 10), so that users move in and out with theirs.
Hashing is work for a processor and waits for nothing, so it is done by few threads, which step
back for everything else that runs here: a crowd that signs in waits longer, readers hardly do.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import bcrypt

from bulkhead.capabilities.identity.errors import (
    PasswordsOverloaded,
    PasswordTooLong,
    PasswordWeak,
)
from bulkhead.capabilities.identity.password_hashes import (
    PasswordHashInvalid,
    encode_password,
    is_usable_hash,
    matches,
)
from bulkhead.capabilities.identity.settings import IdentitySettings

NICENESS = 10
"""By how much the threads step back, where the system can tell threads apart."""

T = TypeVar("T")


def check_password(password: str, settings: IdentitySettings) -> None:
    """Raise PasswordTooLong or PasswordWeak, whose `reasons` Supabase clients know."""
    if encode_password(password) is None:
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


def check_password_hash(hashed: str) -> None:
    """Raise PasswordHashInvalid for a hash that passwords could not be compared with."""
    if not is_usable_hash(hashed):
        raise PasswordHashInvalid


@dataclass(slots=True, eq=False)
class Passwords:
    """Hashing in threads, `parallel` at a time and at most `waiting_max` in line."""

    cost: int = 10
    parallel: int = 1
    waiting_max: int = 100
    _threads: ThreadPoolExecutor = field(init=False)
    _waiting: int = 0

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.parallel, "passwords", _step_back)

    async def hash(self, password: str) -> str:
        """Hash a password that `check_password` has accepted."""
        secret = encode_password(password)
        if secret is None:
            raise PasswordTooLong
        salt = bcrypt.gensalt(self.cost, prefix=b"2a")
        return await self._in_thread(lambda: bcrypt.hashpw(secret, salt).decode("ascii"))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether `password` belongs to `hashed`; takes as long when there is no hash.

        Raises PasswordsOverloaded.
        """
        usable = is_usable_hash(hashed)
        against = hashed if usable and hashed else _dummy(self.cost)
        return await self._in_thread(lambda: matches(password, against)) and usable

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= self.waiting_max:
            raise PasswordsOverloaded(what="Signing in")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _step_back() -> None:
    """Let every other thread go first; only Linux has a niceness for each thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, niceness)


def _dummy(cost: int) -> str:
    """A hash that takes as long to compare with as a real one, of a password that nobody knows."""
    return f"$2a${cost:02}$NJvOrCv1xeZ0mcnhbi.CGurlNVK1/WbgUtOve7T6o4uQ0BL9NLyTK"
