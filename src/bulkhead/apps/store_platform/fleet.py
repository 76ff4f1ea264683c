"""The fleet of stores: how the platform reaches, makes and describes their databases."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from bulkhead.apps.store_platform.master.metering.service import Gate
from bulkhead.apps.store_platform.store.content_tables import SETTINGS
from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.egress import open_egress
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.databases import Databases, manage_postgres
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.gate import SchemaGate
from bulkhead.engine.fleet.guarded import guarded_by
from bulkhead.engine.fleet.lifecycle import Lifecycle
from bulkhead.engine.fleet.migrate import FleetMigrator
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.mysql import manage_mysql, outside_mysql
from bulkhead.engine.fleet.outside import OutsidePostgres
from bulkhead.engine.fleet.registry import ServerEntry, add_server
from bulkhead.engine.fleet.seals import Seals
from bulkhead.engine.provisioning.migrating import declare_fleet
from bulkhead.engine.provisioning.schema import Newcomer
from bulkhead.engine.provisioning.service import (
    Provisioning,
    ProvisioningLimits,
    build_provisioning,
)

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.fleet.connection import TenantConnection
    from bulkhead.engine.system import System

FLEET: Final = "stores"
LOCAL: Final = "local"
LOCAL_CAPACITY: Final = 1000
LOCAL_CONNECTIONS: Final = 30
WARM: Final = 1
MIGRATION_FILES: Final = Path(__file__).parent / "store" / "migrations"
OLDEST_VERSION: Final = 1
"""Of a store's schema, for this code; what is older is migrated when it is asked for."""
SUPABASE_SUFFIX: Final = ".supabase.co"

Kind = Literal["supabase-database", "postgresql", "mysql"]


