"""Named places where a test can make the program die, fail or stall.

In production nothing is armed and `reach` costs one dictionary look-up. The names are registered,
so that a test can enumerate them and prove that it has tried each one.
"""

import asyncio
import os
from collections.abc import Callable
from enum import StrEnum

from bulkhead.engine.errors import ConfigurationInvalid


class Mode(StrEnum):
    """What happens when an armed point is reached."""

    EXIT = "exit"
    """The process ends at once, as if by kill -9: no handler and no `finally` runs."""
    RAISE = "raise"
    """FailpointReached is raised."""
    STALL = "stall"
    """The first task that comes there waits until the point is disarmed."""


class FailpointReached(Exception):
    """An armed failpoint was reached."""


_registered: set[str] = set()
_armed: dict[str, tuple[Mode, int]] = {}
_stalls: dict[str, asyncio.Event] = {}
_observers: list[Callable[[str], None]] = []

EXIT_CODE = 137


def register(name: str) -> str:
    """Make `name` known and return it."""
    _registered.add(name)
    return name


def registered() -> frozenset[str]:
    """All names known in this process."""
    return frozenset(_registered)


def arm(name: str, mode: Mode = Mode.RAISE, *, after: int = 0) -> None:
    """Let the point act when it has been passed `after` times."""
    _armed[name] = (mode, after)


def arm_to_exit(text: str) -> None:
    """Arm the point that `text` names, `name` or `name:after`, so that the process ends there.

    Raises ConfigurationInvalid for a point that is not registered.
    """
    # Some names have a colon themselves.
    name, _, after = (text, "", "0") if text in _registered else text.rpartition(":")
    if name not in _registered or not after.isdecimal():
        known = ", ".join(sorted(_registered))
        raise ConfigurationInvalid(reason=f"'{text}' is no failpoint; there are {known}")
    arm(name, Mode.EXIT, after=int(after))


def disarm(name: str | None = None) -> None:
    """Take one point back, or all of them, and let those go on who wait there."""
    for each in [name] if name is not None else [*_armed, *_stalls]:
        _armed.pop(each, None)
        if (stall := _stalls.pop(each, None)) is not None:
            stall.set()


def observe(observer: Callable[[str], None] | None) -> None:
    """Have `observer` called with the name of every point that is reached; None for nobody."""
    _observers.clear()
    if observer is not None:
        _observers.append(observer)


async def reach(name: str) -> None:
    """Pass the point `name`."""
    if not _armed and not _observers:
        return
    for observer in _observers:
        observer(name)
    if name not in _armed:
        return
    mode, after = _armed[name]
    if after > 0:
        _armed[name] = (mode, after - 1)
        return
    if mode is Mode.EXIT:
        os._exit(EXIT_CODE)
    if mode is Mode.RAISE:
        disarm(name)
        raise FailpointReached(name)
    del _armed[name]
    await _stalls.setdefault(name, asyncio.Event()).wait()
