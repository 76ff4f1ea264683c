"""What of a database is reachable through the APIs that Supabase's clients speak."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiExposure:
    """The REST API of a database; who sees which rows stays the policies' business."""

    enabled: bool = True
    schemas: tuple[str, ...] = ("public",)
    """The schemas whose tables and functions are reachable, the default one first."""
    rows_max: int | None = 1000
    """Rows of one answer at most; None is no limit."""
    anon_timeout_s: float = 3.0
    authenticated_timeout_s: float = 8.0
    service_timeout_s: float = 60.0
    """How long a statement may take; 0 is no limit."""
    safe_update: bool = True
    """Whether an update or a deletion without any filter is refused, as Supabase does."""
    variable: str | None = None
    """What environment variables call the database: `USER` for `SUPABASE_USER_URL`, an empty
    string for `SUPABASE_URL`; None is its name in capitals."""

    @property
    def timeouts_s(self) -> Mapping[str, float]:
        """The time limits by role."""
        return {
            "anon": self.anon_timeout_s,
            "authenticated": self.authenticated_timeout_s,
            "service_role": self.service_timeout_s,
        }
