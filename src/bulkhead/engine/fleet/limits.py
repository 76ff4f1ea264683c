"""What a fleet and each of its tenants may take of this process and of the servers."""

from dataclasses import dataclass, field

STATEMENT_TIMEOUT_S = 8.0
"""What sessions begin with on every server, so that it need not be told."""
PATIENCE_S = 0.005
"""How long to wait for a connection that is in use before another one is opened beside it."""
WAITING_MAX = 64
"""How many may wait for one tenant's connections; whoever comes then is refused at once."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What one tenant may have of a server."""

    size_max: int = 4
    acquire_timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    age_s_max: float = 3600.0
    """After that a connection is replaced."""
    identity_every_s: float = 1.0
    """A connection is checked to be the tenant's own when it is opened, and whenever it is handed
    out after the last check has become older than this; 0 checks each time."""


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """What a fleet may take of this process and of the servers."""

    tenants_max: int = 10_000
    """How many tenants are kept in mind."""
    statement_timeout_s: float = STATEMENT_TIMEOUT_S
    """After that the server stops a statement, wherever it is and whoever runs it."""
    answer_slack_s: float = 2.0
    """How much longer an answer may take: the server's own time-out acts first."""
    idle_s_max: float = 60.0
    row_ttl_s: float = 30.0
    login_patience_s: float = 3.0
    """For how long a refused login is tried again: its password may just be changing."""
    pool: PoolLimits = field(default_factory=PoolLimits)
