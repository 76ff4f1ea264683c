"""`bulkhead media`: the files of stores."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from bulkhead.cli.options import FILE
from bulkhead.cli.output import Output, size_of
from bulkhead.cli.stores import APPLICATION, on_store
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.engine.fleet.model import TenantId

COLUMNS = ("id", "file_name", "content_type", "size_bytes", "is_public", "created_at")
READ_BYTES = 2**20
UNKNOWN_TYPE = "application/octet-stream"


@click.group(cls=Noun)
def media() -> None:
    """Look after the files of stores, in the buckets that they have; STORE is an id or a slug."""


@media.command("list", examples=["bulkhead media list my-shop --limit 20"])
@click.argument("store")
@click.option("--after", type=click.UUID, metavar="ID", help="Go on after this file.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.pass_obj
def list_all(output: Output, *, store: str, after: UUID | None, limit: int) -> None:
    """List the files of a store, the newest first."""
    from bulkhead.apps.store_platform.store.media.service import list_media

    async def work(platform: Platform, key: TenantId) -> list[dict[str, Any]]:
        async with platform.fleet.connection(key) as db:
            return await list_media(db, after=after, limit=limit)

    rows = on_store(output, store, work)
    if output.as_json:
        output.rows((*COLUMNS, "sha256", "width", "height", "alt"), rows)
    else:
        shown = [
            {**row, "type": row["content_type"], "size": size_of(row["size_bytes"])} for row in rows
        ]
        output.rows(("id", "file_name", "type", "size", "created_at"), shown)
    if len(rows) == limit:
        output.note(f"There may be more: bulkhead media list {store} --after {rows[-1]['id']}")


@media.command(
    "show",
    examples=["bulkhead media show my-shop 01890a5d-ac96-774b-bcce-b302099a8057 --expires-s 3600"],
)
@click.argument("store")
@click.argument("file", metavar="ID", type=click.UUID)
@click.option(
    "--expires-s",
    type=click.IntRange(1, 7 * 24 * 3600),
    default=900,
    show_default=True,
    help="How long its address holds.",
)
@click.pass_obj
def show(output: Output, *, store: str, file: UUID, expires_s: int) -> None:
    """Show a file, with an address under which anybody can read it for a while."""
    from bulkhead.apps.store_platform.store.media.service import get_media

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        async with platform.fleet.connection(key) as db:
            row = await get_media(db, file)
        [url] = await platform.media.sign(key, [file], expires_s)
        return {**row, "url": url, "expires_s": expires_s}

    output.data(on_store(output, store, work))


@media.command(
    "upload",
    examples=[
        'bulkhead media upload my-shop mug.jpg --alt "A mug"',
        "bulkhead media upload my-shop invoice.pdf --private",
    ],
)
@click.argument("store")
@click.argument("file", type=FILE)
@click.option("--name", help="What it is called.  [as FILE is]")
@click.option("--type", "content_type", help="What it is, such as image/png.  [by its name]")
@click.option("--alt", default="", help="What is said in place of the picture.")
@click.option("--private", is_flag=True, help="It is not for the store's visitors.")
@click.pass_obj
def upload(  # noqa: PLR0913
    output: Output,
    *,
    store: str,
    file: Path,
    name: str | None,
    content_type: str | None,
    alt: str,
    private: bool,
) -> None:
    """Store a file, within the plan of the store; FILE is read a piece at a time."""
    from pydantic import ValidationError

    from bulkhead.apps.store_platform.store.media.model import FileSaid, NewFile
    from bulkhead.engine.errors import Invalid
    from bulkhead.engine.ids import new_id

    kind = content_type or mimetypes.guess_type(name or file.name)[0] or UNKNOWN_TYPE
    try:
        said = FileSaid(file_name=name or file.name, alt=alt, is_public=not private)
    except ValidationError as error:
        raise Invalid(reason=f"the file cannot be called so: {error.errors()[0]['msg']}") from None
    size_bytes = file.stat().st_size
    new = NewFile(said.file_name, kind, size_bytes, said.alt, said.is_public)
    output.note(f"→ application {APPLICATION} · store {store} · {size_of(size_bytes)} of {kind}")

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        return await platform.media.upload(key, new_id(), new, _pieces(file))

    row = on_store(output, store, work)
    output.data(row, text=f"Stored {row['file_name']} as {row['id']}.\n{row['url']}")


@media.command(
    "delete", examples=["bulkhead media delete my-shop 01890a5d-ac96-774b-bcce-b302099a8057"]
)
@click.argument("store")
@click.argument("file", metavar="ID", type=click.UUID)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(output: Output, *, store: str, file: UUID, yes: bool) -> None:
    """Delete a file, in the store and in its bucket."""
    if not yes:
        click.confirm(f"Delete file {file} of store '{store}'?", abort=True, err=True)

    async def work(platform: Platform, key: TenantId) -> None:
        await platform.media.delete(key, file)

    on_store(output, store, work)
    output.data({"id": file, "deleted": True}, text=f"Deleted {file}.")


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    import asyncio

    with file.open("rb") as stream:
        while piece := await asyncio.to_thread(stream.read, READ_BYTES):
            yield piece
