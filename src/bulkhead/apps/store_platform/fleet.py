"""The fleet of stores: how the platform reaches, makes and describes their databases."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from bulkhead.apps.store_platform.master.integrations.service import find_secret
from bulkhead.apps.store_platform.master.metering.service import Gate
from bulkhead.apps.store_platform.master.stores.service import (
    find_slugs,
    find_store_by_slug,
    get_store,
)
from bulkhead.apps.store_platform.media import Media
from bulkhead.apps.store_platform.storage import PURPOSE, Storages
from bulkhead.apps.store_platform.store.catalogue_tables import CATEGORIES
from bulkhead.apps.store_platform.store.content_tables import SETTINGS
from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.capabilities.storage import Buckets
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.egress import open_egress
from bulkhead.engine.errors import Invalid, NotFound
from bulkhead.engine.fleet.databases import Databases, manage_postgres
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.gate import SchemaGate
from bulkhead.engine.fleet.guarded import guarded_by
from bulkhead.engine.fleet.lifecycle import Lifecycle
from bulkhead.engine.fleet.limits import FleetLimits
from bulkhead.engine.fleet.migrate import FleetMigrator
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind, TenantId
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.mysql import manage_mysql, outside_mysql
from bulkhead.engine.fleet.outside import OutsidePostgres
from bulkhead.engine.fleet.registry import ServerEntry, add_server
from bulkhead.engine.fleet.seals import Seals
from bulkhead.engine.fleet.supabase import SupabaseAccess, ca_of, manage_supabase
from bulkhead.engine.ids import derive_id
from bulkhead.engine.provisioning.migrating import declare_fleet
from bulkhead.engine.provisioning.schema import Newcomer
from bulkhead.engine.provisioning.service import (
    Provisioning,
    ProvisioningLimits,
    build_provisioning,
)

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.egress import Egress
    from bulkhead.engine.fleet.connection import TenantConnection
    from bulkhead.engine.system import System

FLEET: Final = "stores"
LOCAL: Final = "local"
LOCAL_CAPACITY: Final = 1000
LOCAL_CONNECTIONS: Final = 30
WARM: Final = 1
MIGRATION_FILES: Final = Path(__file__).parent / "store" / "migrations"
OLDEST_VERSION: Final = 2
"""Of a store's schema, for this code; what is older is migrated when it is asked for."""
FIRST_CATEGORY: Final = "general"
SUPABASE_SUFFIX: Final = ".supabase.co"

Kind = Literal["supabase-database", "postgresql", "mysql"]


class ProjectPasswordNeeded(Invalid):
    """The database password of Supabase project '{project}' is needed."""

    code = "supabase_password_needed"
    hint = (
        "Supabase tells it to nobody, not even to a token, and a serviceRoleKey makes no tables. "
        "Send it as 'password', or set another one: "
        "https://supabase.com/dashboard/project/{project}/database/settings."
    )


def _port(told: object) -> object:
    """A port as it is told: drivers of other languages take it as text, too, as forms have it."""
    if isinstance(told, str) and told.isascii() and told.isdigit():
        return int(told[:6])
    if type(told) is not int:
        msg = "must be a whole number"
        raise ValueError(msg)
    return told


class DatabaseBody(BaseModel):
    """How a database that its owner runs is reached; empty to have one made by the platform."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, use_attribute_docstrings=True)
    host: str | None = Field(default=None, max_length=255)
    """A public name or address; never a connection string."""
    port: Annotated[int, Field(ge=1, le=65535), BeforeValidator(_port)] | None = None
    """Else that of the type: 5432 or 3306."""
    database: str | None = Field(default=None, max_length=255)
    username: str | None = Field(default=None, max_length=255)
    """Who may do everything in that database, and in nothing else."""
    password: SecretStr | None = Field(default=None, max_length=4096)
    tls: Literal["disable", "require", "verify-ca", "verify-full"] | None = None
    """Else `verify-full`."""
    ssl: bool | None = None
    """The word of older clients for `tls`: true is `verify-full`."""
    ca_pem: str | None = Field(default=None, alias="caPem", max_length=65536)
    """The certificate of the authority to trust instead of the system's."""
    pooled: bool = False
    """Whether a pooler in transaction mode stands in front."""
    project_url: str | None = Field(default=None, alias="projectUrl", max_length=2000)
    """Of a Supabase project, in place of `host`: `https://<project>.supabase.co`."""
    service_role_key: SecretStr | None = Field(
        default=None, alias="serviceRoleKey", max_length=4096
    )
    """Of a Supabase project; the password of its database is needed too."""
    access_token: SecretStr | None = Field(default=None, alias="accessToken", max_length=4096)
    """Of an account with Supabase: the project is made, or found, there."""
    organization_slug: str | None = Field(default=None, alias="organizationSlug", max_length=100)
    """In which a Supabase project is made, where the token leads to several."""
    region: str | None = Field(default=None, max_length=40)
    """In which a Supabase project is made; else `eu-central-1`."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said of any database."""
        return self.host is None and self.project_url is None

    @property
    def reaches_out(self) -> bool:
        """Whether something is connected to that the owner names."""
        return not self.is_empty or self.access_token is not None

    @property
    def project_ref(self) -> str:
        """The reference of the Supabase project that is named; raises Invalid."""
        host = urlsplit(self.project_url or "").hostname or ""
        reference = host.removesuffix(SUPABASE_SUFFIX)
        if not host.endswith(SUPABASE_SUFFIX) or not reference.isalnum():
            raise Invalid(reason="projectUrl must be https://<project>.supabase.co, or send host")
        return reference

    def to_config(self, kind: ServerKind) -> ConnectionConfig:
        """The connection that is meant; raises Invalid, ProjectPasswordNeeded."""
        host, username, database = self.host, self.username, self.database
        if kind is ServerKind.SUPABASE:
            if self.host is None and self.password is None:
                raise ProjectPasswordNeeded(project=self.project_ref)
            host = host or f"db.{self.project_ref}{SUPABASE_SUFFIX}"
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
            "ca_pem": self.ca_pem or (ca_of(host) if kind is ServerKind.SUPABASE else None),
            "pooled": self.pooled,
            "project_url": self.project_url,
            "service_role_key": None if key is None else key.get_secret_value(),
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
    """What a store begins with: its settings, and a category, which its owner may rename."""
    settings = _first_settings(newcomer.label).items()
    await connection.execute_many(
        SETTINGS.insert(), [{"name": name, "value": value} for name, value in settings]
    )
    key = derive_id("store.category", newcomer.id, FIRST_CATEGORY)
    category = {"id": key, "slug": FIRST_CATEGORY, "name": FIRST_CATEGORY.capitalize()}
    await connection.execute(CATEGORIES.insert().values(**category))


