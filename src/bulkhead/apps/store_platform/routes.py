"""Requests about the databases of stores: made, followed, tested, and deleted with the store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from bulkhead.apps.store_platform.accounts import (
    OwnAccount,
    find_project,
    open_account,
    verify_organization,
)
from bulkhead.apps.store_platform.answers import (
    Progress,
    ProvisioningRoute,
    Refusal,
    Started,
    Tried,
    started,
    status_of,
)
from bulkhead.apps.store_platform.fleet import FLEET, DatabaseBody, Kind, Platform, shown_of
from bulkhead.apps.store_platform.master.integrations.service import note_database
from bulkhead.apps.store_platform.master.stores.model import Closing, Store, StoreHasDatabase
from bulkhead.apps.store_platform.master.stores.service import (
    begin_deletion,
    begin_provisioning,
    delete_store,
    get_store,
    take_back_deletion,
    verify_deleted,
)
from bulkhead.capabilities.identity import Limit
from bulkhead.capabilities.identity.limits.service import take
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.drivers.errors import ServerUnreachable
from bulkhead.engine.egress.guard import HostUnreachable
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.guarded import verify_allowed
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind, TenantId
from bulkhead.engine.fleet.notices import ServerUntold
from bulkhead.engine.fleet.registry import TenantUnknown, add_server, drain_reserved
from bulkhead.engine.fleet.tenant_database import TenantDatabase
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import (
    JobId,
    ProvisioningJob,
    ProvisioningRequest,
)
from bulkhead.http.answers import answer, render_json

TEST_TIMEOUT_S = 8.0
SILENCE_S = 5.0
"""Whoever cannot be reached is reported after so long, for whatever reason, so that nobody sees
which ports of a host are closed and which are behind a firewall."""
SLACK_S = 0.5
"""Who is reported so shortly before has said nothing either."""
PROVISION = Limit("provision", 60, 600.0)
REACH_OUT = Limit("provision_connect", 30, 600.0)
"""For each user: to hosts that they name, so many connections are tried or begun."""
STREAM = "text/event-stream"
GONE = frozenset({"none", "failed", "deleted"})
"""States of a store's database in which there is none."""
CLOSED = {"description": "It had no database, and is gone"}
_TABLES = sa.table("tables", sa.column("table_schema"), schema="information_schema")
_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog", "mysql", "performance_schema", "sys")

SignedIn = Callable[..., Awaitable[Claims]]


