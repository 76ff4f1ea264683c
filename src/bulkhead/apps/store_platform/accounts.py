"""Accounts that owners of stores have with Supabase: tried, and used to make or find a project.

A token that makes a project is kept, sealed, for as long as the store has it: to delete the project
with the store. One that only finds a project is used once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bulkhead.apps.store_platform.fleet import ProjectPasswordNeeded
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.model import ConnectionConfig, SecretText, ServerKind, TenantId
from bulkhead.engine.fleet.registry import list_servers
from bulkhead.engine.fleet.supabase import (
    ManagementApi,
    SupabaseAccess,
    account_config,
    own_labels,
    own_server,
    own_server_name,
    verify_up,
)

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.fleet import DatabaseBody
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.fleet.registry import ServerEntry
    from bulkhead.engine.fleet.seals import Seals
    from bulkhead.engine.provisioning.job import ProvisioningJob

REGION: Final = "eu-central-1"
"""Where projects are made that nobody names a region for."""


class AccountNeeded(Invalid):
    """This platform has no organization of its own in which it makes Supabase projects."""

    code = "supabase_account_needed"
    hint = (
        "Send an accessToken to have one made in your account, or the projectUrl of one you have."
    )


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """An account in which the project of one store is made."""

    config: ConnectionConfig

    @property
    def labels(self) -> dict[str, str]:
        """By which the store asks for it."""
        return own_labels(self.config)

    @property
    def shown(self) -> dict[str, Any]:
        """What of it may be shown to its owner."""
        return {"organizationSlug": self.config.organization, "region": self.config.region}

    async def entry(self, tenant: TenantId, seals: Seals) -> ServerEntry:
        """The account as a server that takes nobody but `tenant`."""
        sealed = await seals.seal_endpoint(own_server_name(tenant, self.config), self.config)
        return own_server(tenant, self.config, sealed)


async def open_account(access: SupabaseAccess, body: DatabaseBody) -> OwnAccount:
    """The account that is meant, once Supabase has said that its token leads there.

    Raises Invalid when it leads to several organizations and none is named; TokenRefused,
    OrganizationUnknown, and what else `ManagementApi` raises.
    """
    token = _token(body)
    api = access.api_for_people(token)
    slug = body.organization_slug
    if slug is None:
        slug = await _only_organization(api)
    config = account_config(access, token, slug, body.region or REGION)
    await api.verify_organization(slug)
    return OwnAccount(config)


async def verify_organization(tx: Transaction, job: ProvisioningJob) -> None:
    """Raise AccountNeeded when the platform has no organization in which `job` finds a place."""
    servers = await list_servers(tx) if job.server is None else ()
    if job.server is None and not any(
        server.kind is ServerKind.SUPABASE
        and server.reserved_for is None
        and server.draining_at is None
        for server in servers
    ):
        raise AccountNeeded


async def find_project(access: SupabaseAccess, body: DatabaseBody) -> ConnectionConfig:
    """The connection to a project that its owner has, with what the token finds of it.

    Raises ProjectUnknown, ProjectFailed for one that is not up, ProjectPasswordNeeded.
    """
    api = access.api_for_people(_token(body))
    ref = body.project_ref
    await verify_up(api, ref)
    if body.password is None:
        raise ProjectPasswordNeeded(project=ref)
    config = body.to_config(ServerKind.SUPABASE)
    if config.service_role_key is None:
        config = replace(config, service_role_key=(await api.list_keys(ref)).get("service_role"))
    if config.pooled and body.host is None:
        pooler = await api.get_pooler(ref)
        config = replace(
            config,
            host=pooler.host,
            port=pooler.port,
            username=pooler.user,
            database=pooler.database,
        )
    return config


async def _only_organization(api: ManagementApi) -> str:
    known = await api.list_organizations()
    if len(known) != 1:
        told = ", ".join(known[:10]) or "none"
        raise Invalid(reason=f"name one as organizationSlug: the token leads to {told}")
    return known[0]


def _token(body: DatabaseBody) -> SecretText:
    assert body.access_token is not None, "asked for with a token only"
    return SecretText(body.access_token.get_secret_value())
