"""Whether the databases of an application have had the migrations that this program knows."""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead.engine.migrations.files import Label
from bulkhead.engine.migrations.plan import DatabaseAhead, DatabaseBehind


def verify_not_behind(
    application: str, database: str, known: Sequence[Label], had: Sequence[Label]
) -> None:
    """Pass where a database has had all that the program knows; raises DatabaseBehind."""
    applied = {(namespace, version) for namespace, version, _ in had}
    missing = [each for each in known if each[:2] not in applied]
    if missing:
        others = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DatabaseBehind(
            application=application, database=database, migration=_name(missing[0]), others=others
        )


def verify_not_ahead(database: str, known: Sequence[Label], had: Sequence[Label]) -> None:
    """Pass where a database has had nothing but that; raises DatabaseAhead.

    Namespaces of which the program knows nothing are another program's.
    """
    versions = {each[:2] for each in known}
    namespaces = {each[0] for each in known}
    for each in had:
        if each[0] in namespaces and each[:2] not in versions:
            raise DatabaseAhead(database=database, migration=_name(each))


def _name(label: Label) -> str:
    namespace, version, name = label
    return f"{namespace}/{version:04}_{name}"
