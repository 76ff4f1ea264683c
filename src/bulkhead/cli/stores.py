"""What commands about stores share: the platform, and which store is meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from bulkhead.cli.output import Output
from bulkhead.cli.session import Running, run_opened

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.engine.fleet.model import TenantId, TenantRow
    from bulkhead.engine.system import System

APPLICATION = "store_platform"

T = TypeVar("T")


def platform_of(system: System) -> Platform:
    """The open platform of `system`."""
    platform: Platform = system.outside.platform(system)
    return platform


@asynccontextmanager
async def working(system: System) -> AsyncIterator[Platform]:
    """The platform while jobs are worked on: by the server of this home, or else in here."""
    platform = platform_of(system)
    has_server = Running.find(system.settings) is not None
    work = platform.provisioning.listen() if has_server else platform.run_provisioning()
    task = asyncio.ensure_future(work)
    try:
        yield platform
    finally:
        task.cancel()
        await asyncio.wait([task])
        await platform.close()


async def find_store(system: System, text: str) -> TenantId:
    """The store with this id or slug; raises NotFound."""
    from bulkhead.apps.store_platform.fleet import Slugs

    return await Slugs(system.database("master")).get(text)


async def find_slugs(system: System, stores: Iterable[TenantId]) -> Mapping[TenantId, str]:
    """The slugs of stores, of those that are being deleted, too."""
    from bulkhead.apps.store_platform.fleet import Slugs

    return await Slugs(system.database("master")).find(list(stores))


def on_store(output: Output, store: str, work: Callable[[Platform, TenantId], Awaitable[T]]) -> T:
    """Run `work` on a store; its errors call the store what the command called it."""

    async def task(system: System) -> T:
        key = await find_store(system, store)
        platform = platform_of(system)
        try:
            with calling(key, store):
                return await work(platform, key)
        finally:
            await platform.close()

    return run_opened(output, APPLICATION, task)


@contextmanager
def calling(key: TenantId, store: str) -> Iterator[None]:
    """Let errors inside call the store with this key what the command called it."""
    from bulkhead.engine.errors import BulkheadError

    try:
        yield
    except BulkheadError as error:
        if str(error.details.get("tenant")) == str(key):
            error.details["tenant"] = store
        raise


def show_tenant(row: TenantRow) -> dict[str, Any]:
    """What the registry says of a store's database, as commands print it."""
    return {
        "id": row.id,
        "kind": row.place.kind.value,
        "server": row.place.server,
        "database": row.place.database,
        "state": row.state.value,
        "version": row.schema_version,
        "generation": row.generation,
        "reason": row.reason,
    }
