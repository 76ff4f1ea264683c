"""The difference between two snapshots of a catalogue."""

from dataclasses import dataclass
from enum import StrEnum

from bulkhead.engine.schema.introspect import Kind, Snapshot


class Change(StrEnum):
    """How what was found differs from what was expected."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not as expected; `expected` or `found` is None where it is absent."""

    kind: Kind
    name: str
    change: Change
    expected: str | None
    found: str | None

    def __str__(self) -> str:
        match self.change:
            case Change.MISSING:
                return f"{self.kind} {self.name} is missing: {self.expected}"
            case Change.UNEXPECTED:
                return f"{self.kind} {self.name} should not be there: {self.found}"
            case _:
                return f"{self.kind} {self.name} is '{self.found}', expected '{self.expected}'"


def diff(expected: Snapshot, found: Snapshot) -> tuple[Difference, ...]:
    """What distinguishes `found` from `expected`, in the order of kinds and names."""
    differences = []
    for key in sorted(expected.objects.keys() | found.objects.keys()):
        before, after = expected.objects.get(key), found.objects.get(key)
        if before == after:
            continue
        change = Change.CHANGED
        if after is None:
            change = Change.MISSING
        elif before is None:
            change = Change.UNEXPECTED
        differences.append(
            Difference(
                *key,
                change,
                before.definition if before else None,
                after.definition if after else None,
            )
        )
    return tuple(differences)
