"""What must always be true of the master; checked by tests and by `bulkhead doctor`."""

from __future__ import annotations

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.monitoring.invariant import Invariant, rows_of
from bulkhead.engine.monitoring.numbers import find_not_numbers

AUDIT = load_queries("bulkhead.apps.store_platform.master.audit")
METERING = load_queries("bulkhead.apps.store_platform.master.metering")
DAYS = 40
ENTRIES_MAX = 100


def platform_invariants(days: int = DAYS) -> tuple[Invariant, ...]:
    """The invariants of the platform; calls are counted again for so many `days`."""
    return (
        Invariant("I5", "every number is one", find_not_numbers),
        Invariant(
            "I17",
            "the calls of a day are those that were written down",
            rows_of("master", METERING.miscounted_days, days),
        ),
        Invariant(
            "I17-holds",
            "what is held of a plan is what is being written",
            rows_of("master", METERING.unbalanced_counters),
        ),
        Invariant(
            "audit-chain",
            "nobody has changed the audit log",
            rows_of("master", AUDIT.broken_entries, ENTRIES_MAX),
        ),
    )
