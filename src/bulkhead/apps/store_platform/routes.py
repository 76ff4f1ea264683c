"""Requests about the databases of stores: made, followed, tested, and deleted with the store."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from bulkhead.apps.store_platform.fleet import FLEET, DatabaseBody, Kind, Platform, shown_of
from bulkhead.apps.store_platform.master.integrations.service import note_database
from bulkhead.apps.store_platform.master.stores.service import (
    begin_deletion,
    begin_provisioning,
    delete_store,
    get_store,
    take_back_deletion,
)
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind, TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import (
    JobId,
    JobState,
    ProvisioningJob,
    ProvisioningRequest,
)
from bulkhead.http.answers import answer, render_json

TEST_TIMEOUT_S = 8.0
STARTED = "Database provisioning started"
STREAM = "text/event-stream"
GONE = frozenset({"none", "failed", "deleted"})
"""States of a store's database in which there is none."""
WORDS = {
    JobState.QUEUED: "provisioning",
    JobState.RUNNING: "provisioning",
    JobState.UNDOING: "undoing",
}
"""What the status of a job is called where it is not called after its state."""
_TABLES = sa.table("tables", sa.column("table_schema"), schema="information_schema")
_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog", "mysql", "performance_schema", "sys")

SignedIn = Callable[..., Awaitable[Claims]]


class ProvisionBody(BaseModel):
    """Which store shall have its database where."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    store_id: UUID = Field(alias="storeId")
    database_type: Kind = Field(default="postgresql", alias="databaseType")
    config: DatabaseBody = DatabaseBody()
    labels: dict[str, str] = {}
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
        Invalid, ProvisioningUnderway, TenantProvisioned.
        """
        platform = self.platform
        async with platform.master.transaction(claims, read_only=True) as db:
            store = await get_store(db, body.store_id)
        kind = ServerKind(body.database_type)
        config = None if body.config.is_empty else body.config.to_config(kind)
        request = ProvisioningRequest(
            TenantId(body.store_id), FLEET, store["slug"], kind, config, body.labels
        )
        await platform.prepare()
        async with platform.master.transaction(SERVICE) as tx:
            job = await platform.provisioning.start(request, tx)
            if not job.has_ended:
                await begin_provisioning(
                    tx,
                    body.store_id,
                    kind.value,
                    None if config is None else config.host,
                    None if config is None else config.database,
                    actor=claims.subject,
                )
                shown = {} if config is None else shown_of(config)
                await note_database(tx, body.store_id, kind.value, shown)
        platform.provisioning.ring()
        return job

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
        started_s = monotonic_s()
        place = self.platform.databases.reach(config)
        connection = await place.connect(timeout_s=TEST_TIMEOUT_S)
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


def routes(platform: Platform, signed_in: SignedIn) -> APIRouter:
    """Provision databases, follow and cancel it, and test connections."""
    router = APIRouter(tags=["provisioning"])
    user = Annotated[Claims, Depends(signed_in)]
    jobs = Provisioner(platform)

    @router.post("/provision")
    async def provision(body: ProvisionBody, claims: user) -> Response:
        """Give a store its database: a new one, or the one that its owner has."""
        try:
            job = await jobs.start(claims, body)
        except BulkheadError as error:
            return refusal(error)
        return answer(
            {
                "success": True,
                "message": STARTED,
                "jobId": job.id,
                "status": WORDS.get(job.state, job.state.value),
            },
            headers={"Location": f"/store_platform/provision/{job.id}/status"},
        )

    @router.get("/provision/{job_id}/status")
    async def show_status(
        job_id: UUID, claims: user, accept: Annotated[str, Header()] = ""
    ) -> Response:
        """How far a job has come; with `Accept: text/event-stream` until it has ended."""
        try:
            job = await jobs.get(claims, JobId(job_id))
        except BulkheadError as error:
            return refusal(error)
        if STREAM in accept:
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(jobs.follow(job.id), media_type=STREAM, headers=headers)
        return answer(status_of(job))

    @router.post("/provision/{job_id}/cancel")
    async def cancel(job_id: UUID, claims: user) -> Response:
        """Have everything taken back that a job has made so far."""
        try:
            await jobs.get(claims, JobId(job_id))
            return answer(status_of(await platform.provisioning.cancel(JobId(job_id))))
        except BulkheadError as error:
            return refusal(error)

    @router.post("/provision/test")
    async def test(body: TestBody, claims: user) -> Response:  # noqa: ARG001 - who is signed in
        """Try a connection without keeping anything of it."""
        try:
            return answer(await jobs.test(body.config.to_config(ServerKind(body.database_type))))
        except BulkheadError as error:
            return refusal(error)

    return router


def closing_routes(platform: Platform, signed_in: SignedIn) -> APIRouter:
    """Delete stores with their databases, and take that back while there is time."""
    router = APIRouter(prefix="/stores", tags=["stores"])
    user = Annotated[Claims, Depends(signed_in)]

    @router.delete("/{store_id}")
    async def delete(store_id: UUID, claims: user) -> Response:
        """Close a store at once; its database is archived and dropped after a time of grace."""
        async with platform.master.transaction(claims, read_only=True) as db:
            store = await get_store(db, store_id)
        if store["database_status"] in GONE:
            async with platform.master.transaction(SERVICE) as tx:
                await delete_store(tx, store_id, actor=claims.subject)
            return Response(status_code=204)
        deletion = await platform.lifecycle.delete(TenantId(store_id), reason="by its owner")
        async with platform.master.transaction(SERVICE) as tx:
            await begin_deletion(tx, store_id, actor=claims.subject)
        return answer({"database_status": "deleting", "purge_at": deletion.purge_at}, 202)

    @router.post("/{store_id}/restore")
    async def restore(store_id: UUID, claims: user) -> Response:
        """Take a deletion back whose time of grace is not over."""
        async with platform.master.transaction(claims, read_only=True) as db:
            await get_store(db, store_id)
        await platform.lifecycle.restore(TenantId(store_id))
        async with platform.master.transaction(SERVICE) as tx:
            await take_back_deletion(tx, store_id, actor=claims.subject)
        async with platform.master.transaction(claims, read_only=True) as db:
            return answer(await get_store(db, store_id))

    return router


def status_of(job: ProvisioningJob) -> dict[str, Any]:
    """A job as clients are told of it."""
    told = {
        "success": True,
        "status": WORDS.get(job.state, job.state.value),
        "progress": job.progress,
        "message": job.message,
        "tablesCreated": job.tables_created,
        "totalTables": job.total_tables,
        "jobId": job.id,
        "storeId": job.tenant,
        "step": job.step,
    }
    return told if job.error is None else {**told, "error": dict(job.error)}


def refusal(error: BulkheadError) -> Response:
    """What a client of provisioning is told when it cannot be done."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    body = {
        "success": False,
        "message": error.message,
        "code": error.code,
        "hint": error.advice,
    }
    return answer(body, error.status, headers)