class DatabaseBody(BaseModel):
    """How a database that its owner runs is reached; empty to have one made by the platform."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    host: str | None = Field(default=None, max_length=255)
    port: int | None = Field(default=None, ge=1, le=65535)
    database: str | None = Field(default=None, max_length=255)
    username: str | None = Field(default=None, max_length=255)
    password: SecretStr | None = Field(default=None, max_length=4096)
    tls: Literal["disable", "require", "verify-ca", "verify-full"] | None = None
    ssl: bool | None = None
    """The word of older clients for `tls`: true is `verify-full`."""
    ca_pem: str | None = Field(default=None, alias="caPem", max_length=65536)
    pooled: bool = False
    project_url: str | None = Field(default=None, alias="projectUrl", max_length=2000)
    service_role_key: SecretStr | None = Field(
        default=None, alias="serviceRoleKey", max_length=4096
    )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said of any database."""
        return self.host is None and self.project_url is None

    def to_config(self, kind: ServerKind) -> ConnectionConfig:
        """The connection that is meant; raises Invalid."""
        host, username, database = self.host, self.username, self.database
        if kind is ServerKind.SUPABASE:
            host = host or _supabase_host(self.project_url)
            username, database = username or "postgres", database or "postgres"
        if host is None or username is None or database is None or self.password is None:
            raise Invalid(reason="a connection needs host, database, username and password")
        key = self.service_role_key
        fields: dict[str, Any] = {
            "kind": kind.value,
            "host": host,
            "port": self.port or kind.port,
            "database": database,
            "username": username,
            "password": self.password.get_secret_value(),
            "tls": self.tls or ("disable" if self.ssl is False else "verify-full"),
            "ca_pem": self.ca_pem,
            "pooled": self.pooled,
            "project_url": self.project_url,
            "service_role_key": key and key.get_secret_value(),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return ConnectionConfig.from_bytes(json.dumps(given).encode())


def shown_of(config: ConnectionConfig) -> dict[str, Any]:
    """What of a connection may be shown to its owner."""
    return {
        "host": config.host,
        "port": config.port,
        "database": config.database,
        "username": config.username,
        "tls": config.tls.value,
        "pooled": config.pooled,
        "projectUrl": config.project_url,
    }


async def seed_store(connection: TenantConnection, newcomer: Newcomer) -> None:
    """What a store begins with: its settings; categories are its owner's business."""
    for name, value in _first_settings(newcomer.label).items():
        await connection.execute(SETTINGS.insert().values(name=name, value=value))


SCHEMA, MIGRATIONS = declare_fleet(FLEET, METADATA, MIGRATION_FILES, seed_store)


@dataclass(slots=True, eq=False)
class Platform:
    """The open platform: its master, its fleet, and what works on both."""

    master: OpenDatabase
    databases: Databases
    fleet: Fleet
    provisioning: Provisioning
    gate: Gate
    lifecycle: Lifecycle
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def build(cls, system: System) -> Self:
        """Put the platform together over an open system; connects to nothing."""
        master = system.database("master")
        settings = system.settings
        egress = open_egress(settings)
        dial = guarded_by(egress)
        of_postgres = lambda config: OutsidePostgres(config, dial)  # noqa: E731 - as a value below
        databases = Databases(
            master,
            Seals(f"{master.application}.{master.name}", system.vault),
            Secret.load(settings.home / "secret.key"),
            drivers={LOCAL: master.driver},
            manage={
                ServerKind.POSTGRESQL: manage_postgres,
                ServerKind.MYSQL: manage_mysql,
            },
            outside={
                ServerKind.POSTGRESQL: of_postgres,
                ServerKind.SUPABASE: of_postgres,
                ServerKind.MYSQL: outside_mysql(egress),
            },
        )
        provisioning = build_provisioning(
            databases,
            [SCHEMA],
            f"{FLEET}:{os.getpid()}",
            ProvisioningLimits(warm=WARM),
            system.vault and _shredder(system.vault),
        )
        gate = SchemaGate(databases, MIGRATIONS, OLDEST_VERSION)
        fleet = Fleet(FLEET, databases, gate=gate)
        archives = settings.home / "archives"
        lifecycle = Lifecycle(fleet, archives, forget=provisioning.shop.forget)
        return cls(master, databases, fleet, provisioning, Gate(master), lifecycle)

    @property
    def mover(self) -> Mover:
        """Moves stores between the platform's servers."""
        return Mover(self.fleet)

    @property
    def migrator(self) -> FleetMigrator:
        """Migrates the databases of all stores."""
        return FleetMigrator(self.databases, MIGRATIONS, f"{FLEET}:{os.getpid()}")

    async def prepare(self) -> None:
        """Let the registry know of the server that the platform itself is on."""
        if self._ready.is_set():
            return
        entry = ServerEntry(LOCAL, ServerKind.POSTGRESQL, LOCAL, LOCAL_CAPACITY, LOCAL_CONNECTIONS)
        async with self.master.transaction(SERVICE) as tx:
            await add_server(tx, entry)
        self._ready.set()

    async def run_fleet(self) -> None:
        """Hear of moved and changed stores and close what is idle, until cancelled."""
        self.fleet.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self.fleet.close()

    async def run_provisioning(self) -> None:
        """Work on provisioning jobs until cancelled."""
        await self.prepare()
        await self.provisioning.run()

    async def close(self) -> None:
        """Close every connection to stores."""
        await self.fleet.close()


def _shredder(vault: Any) -> Any:  # noqa: ANN401 - the system's own
    async def forget(tenant: object) -> None:
        await vault.shred(str(tenant))

    return forget


def _first_settings(label: str) -> Mapping[str, Any]:
    return {"store.name": {"text": label}, "checkout.guests": {"allowed": True}}


def _supabase_host(project_url: str | None) -> str:
    host = urlsplit(project_url or "").hostname or ""
    reference = host.removesuffix(SUPABASE_SUFFIX)
    if not host.endswith(SUPABASE_SUFFIX) or not reference.isalnum():
        raise Invalid(reason="projectUrl must be https://<project>.supabase.co, or send host")
    return f"db.{reference}{SUPABASE_SUFFIX}"
