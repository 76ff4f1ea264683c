"""`bulkhead tenant clone`, `split` and `import`: what comes into a store from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from bulkhead.cli.bucket_options import read_bucket
from bulkhead.cli.connection import config_of, database_options
from bulkhead.cli.options import FILE
from bulkhead.cli.output import EXIT_FINDINGS, Output, size_of
from bulkhead.cli.progress import LiveBar
from bulkhead.cli.session import run_opened
from bulkhead.cli.stores import APPLICATION, calling, find_store, platform_of
from bulkhead.cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.apps.store_platform.copies import Copied
    from bulkhead.apps.store_platform.media_copies import Progress
    from bulkhead.engine.system import System

REPLACES = "All rows that {store} has now are replaced, and its files with them."
LEFT_SHOWN = 10


@click.command("clone", cls=Verb, examples=["bulkhead tenant clone my-shop my-test-shop"])
@click.argument("source", metavar="STORE")
@click.argument("target", metavar="TARGET")
@click.option("--without-files", is_flag=True, help="Leave the files; TARGET must have none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def clone(output: Output, *, source: str, target: str, without_files: bool, yes: bool) -> int:
    """Give the store TARGET the rows and the files of STORE; both keep their own databases.

    TARGET serves nobody meanwhile, STORE goes on. TARGET has the same kind of database, and a
    storage of its own where there are files. What is there already is not copied again, so that
    it can be repeated, also after it was interrupted. The exit code is 7 when files did not come,
    which are named.
    """
    from bulkhead.apps.store_platform.copies import Copies

    _confirm(output, target, yes=yes)

    async def work(system: System) -> Copied:
        origin, copy = await find_store(system, source), await find_store(system, target)
        platform = platform_of(system)
        try:
            with calling(origin, source), calling(copy, target):
                return await Copies(platform).clone(
                    origin, copy, with_files=not without_files, tell=_telling(bar)
                )
        finally:
            await platform.close()

    with LiveBar(output) as bar:
        found = run_opened(output, APPLICATION, work)
    text = f"Store {target} has the {found.rows} rows{_files(found)} of {source}."
    output.data({"rows": found.rows, **_figures(found)}, text=text)
    return _tell_left(output, found)


@click.command(
    "split",
    cls=Verb,
    examples=[
        (
            "bulkhead tenant split my-shop --key 42 --host db.example.com --database shared "
            "--username reader --password-file password"
        )
    ],
)
@click.argument("store", metavar="STORE")
@click.option("--key", help="What the column says for this store.  [its id]")
@click.option("--column", default="store_id", show_default=True, help="What tells stores apart.")
@click.option("--whole", multiple=True, metavar="TABLE", help="All of its rows are copied.")
@click.option("--leave", multiple=True, metavar="TABLE", help="None of its rows is copied.")
@click.option(
    "--files-from",
    "bucket",
    type=FILE,
    metavar="FILE",
    help="The connection to the bucket with its files, as JSON: `bulkhead storage add --help`.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
@click.pass_obj
def split(  # noqa: PLR0913
    output: Output,
    /,
    *,
    store: str,
    key: str | None,
    column: str,
    whole: tuple[str, ...],
    leave: tuple[str, ...],
    bucket: Path | None,
    yes: bool,
    **options: Any,  # noqa: ANN401 - what click parsed
) -> int:
    """Give STORE the rows that it has in a database which it shares with other stores.

    STORE has a database of its own already, of the same kind; it serves nobody meanwhile. Nothing
    is changed in the shared one, which --host, --database, --username and the others name. It may
    be repeated: once as a rehearsal, and once more when nobody writes there any longer. Files come
    from the bucket that --files-from names, where `media_library.storage_key` says what each is
    called; without it they stay where they are, and their rows with them.
    """
    from bulkhead.apps.store_platform.copies import Copies, Shared
    from bulkhead.engine.errors import Invalid
    from bulkhead.engine.fleet.model import ServerKind

    body = config_of(options)
    if body.is_empty:
        raise Invalid(reason="name the shared database: --host, --database and --username")
    config = body.to_config(ServerKind(options["kind"]))
    files = read_bucket(bucket).to_config() if bucket is not None else None
    _confirm(output, store, yes=yes)

    async def work(system: System) -> Copied:
        found = await find_store(system, store)
        platform = platform_of(system)
        try:
            shared = Shared(config, key or str(found), column, whole, leave, files)
            with calling(found, store):
                return await Copies(platform).split(found, shared, tell=_telling(bar))
        finally:
            await platform.close()

    with LiveBar(output) as bar:
        found = run_opened(output, APPLICATION, work)
    rows = [{"table": name, "rows": n} for name, n in found.tables.items()]
    output.rows(("table", "rows"), rows)
    output.note(f"Store {store} has its {found.rows} rows, equal by count and hash.")
    if files is not None:
        output.note(f"It has {found.files} files of {size_of(found.size_bytes)}.")
    return _tell_left(output, found)


@click.command(
    "import",
    cls=Verb,
    examples=[
        "bulkhead tenant import my-new-shop my-shop.zip",
        "bulkhead tenant import my-new-shop my-shop.zip --files-from my-shop",
    ],
)
@click.argument("store", metavar="STORE")
@click.argument("file", type=FILE)
@click.option("--replace", "is_replacing", is_flag=True, help="STORE may have rows; they go.")
@click.option(
    "--files-from",
    "origin",
    metavar="STORE",
    help="Bring the files, too: they are those of this store, an id or a slug.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def load(
    output: Output, *, store: str, file: Path, is_replacing: bool, origin: str | None, yes: bool
) -> int:
    """Give STORE, a new one, the rows of an archive that `tenant export` wrote, or a deletion.

    All of them or none, compared by count and hash. The archive may be of another store, and of
    another kind of database, but has to have the version of STORE's schema. STORE serves nobody
    meanwhile.

    An archive has no files. With --files-from they come from the bucket of the store that is named;
    the id of one that is no more finds what it left in the bucket that STORE is connected to.
    """
    from bulkhead.apps.store_platform.copies import Copies

    if is_replacing:
        _confirm(output, store, yes=yes)

    async def work(system: System) -> dict[str, Any]:
        found = await find_store(system, store)
        files_of = None if origin is None else await _find_former(system, origin)
        platform = platform_of(system)
        try:
            with calling(found, store):
                manifest, copied = await Copies(platform).load(
                    found, file, is_replacing=is_replacing, files_of=files_of, tell=_telling(bar)
                )
        finally:
            await platform.close()
        return {"source": manifest.tenant, "copied": copied}

    with LiveBar(output) as bar:
        told = run_opened(output, APPLICATION, work)
    found: Copied = told.pop("copied")
    shown = {"rows": found.rows, "tables": len(found.tables), **told, **_figures(found)}
    text = f"Store {store} has the {found.rows} rows{_files(found)} of {file.name}."
    output.data(shown, text=text)
    return _tell_left(output, found)


async def _find_former(system: System, text: str) -> UUID:
    """The store with this id or slug; the id of one that is no more is taken as it is."""
    from bulkhead.engine.errors import NotFound

    try:
        return await find_store(system, text)
    except NotFound:
        try:
            return UUID(text)
        except ValueError:
            pass
        raise


def _telling(bar: LiveBar) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        percent = 100 * progress.files // progress.of_files
        bar.tell(percent, f"copying files, {size_of(progress.of_bytes)} in all")

    return tell


def _figures(found: Copied) -> dict[str, Any]:
    left = [{"file": media, "reason": reason} for media, reason in found.left.items()]
    return {"files": found.files, "bytes": found.size_bytes, "left": left}


def _files(found: Copied) -> str:
    return f" and the {found.files} files ({size_of(found.size_bytes)})" if found.files else ""


def _tell_left(output: Output, found: Copied) -> int:
    """Say which files did not come: whoever looks for one finds no row of it."""
    if not found.left:
        return 0
    output.note(f"{len(found.left)} files did not come, and their rows are gone:")
    for media, reason in list(found.left.items())[:LEFT_SHOWN]:
        output.note(f"  {media}  {reason}")
    if len(found.left) > LEFT_SHOWN:
        output.note("  ...")
    return EXIT_FINDINGS


def _confirm(output: Output, store: str, *, yes: bool) -> None:
    output.note(f"→ application {APPLICATION} · store {store}")
    if not yes:
        click.confirm(f"{REPLACES.format(store=store)} Go on?", abort=True, err=True)
