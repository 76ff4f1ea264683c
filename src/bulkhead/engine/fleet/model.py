"""What a fleet consists of: tenants, the servers they live on, and how an outside one is reached.

A tenant is one database of a fleet; for a platform of shops, one shop. Values only; the registry
keeps them, and everything else in this folder works with them.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType, Self
from uuid import UUID

from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.errors import Invalid

__all__ = [
    "ConnectionConfig",
    "SecretText",
    "ServerKind",
    "ServerRow",
    "TenantId",
    "TenantPlace",
    "TenantRow",
    "TenantState",
]

TenantId = NewType("TenantId", UUID)

OWN = "own-"
"""What the names of servers begin with that are accounts of owners."""
PORT_MAX = 65535
TEXT_CHARACTERS_MAX = 255
SECRET_CHARACTERS_MAX = 4096
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?|[0-9A-Fa-f:.]+")


class ServerKind(StrEnum):
    """What kind of server holds a tenant's database."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    """MySQL or MariaDB."""
    SUPABASE = "supabase-database"
    """A Supabase project, whose database is reached as PostgreSQL."""

    @property
    def port(self) -> int:
        """The port where such a server usually listens."""
        return 3306 if self is ServerKind.MYSQL else 5432


class TenantState(StrEnum):
    """What may be done with a tenant's database; the words of the registry's CHECK."""

    PROVISIONING = "provisioning"
    """It is being made; only provisioning works on it."""
    ACTIVE = "active"
    """Requests are served."""
    SUSPENDED = "suspended"
    """Somebody closed it for a while; nothing is lost."""
    MOVING = "moving"
    """Fenced while it changes its place; requests may be repeated in a moment."""
    DELETING = "deleting"
    """Closed, and dropped once its time of grace is over."""


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """How a database that somebody else runs is reached; raises Invalid for unusable fields.

    Fields, never a URL: whatever a URL may say besides cannot be said here. Whether the host may be
    connected to at all is for the egress guard to decide.
    """

    kind: ServerKind
    host: str
    port: int
    database: str
    username: str
    password: SecretText
    tls: Tls = Tls.VERIFY_FULL
    ca_pem: str | None = None
    """Certificates to trust instead of the system's."""
    pooled: bool = False
    """Whether a pooler stands in between that changes sessions from transaction to transaction."""
    project_url: str | None = None
    """Of a Supabase project, its address."""
    service_role_key: SecretText | None = None
    """Of a Supabase project, its key."""
    organization: str | None = None
    """Of an account with Supabase, where projects are made; `password` is its access token, and
    `host` that of the Management API."""
    region: str | None = None
    """Of such an account, where its projects are."""
    pooler: str | None = None
    """Of a server of the fleet, `host:port` of the pooler through which its tenants are reached."""

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host) or len(self.host) > TEXT_CHARACTERS_MAX:
            raise Invalid(reason="the host must be one host name or one address")
        if not 0 < self.port <= PORT_MAX:
            raise Invalid(reason=f"the port must be a number from 1 to {PORT_MAX}")
        if self.pooler is not None:
            _ = self.pooler_address
        for what, text in (("database", self.database), ("username", self.username)):
            if not text or len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
                raise Invalid(reason=f"the {what} must be a name of printable characters")
        if len(self.password.value) > SECRET_CHARACTERS_MAX or "\0" in self.password.value:
            raise Invalid(reason="the password is too long, or has a NUL character")

    @property
    def server(self) -> str:
        """Host and port: a name for budgets, logs and messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def pooler_address(self) -> tuple[str, int] | None:
        """Host and port of the pooler; raises Invalid for an unusable one."""
        if self.pooler is None:
            return None
        name, _, port = self.pooler.rpartition(":")
        host = name[1:-1] if name[:1] == "[" and name[-1:] == "]" else name
        if not (_HOST.fullmatch(host) and port.isdecimal() and 0 < int(port) <= PORT_MAX):
            raise Invalid(reason="the pooler must be host:port")
        return host, int(port)

    @property
    def proves_server(self) -> bool:
        """Whether nobody but the server itself can be at the other end."""
        return self.tls is Tls.VERIFY_FULL or (
            self.tls is Tls.VERIFY_CA and self.ca_pem is not None
        )

    def to_bytes(self) -> bytes:
        """Render everything, the secrets too, to be sealed."""
        fields = {
            "kind": self.kind.value,
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "username": self.username,
            "password": self.password.value,
            "tls": self.tls.value,
            "ca_pem": self.ca_pem,
            "pooled": self.pooled,
            "project_url": self.project_url,
            "service_role_key": self.service_role_key and self.service_role_key.value,
            "organization": self.organization,
            "region": self.region,
            "pooler": self.pooler,
        }
        return json.dumps(
            {key: value for key, value in fields.items() if value is not None}
        ).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Read what `to_bytes` rendered."""
        fields: dict[str, Any] = json.loads(text)
        key = fields.pop("service_role_key", None)
        return cls(
            kind=ServerKind(fields.pop("kind")),
            password=SecretText(fields.pop("password")),
            tls=Tls(fields.pop("tls")),
            service_role_key=SecretText(key) if key is not None else None,
            **fields,
        )


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A server on which tenants can be placed."""

    name: str
    kind: ServerKind
    address: str
    """Shown to people; holds no secret."""
    capacity: int
    """How many tenants it takes at most."""
    connections_max: int
    """How many connections one process opens to it at most."""
    labels: Mapping[str, str]
    """What is asked for when a tenant is placed, such as region or tier."""
    tenants: int
    """How many it has; counted by the registry."""
    draining_at: dt.datetime | None
    """Since when it takes no new ones."""
    generation: int
    sealed_endpoint: bytes | None = field(repr=False)
    """The administrator's connection; None where the process knows the server by its settings."""
    reserved_for: TenantId | None = None
    """The only tenant that is placed on it, because it is an account of that tenant's owner."""


@dataclass(frozen=True, slots=True)
class TenantPlace:
    """Where a tenant's database is and as whom it is opened: pools live as long as it is equal."""

    kind: ServerKind
    server: str | None
    """A server of the registry; None for a database that its owner runs somewhere."""
    database: str
    """The physical name."""
    role_prefix: str | None
    login_prefix: str | None
    """What the names of roles and logins begin with, as in `DatabaseSpec`."""
    sealed_connection: bytes | None = field(repr=False)
    """A sealed `ConnectionConfig`; None where the logins of a managed server are used."""
    located: str | None = None
    """What the provider of the server calls the database, as in `DatabaseSpec`."""

    @property
    def is_own(self) -> bool:
        """Whether it is in an account of its owner, which is a server for this tenant alone."""
        return self.server is not None and self.server.startswith(OWN)


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant as the registry has it."""

    id: TenantId
    fleet: str
    place: TenantPlace
    state: TenantState
    reason: str | None
    """Why it is in this state, for its owner to read."""
    generation: int
    """Grows with every change; whoever knows a smaller one knows the past."""
    schema_version: int
    """The last migration of the fleet that it has had."""
    schema_fingerprint: str | None
    created_at: dt.datetime
    updated_at: dt.datetime
