"""The store platform: what it declares, and how it is mounted."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.apps.store_platform.data_routes import DataApi
from bulkhead.apps.store_platform.data_routes import routes as data_routes
from bulkhead.apps.store_platform.fleet import Platform
from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.jobs import JOBS
from bulkhead.apps.store_platform.master.billing.routes import routes as billing_routes
from bulkhead.apps.store_platform.master.intelligence.routes import routes as figure_routes
from bulkhead.apps.store_platform.master.stores.routes import routes as store_routes
from bulkhead.apps.store_platform.media_routes import STREAMED, media_routes, storage_routes
from bulkhead.apps.store_platform.routes import closing_routes
from bulkhead.apps.store_platform.routes import routes as provisioning_routes
from bulkhead.apps.store_platform.sample import load_sample
from bulkhead.apps.store_platform.topology import TOPOLOGY
from bulkhead.apps.store_platform.views import Stores
from bulkhead.capabilities.identity import (
    Identity,
    current_user,
    deliver_mail,
    identity_migrations,
    inbox_routes,
    open_identity,
)
from bulkhead.capabilities.payments.local import LocalProvider
from bulkhead.capabilities.vault import Vault, open_vault, vault_migrations
from bulkhead.engine.application import Application, Mounted
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.fleet.seals import SEALED_COLUMNS
from bulkhead.engine.provisioning.figures import FleetSampler
from bulkhead.engine.sealing import SealedColumn

if TYPE_CHECKING:
    from bulkhead.capabilities.payments.provider import PaymentProvider
    from bulkhead.engine.settings import Settings
    from bulkhead.engine.system import System

NAME = "store_platform"
COLUMNS = (
    *SEALED_COLUMNS,
    SealedColumn(
        "public.integration_secrets",
        "sealed_config",
        key="integration_id",
        tenant="store_id",
    ),
)


@dataclass(slots=True)
class Outside:
    """The world outside of the master: who charges cards, and the databases of the stores."""

    payments: PaymentProvider
    _platform: Platform | None = None

    def platform(self, system: System) -> Platform:
        """The open platform of `system`, put together once."""
        if self._platform is None:
            self._platform = Platform.build(system)
        return self._platform


def connect_outside(settings: Settings) -> Outside:
    """The local payment company; its books lie beside the databases, not in them."""
    path = settings.home / "secret.key"
    settings.home.mkdir(parents=True, exist_ok=True)
    secret = Secret.load(path) or Secret.create(path)
    key = hmac.new(secret.value, b"store_platform payments", "sha256").hexdigest()
    return Outside(LocalProvider(settings.home / "store-platform-payments.sqlite", key))


def mount(system: System) -> Mounted:
    """Build the routes and workers over the open master."""
    outside: Outside = system.outside
    assert system.application.people is not None, "the platform has users"
    people: Identity = system.application.people(system)
    signed_in = current_user(people)
    platform = outside.platform(system)
    master = platform.master
    api = DataApi(Stores(master, platform.fleet), platform.gate)

    sampler = FleetSampler(platform.fleet, platform.migrator)

    async def deliver() -> None:
        await deliver_mail(people)

    return Mounted(
        routers=(
            inbox_routes(people),
            store_routes(master, signed_in),
            provisioning_routes(platform, signed_in),
            closing_routes(platform, signed_in),
            billing_routes(master, signed_in),
            figure_routes(master, signed_in),
            storage_routes(platform.media.storages, signed_in),
            media_routes(api, platform.media, signed_in),
            data_routes(api, signed_in),
        ),
        streamed=(STREAMED,),
        workers=(
            deliver,
            platform.run_fleet,
            platform.run_provisioning,
            platform.gate.run,
            sampler.run,
        ),
        figures=(sampler.figures,),
        notes=_notes(system, people),
        people=people,
    )


def people_of(system: System) -> Identity:
    """Who runs stores, and the staff of the platform."""
    return open_identity(NAME, system.database("master"), system.settings, title="Store platform")


def vault_of(system: System) -> Vault:
    """The vault with the connections of stores."""
    return open_vault(system.database("master"), system.settings, columns=COLUMNS)


def _notes(system: System, people: Identity) -> tuple[str, ...]:
    origin = system.settings.origin
    return (
        f"Plans           {origin}/{NAME}/plans",
        f"Stores          {origin}/{NAME}/stores",
        f"Mail inbox      {origin}/{NAME}/inbox",
        f"Token issuer    {people.issuer}",
    )


APPLICATION = Application(
    NAME,
    "Store platform",
    TOPOLOGY,
    outside=connect_outside,
    jobs=JOBS,
    invariants=platform_invariants(),
    migrations=(identity_migrations("master"), vault_migrations("master")),
    people=people_of,
    vault=vault_of,
    fleets=lambda system: (system.outside.platform(system).migrator,),
    mount=mount,
    load_sample=load_sample,
)
