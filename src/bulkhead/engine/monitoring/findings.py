"""What a check-up found: values that a program can sort and a person can act on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Something is broken or unsafe."""
    WARNING = "warning"
    """Somebody should look at it soon."""
    INFO = "info"
    """Worth knowing."""
    OK = "ok"
    """Checked, and as it should be."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    level: Level
    code: str
    """Stable, for muting and for looking up."""
    subject: str
    """The database, reference or invariant it is about."""
    detail: str
    remedy: str = ""
    """What to do next; empty when there is nothing to do."""


def worst(findings: list[Finding]) -> Level:
    """The level that matters most among `findings`; OK when there are none."""
    order = list(Level)
    return min((finding.level for finding in findings), key=order.index, default=Level.OK)