SCHEMA, MIGRATIONS = declare_fleet(FLEET, METADATA, MIGRATION_FILES, seed_store)


@dataclass(frozen=True, slots=True)
class Slugs:
    """What people call the stores in `master`; implements `TenantNames`."""

    master: OpenDatabase

    async def get(self, text: str) -> TenantId:
        """The store with this id or slug; raises NotFound."""
        async with self.master.transaction(SERVICE, read_only=True) as db:
            with suppress(ValueError):
                return TenantId(UUID(str((await get_store(db, UUID(text)))["id"])))
            found = await find_store_by_slug(db, text)
        if found is None:
            raise NotFound(what=f"Store '{text}'")
        return TenantId(found)

    async def find(self, tenants: Sequence[TenantId]) -> Mapping[TenantId, str]:
        """The slugs of stores, of those that are being deleted, too."""
        async with self.master.transaction(SERVICE, read_only=True) as db:
            slugs = await find_slugs(db, list(tenants))
        return {TenantId(store): slug for store, slug in slugs.items()}


@dataclass(slots=True, eq=False)
class Platform:
    """The open platform: its master, its fleet, and what works on both."""

    master: OpenDatabase
    databases: Databases
    fleet: Fleet
    provisioning: Provisioning
    gate: Gate
    lifecycle: Lifecycle
    egress: Egress
    media: Media
    supabase: SupabaseAccess
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def build(cls, system: System, supabase: SupabaseAccess | None = None) -> Self:
        """Put the platform together over an open system; connects to nothing."""
        master = system.database("master")
        settings = system.settings
        supabase = supabase or SupabaseAccess(open_egress(settings), settings.supabase_api)
        egress = supabase.egress
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
                ServerKind.SUPABASE: manage_supabase(supabase),
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
            ProvisioningLimits(warm=WARM, lease_s=settings.lease_s),
            system.vault and _shredder(system.vault, unless_used_in=master),
        )
        gate = SchemaGate(databases, MIGRATIONS, OLDEST_VERSION)
        limits = FleetLimits(statement_timeout_s=settings.statement_timeout_s)
        fleet = Fleet(FLEET, databases, limits, gate)
        archives = settings.home / "archives"
        assert system.vault is not None, "the platform keeps secrets"
        lifecycle = Lifecycle(fleet, archives, forget=_shredder(system.vault))
        media = Media(master, fleet, Storages(master, system.vault, Buckets(egress)))
        return cls(
            *(master, databases, fleet, provisioning, Gate(master), lifecycle, egress, media),
            supabase,
        )

    @property
    def mover(self) -> Mover:
        """Moves stores between the platform's servers."""
        return Mover(self.fleet)

    @property
    def migrator(self) -> FleetMigrator:
        """Migrates the databases of all stores."""
        owner = f"{FLEET}:{os.getpid()}"
        return FleetMigrator(self.databases, MIGRATIONS, owner, Slugs(self.master))

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
            await self.close()

    async def run_provisioning(self) -> None:
        """Work on provisioning jobs until cancelled."""
        await self.prepare()
        await self.provisioning.run()

    async def close(self) -> None:
        """Close every connection to stores, and to their storages."""
        await self.media.storages.buckets.close()
        await self.fleet.close()


def _shredder(
    vault: Any,  # noqa: ANN401 - the system's own
    *,
    unless_used_in: OpenDatabase | None = None,
) -> Callable[[TenantId], Awaitable[None]]:
    """What destroys the keys of a store.

    One that could not be given a database may have files all the same: what opens its bucket, which
    stands in the master, is sealed with the same keys.
    """

    async def forget(tenant: TenantId) -> None:
        if unless_used_in is not None:
            async with unless_used_in.transaction(SERVICE, read_only=True) as db:
                if await find_secret(db, tenant, PURPOSE) is not None:
                    return
        await vault.shred(str(tenant))

    return forget


def _first_settings(label: str) -> Mapping[str, Any]:
    return {"store.name": {"text": label}, "checkout.guests": {"allowed": True}}
