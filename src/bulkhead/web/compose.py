"""From open applications to one web site with everything that runs beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from bulkhead.engine.application import Mounted
from bulkhead.engine.monitoring.metrics import Sampler
from bulkhead.engine.ongoing import is_being_cancelled
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.gateway.gateway import Gateway, open_gateway
from bulkhead.http.asgi import App
from bulkhead.web.server import Mount, WebOptions, create_site

log = logging.getLogger(__name__)

RESTART_S = 1.0
SAMPLE_EVERY_S = 10.0

Worker = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Composed:
    """The site, its endless workers, and what there is to tell about it."""

    app: App
    notes: Sequence[str]
    endless: Sequence[Worker]
    gateways: Sequence[Gateway] = ()

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        """Run the endless workers inside the block; one that fails is started again.

        The gateways read their schemas meanwhile; one whose database is away serves later.
        """
        rests = [rest for gateway in self.gateways for rest in gateway.rests]
        tasks = [asyncio.create_task(_keep_running(worker)) for worker in self.endless]
        tasks += [asyncio.create_task(rest.start()) for rest in rests]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            for rest in rests:
                await rest.close()


def compose(systems: Sequence[System], settings: Settings) -> Composed:
    """Mount the applications of `systems`; connects to nothing."""
    mounted = [_mount(system) for system in systems]
    gateways = [
        open_gateway(system, mount.people) for system, mount in zip(systems, mounted, strict=True)
    ]
    mounts = [
        Mount(
            system.application.name,
            system.application.title,
            mount.routers,  # type: ignore[arg-type]  # the engine does not know FastAPI
            tuple(system.router),
            gateway.services,
            mount.streamed,  # type: ignore[arg-type]  # nor what HTTP is
        )
        for system, mount, gateway in zip(systems, mounted, gateways, strict=True)
    ]
    samplers = [Sampler(system.router) for system in systems]
    sources = (
        *(sampler.figures for sampler in samplers),
        *(source for mount in mounted for source in mount.figures),
    )
    site = create_site(mounts, settings, WebOptions(figure_sources=sources))
    return Composed(
        site.app,
        [note for mount in mounted for note in mount.notes]
        + [note for gateway in gateways for note in gateway.notes],
        [worker for mount in mounted for worker in mount.workers]
        + [partial(_keep_sampling, sampler) for sampler in samplers],
        gateways,
    )


def _mount(system: System) -> Mounted:
    return Mounted() if system.application.mount is None else system.application.mount(system)


async def _keep_running(worker: Worker) -> None:
    while not is_being_cancelled():
        try:
            await worker()
        except Exception:
            log.exception("a background worker failed and is started again")
        await asyncio.sleep(RESTART_S)


async def _keep_sampling(sampler: Sampler) -> None:
    while True:
        await sampler.sample()
        await asyncio.sleep(SAMPLE_EVERY_S)
