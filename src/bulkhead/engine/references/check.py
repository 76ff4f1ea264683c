"""References are checked on write: the target's database is asked before the source is written.

A check is a promise for a moment, not a lock: nothing can lock a row for a transaction of another
database. What slips through between check and commit is the sweep's to find. Deleting a target to
which a reference must not be left therefore goes through a fence (`tombstone.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.errors import Invalid
from bulkhead.engine.references.columns import find_table, qualified

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.topology import Column, Topology

QUERIES = load_queries(__package__, "check.sql")

BATCH_MAX = 10_000
"""Ids in one query."""
CACHE_MAX = 10_000
CACHE_S = 2.0
SHOWN_MAX = 10
"""Missing ids that an error lists."""

T = TypeVar("T", bound=Hashable)


class ReferenceMissing(Invalid):
    """{count} of the ids are not in {target}: {missing}."""

    code = "reference_missing"
    hint = "Choose something that still exists."


@dataclass(frozen=True, slots=True)
class Verified(Generic[T]):
    """An id that was just seen in the table it refers to; made by `ReferenceChecker` only.

    A service that takes `Verified[UserId]` cannot be called with an id nobody has looked up.
    """

    value: T
    target: Column


@dataclass(slots=True, eq=False)
class ReferenceChecker:
    """Checks ids in the databases of one application and remembers for a moment what it saw.

    Only what exists is remembered, never that something is missing: a row may be written the next
    instant, but it does not vanish unseen, because a deletion leaves a tombstone.
    """

    router: Router
    topology: Topology
    cache_s: float = CACHE_S
    """How long an id counts as seen; deletions wait for longer (`tombstone.GRACE_S`)."""
    cache_max: int = CACHE_MAX
    _seen: OrderedDict[tuple[Column, Hashable], float] = field(default_factory=OrderedDict)

    async def check_exists(self, target: Column, ids: Iterable[T]) -> list[Verified[T]]:
        """Check that each id is a key of `target`, with one query for all of them.

        Returns them in their order. Raises ReferenceMissing (422) with the first missing ids; an
        id counts as missing when its row was deleted, left a tombstone or is fenced for deletion.
        """
        wanted = list(ids)
        unknown = [key for key in dict.fromkeys(wanted) if not self._remembers(target, key)]
        missing: list[T] = []
        for start in range(0, len(unknown), BATCH_MAX):
            batch = unknown[start : start + BATCH_MAX]
            found = await self._find(target, batch)
            missing += [key for key in batch if key not in found]
        if missing:
            shown = ", ".join(str(key) for key in missing[:SHOWN_MAX])
            raise ReferenceMissing(target=str(target), count=len(missing), missing=shown)
        return [Verified(key, target) for key in wanted]

    async def check_one(self, target: Column, key: T) -> Verified[T]:
        """Check a single id as `check_exists` does."""
        return (await self.check_exists(target, [key]))[0]

    async def _find(self, target: Column, batch: Sequence[T]) -> set[T]:
        table = find_table(self.topology, target)
        statement = QUERIES.find_live_keys.format(
            table=qualified(table), column=identifier(target.column)
        )
        asked_at_s = monotonic_s()
        database = self.router.database(target.database)
        async with database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(statement, batch, table.name)
        found: set[T] = {row["key"] for row in rows}
        for key in found:
            self._remember(target, key, asked_at_s)
        return found

    def _remembers(self, target: Column, key: Hashable) -> bool:
        until_s = self._seen.get((target, key))
        if until_s is None:
            return False
        if until_s > monotonic_s():
            return True
        del self._seen[target, key]
        return False

    def _remember(self, target: Column, key: Hashable, asked_at_s: float) -> None:
        self._seen[target, key] = asked_at_s + self.cache_s
        self._seen.move_to_end((target, key))
        while len(self._seen) > self.cache_max:
            self._seen.popitem(last=False)