class ProvisionBody(BaseModel):
    """Which store shall have its database where."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, use_attribute_docstrings=True)
    store_id: UUID = Field(alias="storeId")
    database_type: Kind = Field(default="postgresql", alias="databaseType")
    config: DatabaseBody = DatabaseBody()
    labels: Annotated[
        dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=255)]],
        Field(max_length=20),
    ] = {}
    """What the server must be labelled with where one is made, such as a region."""


class TestBody(BaseModel):
    """A connection that is tried and not kept."""

    __test__ = False
    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    database_type: Kind = Field(default="postgresql", alias="databaseType")
    config: DatabaseBody


@dataclass(frozen=True, slots=True)
class Provisioner:
    """Starts and shows jobs for whom they are."""

    platform: Platform

    async def start(self, claims: Claims, body: ProvisionBody) -> ProvisioningJob:
        """Begin to give a store its database; the job there is, when it was asked for before.

        The store says so at once, in the transaction that writes the job. Raises NotFound,
        Invalid, HostRefused, PortRefused, TlsImpossible, ProvisioningUnderway, TenantProvisioned,
        and for an account with Supabase what `open_account` and `find_project` raise.
        """
        platform = self.platform
        async with platform.master.transaction(claims, read_only=True) as db:
            store = await get_store(db, body.store_id)
        kind, tenant = ServerKind(body.database_type), TenantId(body.store_id)
        config = await self.config_of(kind, body.config)
        account = await self.account_of(body)
        own = None if account is None else await account.entry(tenant, platform.databases.seals)
        request = ProvisioningRequest(
            *(tenant, FLEET, store["slug"], kind, config),
            labels=body.labels if account is None else account.labels,
        )
        await platform.prepare()
        async with platform.master.transaction(SERVICE) as tx:
            if own is not None:
                await add_server(tx, own)
            if kind is ServerKind.SUPABASE:
                await drain_reserved(tx, tenant, but=None if own is None else own.name)
            job = await platform.provisioning.start(request, tx)
            if kind is ServerKind.SUPABASE and own is None and config is None:
                await verify_organization(tx, job)
            if not job.has_ended:
                await begin_provisioning(
                    tx,
                    body.store_id,
                    kind.value,
                    None if config is None else config.host,
                    None if config is None else config.database,
                    actor=claims.subject,
                )
                shown = {} if account is None else account.shown
                shown = shown if config is None else shown_of(config)
                await note_database(tx, body.store_id, kind.value, shown)
        platform.provisioning.ring()
        return job

    async def config_of(self, kind: ServerKind, body: DatabaseBody) -> ConnectionConfig | None:
        """The connection to a database that its owner has; None to have one made.

        Raises Invalid, HostRefused, PortRefused, TlsImpossible, and what `find_project` raises.
        """
        if body.access_token is not None and kind is not ServerKind.SUPABASE:
            raise Invalid(reason="accessToken is for databases of type supabase-database")
        if body.is_empty:
            return None
        if body.access_token is not None:
            config = await find_project(self.platform.supabase, body)
        else:
            config = body.to_config(kind)
        await verify_allowed(self.platform.egress, config)
        return config

    async def account_of(self, body: ProvisionBody) -> OwnAccount | None:
        """The account in which the database is to be made, where it is the owner's own."""
        if not body.config.is_empty or body.config.access_token is None:
            return None
        if body.labels:
            raise Invalid(reason="labels are for the platform's own servers; send region")
        return await open_account(self.platform.supabase, body.config)

    async def try_out(self, claims: Claims, body: TestBody) -> dict[str, Any]:
        """Try a connection, or an access token, without keeping anything of it."""
        kind = ServerKind(body.database_type)
        if body.config.access_token is None:
            body.config.to_config(kind)  # What cannot be meant is no attempt.
        await self.count(REACH_OUT, claims)
        return await self.probe(kind, body.config)

    async def probe(self, kind: ServerKind, body: DatabaseBody) -> dict[str, Any]:
        """What is there at a connection, or where an access token leads."""
        config = await self.config_of(kind, body)
        if config is not None:
            return await self.test(config)
        account = await open_account(self.platform.supabase, body)
        return {"success": True, "message": "The access token works", **account.shown}

    async def get(self, claims: Claims, job: JobId) -> ProvisioningJob:
        """A job of a store that is one's own; raises JobUnknown, NotFound."""
        found = await self.platform.provisioning.get(job)
        async with self.platform.master.transaction(claims, read_only=True) as db:
            await get_store(db, found.tenant)
        return found

    async def follow(self, job: JobId) -> AsyncIterator[str]:
        """The job as server-sent events, until it has ended."""
        async for found in self.platform.provisioning.watch(job):
            name = "end" if found.has_ended else "progress"
            yield f"id: {found.revision}\nevent: {name}\ndata: {render_json(status_of(found))}\n\n"

    async def test(self, config: ConnectionConfig) -> dict[str, Any]:
        """Connect to a database, and say what is there; raises what keeps it from being reached."""
        await verify_allowed(self.platform.egress, config)
        started_s = monotonic_s()
        connection = await connect(self.platform.databases.reach(config), config)
        try:
            db = TenantConnection(connection, TenantId(new_id()), timeout_s=TEST_TIMEOUT_S)
            version = await db.fetch_value(sa.select(sa.func.version().label("version")))
            tables = await db.fetch_value(
                sa.select(sa.func.count().label("tables"))
                .select_from(_TABLES)
                .where(_TABLES.c.table_schema.not_in(_SYSTEM_SCHEMAS))
            )
        finally:
            connection.terminate()
        return {
            "success": True,
            "message": "The connection works",
            "serverVersion": str(version)[:100],
            "tables": int(tables),
            "responseTimeMs": round((monotonic_s() - started_s) * 1000),
        }

    async def count(self, limit: Limit, claims: Claims) -> None:
        """Count towards a limit of the user's, whatever comes of it; raises RateLimited."""
        async with self.platform.master.transaction(SERVICE) as tx:
            await take(tx, limit, str(claims.subject))


async def connect(place: TenantDatabase, config: ConnectionConfig) -> Any:  # noqa: ANN401
    """Open a connection; raises HostUnreachable, always after the same time, where nobody speaks.

    No port is knocked at first: MySQL shuts out whoever hangs up too often.
    """
    began_s = monotonic_s()
    try:
        return await place.connect(timeout_s=SILENCE_S)
    except (HostUnreachable, ServerUnreachable) as error:
        left_s = began_s + SILENCE_S - monotonic_s()
        if isinstance(error, ServerUnreachable) and left_s > SLACK_S:
            raise  # Somebody answers, and is no such server.
    await asyncio.sleep(left_s)
    raise HostUnreachable(host=config.host, port=config.port, reason="nobody answers")


