"""Tenants' databases as projects of Supabase organizations: the platform's, and those of owners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.drivers.supabase import SupabaseDriver
from bulkhead.engine.drivers.supabase_api import ManagementApi, verify_account
from bulkhead.engine.drivers.supabase_project import (
    CA_FILE,
    READY,
    Account,
    ProjectFailed,
    SupabaseAccess,
)
from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.fleet.model import OWN, ConnectionConfig, ServerKind, TenantId
from bulkhead.engine.fleet.registry import ServerEntry

if TYPE_CHECKING:
    from bulkhead.engine.drivers.protocol import Driver
    from bulkhead.engine.drivers.secret import Secret
    from bulkhead.engine.fleet.databases import Manage

__all__ = [
    "ManagementApi",
    "SupabaseAccess",
    "account_config",
    "ca_of",
    "manage_supabase",
    "own_labels",
    "own_server",
    "own_server_name",
    "verify_up",
]

HOSTS: Final = (".supabase.co", ".pooler.supabase.com")
USER: Final = "management-api"
CONNECTIONS_MAX: Final = 15
"""To each project, of the sixty that the smallest of them takes."""


def manage_supabase(access: SupabaseAccess) -> Manage:
    """Drivers of organizations are reached as `access` says; for `Databases.manage`.

    What it returns raises ConfigurationInvalid for an account without organization or region.
    """

    def manage(config: ConnectionConfig, secret: Secret) -> Driver:
        if config.organization is None or config.region is None:
            raise ConfigurationInvalid(reason="a Supabase account has an organization and a region")
        account = Account(config.password, config.organization, config.region)
        return SupabaseDriver(access, account, secret)

    return manage


def account_config(
    access: SupabaseAccess, token: SecretText, organization: str, region: str
) -> ConnectionConfig:
    """An account as it is sealed; raises Invalid for what cannot be an organization or a region."""
    verify_account(organization, region)
    parts = urlsplit(access.api_url)
    return ConnectionConfig(
        kind=ServerKind.SUPABASE,
        host=parts.hostname or "",
        port=parts.port or (443 if parts.scheme == "https" else 80),
        database=organization,
        username=USER,
        password=token,
        organization=organization,
        region=region,
    )


def own_server(tenant: TenantId, config: ConnectionConfig, sealed_endpoint: bytes) -> ServerEntry:
    """An account of a tenant's owner, as a server on which nobody else is placed."""
    return ServerEntry(
        own_server_name(tenant, config),
        ServerKind.SUPABASE,
        f"organization {config.organization} of its owner",
        capacity=1,
        connections_max=CONNECTIONS_MAX,
        labels=own_labels(config),
        sealed_endpoint=sealed_endpoint,
        reserved_for=tenant,
    )


def own_server_name(tenant: TenantId, config: ConnectionConfig) -> str:
    """What the registry calls an account of a tenant's owner."""
    return f"{OWN}{tenant}-{config.organization}"


def own_labels(config: ConnectionConfig) -> dict[str, str]:
    """By which a request asks for an account of its owner."""
    return {"organization": config.organization or "", "region": config.region or ""}


async def verify_up(api: ManagementApi, ref: str) -> None:
    """Pass for a project that is up; raises ProjectFailed, ProjectUnknown."""
    project = await api.get_project(ref)
    if project.status != READY:
        raise ProjectFailed(project=ref, status=project.status)


def ca_of(host: str) -> str | None:
    """The certificates that sign those of Supabase's hosts; None for other hosts."""
    return CA_FILE.read_text(encoding="utf-8") if host.endswith(HOSTS) else None
