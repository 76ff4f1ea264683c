"""A logical database of an application: a name, its tables and how it is looked after."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bulkhead.engine.topology.exposure import ApiExposure
from bulkhead.engine.topology.table import Table


class SecurityLevel(StrEnum):
    """How a database is guarded.

    `high` (payments, identities): a remote server must be reached with verified TLS whatever
    the DSN asks for, and statements are never logged with their parameters.
    """

    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Database:
    """A logical database; its placement says on which server it really lives."""

    name: str
    tables: tuple[Table, ...]
    migrations: Path
    """The folder with its `NNNN_name.sql` files."""
    security: SecurityLevel = SecurityLevel.NORMAL
    hot: bool = True
    """Whether workers listen for hints there; a cold database is swept from time to time."""
    extensions: tuple[str, ...] = ()
    """Extensions its migrations rely on, for example `pg_trgm`; checked when attached."""
    api: ApiExposure = field(default_factory=ApiExposure)
    """What of it Supabase's clients reach."""

    @property
    def variable(self) -> str:
        """What environment variables call it."""
        return self.name.upper() if self.api.variable is None else self.api.variable

    def table(self, name: str) -> Table | None:
        """The table called `name`, or None."""
        return next((table for table in self.tables if table.name == name), None)
