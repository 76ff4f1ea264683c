"""Who sees what in a store whose database clients can reach; the platform itself sees everything.

Nobody but the platform writes: a store's owner does it through the platform, which keeps the limits
of the plan.
"""

from bulkhead.engine.extract.access import TableAccess, TablePolicy, belongs_to

EVERYBODY = ("anon", "authenticated")
SIGNED_IN = ("authenticated",)


def shown(when: str) -> dict[str, TableAccess]:
    """Everybody reads the rows for which `when` holds."""
    policy = TablePolicy("read_shown", "select", EVERYBODY, using=when)
    return {"access": TableAccess((policy,), dict.fromkeys(EVERYBODY, ("select",)))}


def shown_with(table: str, column: str, target: str) -> dict[str, TableAccess]:
    """Everybody reads what belongs to a row of `target` that he may read."""
    return shown(belongs_to(table, column, target))


def own(when: str) -> dict[str, TableAccess]:
    """Who is signed in reads the rows for which `when` holds."""
    policy = TablePolicy("read_own", "select", SIGNED_IN, using=when)
    return {"access": TableAccess((policy,), dict.fromkeys(SIGNED_IN, ("select",)))}


def own_with(table: str, column: str, target: str) -> dict[str, TableAccess]:
    """Who is signed in reads what belongs to a row of `target` that he may read."""
    return own(belongs_to(table, column, target))
