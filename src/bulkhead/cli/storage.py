"""`bulkhead storage`: the buckets in which the files of stores are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.bucket_options import bucket_of, bucket_options, is_given
from bulkhead.cli.output import EXIT_FINDINGS, Output, cell, size_of
from bulkhead.cli.session import run_opened
from bulkhead.cli.stores import APPLICATION, on_store
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.engine.fleet.model import TenantId
    from bulkhead.engine.system import System

COLUMNS = ("store", "id", "type", "bucket", "endpoint", "status", "used_bytes", "last_error")


@click.group(cls=Noun)
def storage() -> None:
    """Look after the buckets with the files of stores; STORE is an id or a slug."""


@storage.command("list", examples=["bulkhead storage list"])
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.pass_obj
def list_all(output: Output, *, limit: int) -> None:
    """List which stores have which bucket, and how much is in it."""
    from bulkhead.apps.store_platform.master.integrations.service import list_storages
    from bulkhead.engine.connections.claims import SERVICE

    async def work(system: System) -> list[dict[str, Any]]:
        async with system.database("master").transaction(SERVICE, read_only=True) as db:
            found = await list_storages(db, limit)
        return [
            {
                "store": row["slug"],
                "id": row["store_id"],
                "type": row["integration_type"],
                "bucket": row["config_data"]["bucket"],
                "endpoint": row["config_data"]["endpoint"],
                "status": row["connection_status"],
                "used_bytes": row["storage_used_bytes"],
                "last_error": row["last_error"],
            }
            for row in found
        ]

    rows = run_opened(output, APPLICATION, work)
    if output.as_json:
        output.rows(COLUMNS, rows)
        return
    shown = [{**row, "used": size_of(row["used_bytes"])} for row in rows]
    output.rows(("store", "type", "bucket", "endpoint", "status", "used"), shown)


@storage.command("show", examples=["bulkhead storage show my-shop"])
@click.argument("store")
@click.pass_obj
def show(output: Output, *, store: str) -> None:
    """Show which bucket a store has, and how its last trial ended; never its secrets."""

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        from bulkhead.engine.connections.claims import SERVICE

        async with platform.master.transaction(SERVICE, read_only=True) as db:
            return dict(await platform.media.storages.show(db, key))

    found = on_store(output, store, work)
    lines = {
        "store": store,
        "type": found["storageType"],
        **found["config"],
        "status": found["status"],
        "tested": found["testedAt"],
        "error": found["lastError"],
    }
    output.data(found, text="\n".join(f"{name:11}  {cell(v)}" for name, v in lines.items()))


@storage.command(
    "add",
    examples=[
        (
            "bulkhead storage add my-shop --bucket my-bucket --region eu-central-1 "
            "--access-key-id AKIAEXAMPLE --secret-file secret"
        ),
        "bulkhead storage add my-shop --from storage.json",
    ],
)
@click.argument("store")
@bucket_options
@click.pass_obj
def add(output: Output, /, *, store: str, **options: Any) -> None:  # noqa: ANN401 - of click
    """Have the files of a store in a bucket, or set other keys for the one it has.

    The bucket is tried before anything is kept: an object is put, read and deleted. The secret is
    kept sealed; it is piped in, asked for, or read by --secret-file, and never a word of the
    command. --from takes what the API takes: {"storageType": "aws-s3", "config": {"bucket": ...}}
    """
    config = bucket_of(options).to_config()

    async def work(platform: Platform, key: TenantId) -> None:
        await platform.media.storages.connect(key, config, actor=None)

    output.note(f"→ application {APPLICATION} · store {store} · bucket {config.bucket}")
    on_store(output, store, work)
    told = {"store": store, "type": config.kind.value, **config.shown}
    output.data(told, text=f"The files of store '{store}' go to the bucket '{config.bucket}'.")


@storage.command("test", examples=["bulkhead storage test my-shop"])
@click.argument("store")
@bucket_options
@click.pass_obj
def test(output: Output, /, *, store: str, **options: Any) -> None:  # noqa: ANN401 - of click
    """Try the bucket that a store has, and note how that ended; with options, another one.

    Of another one nothing is kept.
    """
    config = bucket_of(options).to_config() if is_given(options) else None

    async def work(platform: Platform, key: TenantId) -> None:
        if config is None:
            await platform.media.storages.try_again(key)
        else:
            await platform.media.storages.try_out(key, config)

    on_store(output, store, work)
    output.data({"store": store, "works": True}, text="The storage works.")


@storage.command("check", examples=["bulkhead storage check my-shop --strays"])
@click.argument("store")
@click.option("--strays", is_flag=True, help="List objects that no row names, too.")
@click.pass_obj
def check(output: Output, *, store: str, strays: bool) -> int:
    """Ask the storage for each file of a store; exit code 7 for one that is not as its row says.

    For --strays the keys have to be allowed to list the bucket. Nothing is changed.
    """
    from bulkhead.apps.store_platform.media_checks import check_files, list_strays

    async def work(platform: Platform, key: TenantId) -> list[dict[str, Any]]:
        found = await check_files(platform.media, key)
        found += await list_strays(platform.media, key) if strays else []
        return [{"file": it.media, "name": it.name, "finding": it.finding} for it in found]

    rows = on_store(output, store, work)
    if not rows and not output.as_json:
        output.note("Every file is there.")
        return 0
    output.rows(("file", "name", "finding"), rows)
    return EXIT_FINDINGS if rows else 0


@storage.command("remove", examples=["bulkhead storage remove my-shop"])
@click.argument("store")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(output: Output, *, store: str, yes: bool) -> None:
    """Forget the bucket of a store that has no files, with its keys."""
    if not yes:
        click.confirm(f"Forget the storage of store '{store}'?", abort=True, err=True)

    async def work(platform: Platform, key: TenantId) -> None:
        await platform.media.storages.disconnect(key, actor=None)

    on_store(output, store, work)
    output.data({"store": store, "removed": True}, text=f"Store '{store}' has no storage.")
