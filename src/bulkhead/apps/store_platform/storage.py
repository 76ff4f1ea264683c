"""Where the files of stores are: connected by their owners, tried first, and sealed.

A store has one bucket at a time, and keeps it while it has files: the owner may change the keys,
but another bucket would not have what the store's media library names.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from bulkhead.apps.store_platform.master.audit.service import log_action
from bulkhead.apps.store_platform.master.integrations import service as integrations
from bulkhead.apps.store_platform.master.metering.model import Metric
from bulkhead.apps.store_platform.master.metering.service import lock_taken
from bulkhead.apps.store_platform.store.media.model import folder_of
from bulkhead.capabilities.storage import (
    Bucket,
    Buckets,
    StorageConfig,
    StorageConfigInvalid,
    StorageKind,
    supabase_endpoint,
)
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.sealing import SealContext, Sealer
from bulkhead.http.described import Described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction

PURPOSE = "storage"

Kind = Literal["aws-s3", "supabase-storage", "google-cloud-storage"]


class StorageNotConnected(Conflict):
    """The store has no storage for files."""

    code = "storage_not_connected"
    hint = "Connect one first: PUT /store_platform/stores/<id>/storage, or bulkhead storage add."


class StorageInUse(Conflict):
    """The storage has files of the store: {size_bytes} bytes."""

    code = "storage_in_use"
    hint = "Delete the files first. Keys of the same bucket can be changed at any time."


class Storage(Described):
    """Where the files of a store are; never a secret."""

    storage_type: Kind = Field(alias="storageType")
    config: dict[str, Any]
    status: Literal["untested", "working", "failed"]
    tested_at: dt.datetime | None = Field(alias="testedAt")
    last_error: str | None = Field(alias="lastError")


class StorageTried(Described):
    """A storage that works."""

    success: Literal[True]
    message: str
    response_time_ms: int = Field(alias="responseTimeMs")


class BucketBody(BaseModel):
    """How a bucket is reached; which fields it takes depends on the kind of storage."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    bucket: str = Field(min_length=1, max_length=255)
    region: str | None = Field(default=None, max_length=63)
    endpoint: str | None = Field(default=None, max_length=1000)
    """Of what speaks the protocol of S3 and is not Amazon's."""
    project_url: str | None = Field(default=None, alias="projectUrl", max_length=2000)
    access_key_id: str | None = Field(default=None, alias="accessKeyId", max_length=255)
    secret_access_key: SecretStr | None = Field(
        default=None, alias="secretAccessKey", max_length=4096
    )
    session_token: SecretStr | None = Field(default=None, alias="sessionToken", max_length=4096)
    service_account_key: SecretStr | dict[str, Any] | None = Field(
        default=None, alias="serviceAccountKey"
    )
    """Of Google, the JSON of a service account's key, as text or as it is."""