def routes(platform: Platform, signed_in: SignedIn) -> APIRouter:
    """Provision databases, follow and cancel it, and test connections."""
    refused = {"model": Refusal, "description": "Why it cannot be done"}
    refusals: dict[int | str, dict[str, Any]] = {"4XX": refused, "5XX": refused}
    router = APIRouter(tags=["provisioning"], route_class=ProvisioningRoute, responses=refusals)
    user = Annotated[Claims, Depends(signed_in)]
    jobs = Provisioner(platform)

    @router.post("/provision", responses={200: {"model": Started}})
    async def provision(body: ProvisionBody, claims: user) -> Response:
        """Give a store its database: a new one, or the one that its owner has."""
        await jobs.count(REACH_OUT if body.config.reaches_out else PROVISION, claims)
        job = await jobs.start(claims, body)
        return answer(
            started(job),
            headers={"Location": f"/store_platform/provision/{job.id}/status"},
        )

    @router.get("/provision/{job_id}/status", responses={200: {"model": Progress}})
    async def show_status(
        job_id: UUID, claims: user, accept: Annotated[str, Header()] = ""
    ) -> Response:
        """How far a job has come; with `Accept: text/event-stream` until it has ended."""
        job = await jobs.get(claims, JobId(job_id))
        if STREAM in accept:
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(jobs.follow(job.id), media_type=STREAM, headers=headers)
        return answer(status_of(job))

    @router.post("/provision/{job_id}/cancel", responses={200: {"model": Progress}})
    async def cancel(job_id: UUID, claims: user) -> Response:
        """Have everything taken back that a job has made so far."""
        await jobs.get(claims, JobId(job_id))
        return answer(status_of(await platform.provisioning.cancel(JobId(job_id))))

    @router.post("/provision/test", responses={200: {"model": Tried}})
    async def test(body: TestBody, claims: user) -> Response:
        """Try a connection without keeping anything of it."""
        return answer(await jobs.try_out(claims, body))

    return router


def closing_routes(platform: Platform, signed_in: SignedIn) -> APIRouter:
    """Delete stores with their databases, and take that back while there is time."""
    router = APIRouter(prefix="/stores", tags=["stores"])
    user = Annotated[Claims, Depends(signed_in)]

    @router.delete("/{store_id}", status_code=202, responses={202: {"model": Closing}, 204: CLOSED})
    async def delete(store_id: UUID, claims: user) -> Response:
        """Close a store at once; its database is archived and dropped after a time of grace."""
        async with platform.master.transaction(claims, read_only=True) as db:
            store = await get_store(db, store_id)
        if store["database_status"] in GONE:
            async with platform.master.transaction(SERVICE) as tx:
                await delete_store(tx, store_id, actor=claims.subject)
            return Response(status_code=204)
        tenant = TenantId(store_id)
        try:
            with suppress(ServerUntold):  # It is closed; a job tells its server.
                await platform.lifecycle.delete(tenant, reason="by its owner")
        except TenantUnknown:
            raise StoreHasDatabase(status=store["database_status"]) from None
        deletion = await platform.lifecycle.get_deletion(tenant)
        async with platform.master.transaction(SERVICE) as tx:
            await begin_deletion(tx, store_id, actor=claims.subject)
        return answer({"database_status": "deleting", "purge_at": deletion.purge_at}, 202)

    @router.post("/{store_id}/restore", responses={200: {"model": Store}})
    async def restore(store_id: UUID, claims: user) -> Response:
        """Take a deletion back whose time of grace is not over."""
        async with platform.master.transaction(claims, read_only=True) as db:
            await get_store(db, store_id)
        async with platform.master.transaction(SERVICE, read_only=True) as db:
            await verify_deleted(db, store_id)
        with suppress(ServerUntold):
            await platform.lifecycle.restore(TenantId(store_id))
        async with platform.master.transaction(SERVICE) as tx:
            await take_back_deletion(tx, store_id, actor=claims.subject)
        async with platform.master.transaction(claims, read_only=True) as db:
            return answer(await get_store(db, store_id))

    return router
