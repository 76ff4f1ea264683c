"""What the engine asks of a server, whatever its kind.

The contract suite in `tests/integration/engine/drivers` is the definition of this Protocol: a new
driver is finished when it passes there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from bulkhead.engine.drivers.pooler import Pooling
from bulkhead.engine.errors import Invalid

# PostgreSQL cuts names at 63 bytes; the longest suffix is `_service`.
_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,54}")
_RESERVED = frozenset({"postgres", "template0", "template1"})


class Dialect(StrEnum):
    """Which SQL a server speaks."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    """MariaDB too; where the two differ, capabilities decide."""


class Login(StrEnum):
    """Under which rights a connection is opened."""

    ADMIN = "admin"
    """May create databases and roles; used by provisioning and migrations only."""
    CLIENT = "client"
    """May become `anon` or `authenticated`, nothing else."""
    SERVICE = "service"
    """May become `service_role`, nothing else."""


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """What a physical database shall be called and have; raises Invalid for an unusable name."""

    name: str
    """The physical name on the server, for example `commerce_orders`; roles derive from it:
    `<name>_owner` (NOLOGIN), `<name>_client` and `<name>_service` (LOGIN, NOINHERIT)."""
    extensions: tuple[str, ...] = ()
    template: str | None = None
    """A database of the same server to clone instead of an empty one. The clone has exactly what
    the template has; its objects keep their owner, so it needs the template's `role_prefix`."""
    verified_tls: bool = False
    """Whether a connection without verified TLS must be refused (loopback and sockets apart)."""
    role_prefix: str | None = None
    """What the names of the roles begin with where it is not `name`: a clone shares its template's
    roles, so that cloning touches no role at all."""
    login_prefix: str | None = None
    """What the names of the two logins begin with where that is not the prefix of the owner: gives
    a clone logins of its own, which can connect to no sibling."""
    located: str | None = None
    """What a provider calls the database, where it is known: the reference of a project."""

    def __post_init__(self) -> None:
        for name in (self.name, self.template, self.role_prefix, self.login_prefix):
            if name is not None and (name in _RESERVED or not _NAME.fullmatch(name)):
                raise Invalid(
                    reason=f"'{name}' cannot name a database: use at most 55 lower-case letters, "
                    "digits and underscores, and no name that PostgreSQL keeps for itself"
                )

    @property
    def owner(self) -> str:
        """The role that owns the database and its objects; nobody logs in as it."""
        return f"{self.role_prefix or self.name}_owner"

    def login(self, login: Login) -> str:
        """The login role for `login`; ADMIN has none here, it is the server's administrator."""
        return f"{self.login_prefix or self.role_prefix or self.name}_{login.value}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server was seen to do when it was tried, not what its vendor promises."""

    server_version: str
    version_number: int
    transactional_ddl: bool
    row_level_security: bool
    policy_subquery: bool
    template_clone: bool
    listen_notify: bool
    advisory_locks: bool
    snapshot_export: bool
    skip_locked: bool
    set_role: bool
    pooling: Pooling
    """What stands between the client login and its sessions."""
    tls: bool
    """Whether everything between client and server is encrypted, on both sides of a pooler."""
    extensions: frozenset[str] = field(default_factory=frozenset)

    @property
    def behind_pooler(self) -> bool:
        """Whether a pooler stands in front, in whichever mode."""
        return self.pooling is not Pooling.NONE

    @property
    def keeps_sessions(self) -> bool:
        """Whether a session stays with its client from one transaction to the next."""
        return self.pooling is not Pooling.TRANSACTION


class Driver(Protocol):
    """One server. All methods are safe to repeat."""

    @property
    def server(self) -> str:
        """A stable name of the server for budgets, logs and messages; holds no secret."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""

    async def start(self) -> None:
        """Make the server reachable; raises ServerUnreachable with a hint when it cannot be."""

    async def stop(self) -> None:
        """Give up what `start` took; stops the server only when it is ours."""

    async def ensure_database(self, spec: DatabaseSpec) -> None:
        """Create what is missing of the database, its roles, grants, schemas and shims.

        Raises DatabaseForeign for a database of that name that Bulkhead did not make, RoleForeign
        for such a role, CapabilityMissing, TemplateUnusable or what `connect` raises.
        """

    async def drop_database(self, spec: DatabaseSpec) -> None:
        """Drop the database, and its roles unless another database needs them.

        Nothing happens when there are none. Raises DatabaseForeign.
        """

    async def seal_template(self, spec: DatabaseSpec, *, sealed: bool = True) -> None:
        """Let nobody connect, so that clones never have to wait; or let them connect again."""

    async def probe(self, spec: DatabaseSpec) -> Capabilities:
        """Try what the database can do."""

    async def connect(self, spec: DatabaseSpec, login: Login, *, timeout_s: float) -> Any:  # noqa: ANN401
        """Open a connection; raises ServerUnreachable, LoginRefused or DatabaseMissing."""

    def url(self, spec: DatabaseSpec, login: Login) -> str:
        """A connection URL for other programs; holds the password."""


@runtime_checkable
class Provider(Driver, Protocol):
    """A driver each of whose databases is a server of its own, which another system makes."""

    def server_of(self, spec: DatabaseSpec) -> str:
        """A stable name of the server that the database is; holds no secret."""

    async def begin_database(self, spec: DatabaseSpec) -> None:
        """Have the server made without waiting for it; raises DatabaseComing while it is not up."""

    async def locate(self, spec: DatabaseSpec) -> str:
        """What the provider calls the database, for `DatabaseSpec.located`.

        Raises DatabaseMissing.
        """

    async def address_of(self, spec: DatabaseSpec) -> str:
        """An address of the host in `url`, for programs that would look the name up by themselves.

        Raises DatabaseMissing, ServerUnreachable.
        """


class ServerConnection(Protocol):
    """One connection, in the words that the connections of all dialects share.

    SQL has the placeholders of its dialect: `$1` for PostgreSQL, `%s` for MySQL. `timeout_s` bounds
    the whole call. Every method raises the errors of `engine.drivers.errors`, translated from the
    client library's, which stands in `__cause__`; `is_connection_loss` tells from them whether the
    connection is still of use.
    """

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""

    async def fetch(
        self, sql: str, args: Sequence[object], *, timeout_s: float
    ) -> Sequence[Mapping[str, Any]]:
        """Run a statement and return its rows, each a mapping by column name."""

    async def execute(self, sql: str, args: Sequence[object], *, timeout_s: float) -> int:
        """Run a statement and return how many rows it changed or found; 0 for other statements."""

    async def execute_many(
        self, sql: str, rows: Sequence[Sequence[object]], *, timeout_s: float
    ) -> None:
        """Run a statement once for each row of parameters; outside of a transaction in one."""

    async def begin(self, *, read_only: bool, timeout_s: float) -> None:
        """Begin a transaction."""

    async def commit(self, *, timeout_s: float) -> None:
        """Commit it; a connection that is lost meanwhile raises ConnectionLost."""

    async def rollback(self, *, timeout_s: float) -> None:
        """Undo it."""

    async def limit_statements(self, limit_s: float, *, timeout_s: float) -> None:
        """Have the server stop each statement after `limit_s`, from now on for good."""

    async def verify_identity(self, tenant: UUID, *, timeout_s: float) -> None:
        """Check that the database's table `_identity` names `tenant`; raises IdentityMismatch."""

    def is_closed(self) -> bool:
        """Whether it is known to be of no use any more."""

    def terminate(self) -> None:
        """Close it at once, without a word to the server."""