class StorageBody(BaseModel):
    """Which storage a store shall have."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    storage_type: Kind = Field(alias="storageType")
    config: BucketBody

    def to_config(self) -> StorageConfig:
        """The connection that is meant; raises StorageConfigInvalid."""
        kind, given = StorageKind(self.storage_type), self.config
        if kind is StorageKind.GOOGLE:
            key = given.service_account_key
            if key is None:
                raise StorageConfigInvalid(reason="it needs serviceAccountKey")
            text = json.dumps(key) if isinstance(key, dict) else key.get_secret_value()
            return StorageConfig.google(given.bucket, text)
        secret, token = given.secret_access_key, given.session_token
        if given.region is None or given.access_key_id is None or secret is None:
            raise StorageConfigInvalid(reason="it needs region, accessKeyId and secretAccessKey")
        place = given.endpoint
        if kind is StorageKind.SUPABASE:
            if given.project_url is None:
                raise StorageConfigInvalid(reason="it needs projectUrl")
            place = supabase_endpoint(given.project_url)
        return StorageConfig.s3(
            given.bucket,
            given.region,
            given.access_key_id,
            secret.get_secret_value(),
            kind=kind,
            endpoint=place,
            session_token="" if token is None else token.get_secret_value(),
        )


@dataclass(frozen=True, slots=True)
class Storages:
    """The storages of all stores, as the master knows them."""

    master: OpenDatabase
    sealer: Sealer
    buckets: Buckets

    async def connect(self, store: UUID, config: StorageConfig, *, actor: UUID | None) -> None:
        """Have the files of a store in a bucket, or change its keys; it is tried first.

        Raises StorageInUse where there are files in another one, HostRefused, PortRefused, and
        what keeps the bucket from being used.
        """
        await self.try_out(store, config)
        sealed = await self.sealer.seal(config.to_bytes(), self._context(store))
        async with self.master.transaction(SERVICE) as tx:
            # Whoever uploads has taken of the limit before he looks where to.
            taken = await lock_taken(tx, store, Metric.STORAGE_BYTES)
            known = await integrations.find_secret(tx, store, PURPOSE)
            if taken and known is not None and _place(known) != config.place:
                raise StorageInUse(size_bytes=taken)
            await integrations.put_storage(tx, store, config.kind.value, config.shown, sealed)
            await log_action(
                tx,
                "storage.connected",
                store=store,
                actor=actor,
                kind=config.kind.value,
                bucket=config.bucket,
            )

    async def disconnect(self, store: UUID, *, actor: UUID | None) -> None:
        """Forget where a store's files are; raises StorageInUse, StorageNotConnected."""
        async with self.master.transaction(SERVICE) as tx:
            if taken := await lock_taken(tx, store, Metric.STORAGE_BYTES):
                raise StorageInUse(size_bytes=taken)
            if not await integrations.delete_storage(tx, store):
                raise StorageNotConnected
            await log_action(tx, "storage.disconnected", store=store, actor=actor)

    async def try_out(self, store: UUID, config: StorageConfig) -> None:
        """Put, read and delete an object in a bucket; keeps nothing. Raises what is wrong."""
        bucket = await self.buckets.open(config)
        await bucket.probe(folder_of(store))

    async def try_again(self, store: UUID) -> None:
        """Try the storage that a store has, and note how that ended; raises what is wrong.

        Of a storage that was connected meanwhile nothing is noted.
        """
        row = await self._find(store)
        failure: BulkheadError | None = None
        try:
            await (await self._open(store, row)).probe(folder_of(store))
        except BulkheadError as error:
            failure = error
        told = None if failure is None else f"{failure.code}: {failure.message}"
        async with self.master.transaction(SERVICE) as tx:
            await integrations.note_tested(tx, store, PURPOSE, told, as_of=row["updated_at"])
        if failure is not None:
            raise failure

    async def open(self, store: UUID) -> Bucket:
        """The bucket with the files of a store; raises StorageNotConnected, HostRefused."""
        return await self._open(store, await self._find(store))

    async def show(self, db: Transaction, store: UUID) -> Mapping[str, Any]:
        """What a store is connected to, as the asking role may see it; without secrets.

        Raises StorageNotConnected.
        """
        for row in await integrations.list_integrations(db, store):
            if row["purpose"] == PURPOSE and row["is_active"]:
                return {
                    "storageType": row["integration_type"],
                    "config": row["config_data"],
                    "status": row["connection_status"],
                    "testedAt": row["tested_at"],
                    "lastError": row["last_error"],
                }
        raise StorageNotConnected

    async def _find(self, store: UUID) -> Mapping[str, Any]:
        async with self.master.transaction(SERVICE, read_only=True) as db:
            row = await integrations.find_secret(db, store, PURPOSE)
        if row is None:
            raise StorageNotConnected
        return row

    async def _open(self, store: UUID, row: Mapping[str, Any]) -> Bucket:
        opened = await self.sealer.open(bytes(row["sealed_config"]), self._context(store))
        return await self.buckets.open(StorageConfig.from_bytes(opened))

    def _context(self, store: UUID) -> SealContext:
        key = str(integrations.integration_id(store, PURPOSE))
        database = f"{self.master.application}.{self.master.name}"
        return SealContext(
            database, "public.integration_secrets", "sealed_config", key=key, tenant=str(store)
        )


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Which bucket a connection is to, as `StorageConfig.place`."""
    shown = row["config_data"]
    return row["integration_type"], shown["endpoint"], shown["bucket"]
