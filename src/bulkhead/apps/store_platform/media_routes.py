"""Requests about the storages of stores, and the files in them."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from bulkhead.apps.store_platform.data_routes import DataApi, Responses
from bulkhead.apps.store_platform.master.stores.service import get_store
from bulkhead.apps.store_platform.media import SIGNED_S, Media
from bulkhead.apps.store_platform.media_uploads import Reserved, Uploads
from bulkhead.apps.store_platform.storage import Storage, StorageBody, Storages, StorageTried
from bulkhead.apps.store_platform.store.content_tables import MEDIA_LIBRARY
from bulkhead.apps.store_platform.store.media import service as library
from bulkhead.apps.store_platform.store.media.model import (
    FILE_BYTES_MAX,
    FileSaid,
    MediaChange,
    NewFile,
    PicturesBody,
    UploadBody,
    UploadIncomplete,
    parse_content_type,
)
from bulkhead.apps.store_platform.store.resources import PAGE_MAX, describe, describe_row
from bulkhead.capabilities.identity import Limit
from bulkhead.capabilities.identity.limits.service import take
from bulkhead.capabilities.storage import SIGNED_S_MAX
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.http.answers import answer
from bulkhead.http.bodies import Streamed
from bulkhead.http.described import Described

STREAMED: Final = Streamed(
    "POST", re.compile(r"/store_platform/stores/[0-9A-Fa-f-]{32,36}/media"), FILE_BYTES_MAX
)

FILE_BODY: Final = {
    "required": True,
    "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
}
REACH_OUT: Final = Limit("storage_connect", 30, 600.0)
"""For each user: to storages that they name, so many connections are tried."""

SignedIn = Callable[..., Awaitable[Claims]]
PageSize = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Seconds = Annotated[int, Query(ge=1, le=SIGNED_S_MAX)]


@dataclass(frozen=True, slots=True)
class StorageApi:
    """What the routes of storages need."""

    storages: Storages

    async def verify(self, store: UUID, claims: Claims) -> None:
        """Pass for who may see the store; raises NotFound."""
        async with self.storages.master.transaction(claims, read_only=True) as db:
            await get_store(db, store)

    async def count(self, claims: Claims) -> None:
        """Count a storage that is tried, whatever comes of it; raises RateLimited."""
        async with self.storages.master.transaction(SERVICE) as tx:
            await take(tx, REACH_OUT, str(claims.subject))

    async def shown(self, store: UUID, claims: Claims) -> Response:
        """What storage a store has; raises NotFound, StorageNotConnected."""
        async with self.storages.master.transaction(claims, read_only=True) as db:
            await get_store(db, store)
            return answer(await self.storages.show(db, store))


def storage_routes(storages: Storages, signed_in: SignedIn) -> APIRouter:
    """Connect the storage of a store, try it, show it, and forget it."""
    router = APIRouter(prefix="/stores/{store_id}/storage", tags=["storage"])
    user = Annotated[Claims, Depends(signed_in)]
    api = StorageApi(storages)

    @router.put("", responses={200: {"model": Storage}})
    async def connect(store_id: UUID, body: StorageBody, claims: user) -> Response:
        """Have the files of a store in a bucket of yours; it is tried first."""
        await api.verify(store_id, claims)
        await api.count(claims)
        await storages.connect(store_id, body.to_config(), actor=claims.subject)
        return await api.shown(store_id, claims)

    @router.get("", responses={200: {"model": Storage}})
    async def show(store_id: UUID, claims: user) -> Response:
        """What storage a store has; never its secrets."""
        return await api.shown(store_id, claims)

    @router.delete("", status_code=204)
    async def disconnect(store_id: UUID, claims: user) -> Response:
        """Forget the storage of a store that has no files."""
        await api.verify(store_id, claims)
        await storages.disconnect(store_id, actor=claims.subject)
        return Response(status_code=204)

    @router.post("/test", responses={200: {"model": StorageTried}})
    async def test(store_id: UUID, claims: user, body: StorageBody | None = None) -> Response:
        """Try a storage without keeping anything of it; without a body, the one there is."""
        await api.verify(store_id, claims)
        await api.count(claims)
        started_s = monotonic_s()
        if body is None:
            await storages.try_again(store_id)
        else:
            await storages.try_out(store_id, body.to_config())
        ms = round((monotonic_s() - started_s) * 1000)
        return answer({"success": True, "message": "The storage works", "responseTimeMs": ms})

    return router


def media_routes(api: DataApi, media: Media, signed_in: SignedIn) -> APIRouter:
    """Upload, list, show, change and delete files, and let products be shown with them."""
    router = APIRouter(prefix="/stores/{store_id}", tags=["store data"])
    file = describe("SignedFile", describe_row(MEDIA_LIBRARY), url=str)
    _add_upload(router, api, media, signed_in, {201: {"model": file}})
    _add_signed_uploads(router, api, Uploads(media), signed_in, {201: {"model": file}})
    _add_reads(router, api, media, signed_in, file)
    _add_writes(router, api, media, signed_in)
    _add_pictures(router, api, media, signed_in, file)
    return router


def _add_upload(
    router: APIRouter, api: DataApi, media: Media, signed_in: SignedIn, file: Responses
) -> None:
    user = Annotated[Claims, Depends(signed_in)]
    body = {"requestBody": FILE_BODY}

    @router.post("/media", status_code=201, responses=file, openapi_extra=body)
    async def upload(
        request: Request, store_id: UUID, claims: user, said: Annotated[FileSaid, Query()]
    ) -> Response:
        """Store the body as a file: its bytes as they are, with Content-Type and -Length."""
        async with api.call(request, claims, store_id):
            kind = parse_content_type(request.headers.get("content-type", ""))
            size_bytes = int(request.headers.get("content-length", "0"))
            file = NewFile(said.file_name, kind, size_bytes, said.alt, said.is_public)
            row = await media.upload(store_id, new_id(), file, _pieces(request))
            place = f"{request.url.path.rstrip('/')}/{row['id']}"
            return answer(row, 201, {"Location": place})


def _add_signed_uploads(
    router: APIRouter, api: DataApi, uploads: Uploads, signed_in: SignedIn, file: Responses
) -> None:
    user = Annotated[Claims, Depends(signed_in)]

    @router.post("/media/uploads", status_code=201, responses={201: {"model": Reserved}})
    async def reserve(request: Request, store_id: UUID, body: UploadBody, claims: user) -> Response:
        """Say where a browser can put a file by itself; it is one when that is completed."""
        async with api.call(request, claims, store_id):
            told = await uploads.reserve(store_id, new_id(), body.to_file())
            place = f"{request.url.path.rstrip('/')}/{told['id']}"
            return answer({**told, "complete": place}, 201, {"Location": place})

    @router.post("/media/uploads/{upload_id}", status_code=201, responses=file)
    async def complete(
        request: Request, store_id: UUID, upload_id: UUID, body: UploadBody, claims: user
    ) -> Response:
        """Make a file of what was put, with the same body; it may be repeated."""
        async with api.call(request, claims, store_id):
            row = await uploads.complete(store_id, upload_id, body.to_file())
            place = request.url.path.rstrip("/").rpartition("/uploads/")[0]
            return answer(row, 201, {"Location": f"{place}/{row['id']}"})


def _add_reads(
    router: APIRouter, api: DataApi, media: Media, signed_in: SignedIn, file: type[Described]
) -> None:
    user = Annotated[Claims, Depends(signed_in)]
    files: Any = list[file]  # type: ignore[valid-type]
    page = describe("FilesPage", media=files, next=UUID | None)
    shown = describe("ExpiringFile", file, expires_s=int)

    @router.get("/media", responses={200: {"model": page}})
    async def list_media(
        request: Request,
        store_id: UUID,
        claims: user,
        cursor: UUID | None = None,
        limit: PageSize = 50,
    ) -> Response:
        """List files, the newest first, each with an address that holds for a while."""
        async with api.call(request, claims, store_id):
            async with api.stores.fleet.connection(TenantId(store_id)) as db:
                rows = await library.list_media(db, after=cursor, limit=limit)
            following = rows[-1]["id"] if len(rows) == limit else None
            return answer({"media": await _signed(media, store_id, rows), "next": following})

    @router.get("/media/{media_id}", responses={200: {"model": shown}})
    async def show_media(
        request: Request,
        store_id: UUID,
        media_id: UUID,
        claims: user,
        expires_s: Seconds = SIGNED_S,
    ) -> Response:
        """Show a file with an address under which anybody can read it for `expires_s`."""
        async with api.call(request, claims, store_id):
            async with api.stores.fleet.connection(TenantId(store_id)) as db:
                row = await library.get_media(db, media_id)
            [url] = await media.sign(store_id, [media_id], expires_s)
            return answer({**row, "url": url, "expires_s": expires_s})


def _add_writes(router: APIRouter, api: DataApi, media: Media, signed_in: SignedIn) -> None:
    user = Annotated[Claims, Depends(signed_in)]

    @router.patch("/media/{media_id}", responses={200: {"model": describe_row(MEDIA_LIBRARY)}})
    async def change_media(
        request: Request, store_id: UUID, media_id: UUID, body: MediaChange, claims: user
    ) -> Response:
        """Change what is said of a file."""
        async with (
            api.call(request, claims, store_id),
            api.stores.fleet.transaction(TenantId(store_id)) as db,
        ):
            return answer(await library.change_media(db, media_id, body))

    @router.delete("/media/{media_id}", status_code=204)
    async def delete_media(
        request: Request, store_id: UUID, media_id: UUID, claims: user
    ) -> Response:
        """Delete a file, in the store and in its storage."""
        async with api.call(request, claims, store_id):
            await media.delete(store_id, media_id)
            return Response(status_code=204)


def _add_pictures(
    router: APIRouter, api: DataApi, media: Media, signed_in: SignedIn, file: type[Described]
) -> None:
    user = Annotated[Claims, Depends(signed_in)]
    files: Any = list[file]  # type: ignore[valid-type]
    pictures: Responses = {200: {"model": describe("ProductMedia", media=files)}}

    @router.put("/products/{product_id}/media", responses=pictures)
    async def set_pictures(
        request: Request, store_id: UUID, product_id: UUID, body: PicturesBody, claims: user
    ) -> Response:
        """Let a product be shown with just these files, in this order."""
        async with api.call(request, claims, store_id):
            async with api.stores.fleet.transaction(TenantId(store_id)) as db:
                await library.set_pictures(db, product_id, body.media)
                rows = await library.list_pictures(db, product_id)
            return answer({"media": await _signed(media, store_id, rows)})

    @router.get("/products/{product_id}/media", responses=pictures)
    async def show_pictures(
        request: Request, store_id: UUID, product_id: UUID, claims: user
    ) -> Response:
        """The files that a product is shown with, each with an address that holds for a while."""
        async with api.call(request, claims, store_id):
            async with api.stores.fleet.connection(TenantId(store_id)) as db:
                rows = await library.list_pictures(db, product_id)
            return answer({"media": await _signed(media, store_id, rows)})


async def _signed(media: Media, store: UUID, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    urls = await media.sign(store, [row["id"] for row in rows]) if rows else []
    return [{**row, "url": url} for row, url in zip(rows, urls, strict=True)]


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; raises UploadIncomplete, BodyTooSlow."""
    pieces: Any = request.stream()
    try:
        async for piece in pieces:
            if piece:
                yield piece
    except ClientDisconnect:
        raise UploadIncomplete from None
