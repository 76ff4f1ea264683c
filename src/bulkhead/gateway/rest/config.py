"""How the REST API of one database behaves; the names are those of PostgREST's settings."""

from dataclasses import dataclass, field
from enum import StrEnum


class TxEnd(StrEnum):
    """`db-tx-end`: how transactions end, and whether `Prefer: tx=` may choose."""

    COMMIT = "commit"
    COMMIT_ALLOW_OVERRIDE = "commit-allow-override"
    ROLLBACK = "rollback"
    ROLLBACK_ALLOW_OVERRIDE = "rollback-allow-override"


class OpenApiMode(StrEnum):
    """`openapi-mode`: whose rights decide what the description at `/` lists."""

    FOLLOW_PRIVILEGES = "follow-privileges"
    IGNORE_PRIVILEGES = "ignore-privileges"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class RestConfig:
    """The settings of one REST API."""

    schemas: tuple[str, ...] = ("public",)
    """`db-schemas`: exposed, the first one by default."""
    extra_search_path: tuple[str, ...] = ("public", "extensions")
    anon_role: str | None = "anon"
    max_rows: int | None = 1000
    pre_request: str | None = None
    """`db-pre-request`: a function called in every transaction, qualified."""
    root_spec: str | None = None
    """`db-root-spec`: a function that answers `/` in place of the description."""
    aggregates_enabled: bool = True
    plan_enabled: bool = False
    tx_end: TxEnd = TxEnd.COMMIT
    app_settings: tuple[tuple[str, str], ...] = ()
    """`app.settings.*`, visible to SQL."""
    hoisted_settings: tuple[str, ...] = (
        "statement_timeout",
        "plan_filter.statement_cost_limit",
        "default_transaction_isolation",
    )
    """`db-hoisted-tx-settings`: settings of functions that hold for the whole transaction."""
    openapi_mode: OpenApiMode = OpenApiMode.FOLLOW_PRIVILEGES
    openapi_server_proxy_uri: str | None = None
    openapi_security_active: bool = False
    server_timing: bool = False
    safe_update: bool = False
    """Whether UPDATE and DELETE of a whole table are refused (SQLSTATE 21000)."""
    statement_timeout_s: dict[str, float] = field(default_factory=dict)
    """By role; 0 is none."""
    filters_max: int = 100
    """Conditions in one request."""
    depth_max: int = 10
    """Levels of embeddings, and of nested `and`/`or` groups 50."""
