"""`bulkhead up` and `bulkhead down`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bulkhead.cli.output import EXIT_CONFLICT, Output
from bulkhead.cli.session import Running, lasting, run, settings_of
from bulkhead.cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.engine.settings import Settings
    from bulkhead.engine.system import System


@click.command(
    cls=Verb,
    examples=[
        "bulkhead up",
        "bulkhead up --port 0 --no-sample",
    ],
)
@click.option("--host", help="Where to listen.  [127.0.0.1]")
@click.option("--port", type=int, help="On which port; 0 takes a free one.  [8000]")
@click.option("--sample/--no-sample", default=True, help="Load sample data on the first run.")
@click.pass_obj
def up(output: Output, *, host: str | None, port: int | None, sample: bool) -> int:
    """Start everything on this machine and serve it until Ctrl-C.

    Creates and migrates the databases, loads sample data on the first run, finishes what a crash
    has left half done, and prints what there is to try.
    """
    import resource

    from bulkhead.engine.egress import open_egress

    settings = settings_of(output, host=host, port=port)
    running = Running.find(settings)
    if running is not None:
        output.note(f"Already running at {running.url} (pid {running.pid}).")
        return EXIT_CONFLICT
    if (note := open_egress(settings).note) is not None:
        output.step(note)
    # A dump of the memory would hold the master key.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return run(_up(output, settings, sample=sample))


@click.command(cls=Verb, examples=["bulkhead down"])
@click.pass_obj
def down(output: Output) -> int:
    """Stop what `up` has left running."""
    settings = settings_of(output)
    return run(_down(output, settings))


async def _up(output: Output, settings: Settings, *, sample: bool) -> int:
    with lasting():
        from bulkhead.apps import NAMES, load_application
        from bulkhead.engine import failpoints
        from bulkhead.engine.system import open_system
        from bulkhead.web.compose import compose
        from bulkhead.web.logs import configure_logs
        from bulkhead.web.serving import find_port, serving, stop_on_signals

        configure_logs(settings)
        settings = replace(settings, port=find_port(settings.host, settings.port))
        applications = [load_application(name) for name in NAMES]

    async with AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_on_signals())
        systems = []
        for application in applications:
            output.step(f"{application.title}: databases")
            systems.append(await stack.enter_async_context(open_system(application, settings)))
        await _load_samples(output, systems if sample else ())
        with lasting():
            composed = compose(systems, settings)
        if settings.failpoint is not None:
            failpoints.arm_to_exit(settings.failpoint)
        for system in systems:
            await system.start_workers()
        await stack.enter_async_context(composed.workers())
        server = await stack.enter_async_context(
            serving(composed.app, settings.host, settings.port)
        )
        running = Running(_pid(), server.url)
        running.note(settings)
        stack.callback(running.forget, settings)
        _greet(output, server.url, composed.notes)
        await stop.wait()
        output.note("\nStopping ...")
    output.note("Stopped.")
    return 0


async def _load_samples(output: Output, systems: Sequence[System]) -> None:
    for system in systems:
        if system.application.load_sample is not None:
            for line in await system.application.load_sample(system):
                output.step(f"{system.application.title}: {line}")


async def _down(output: Output, settings: Settings) -> int:
    import asyncio

    running = Running.find(settings)
    if running is None:
        output.note("Nothing is running.")
        return 0
    running.stop()
    for _ in range(200):
        if Running.find(settings) is None:
            output.note("Stopped.")
            return 0
        await asyncio.sleep(0.1)
    output.note(f"Process {running.pid} is still stopping.")
    return EXIT_CONFLICT


def _greet(output: Output, url: str, notes: Sequence[str]) -> None:
    lines = ["", f"Bulkhead is up at {url}", "", f"  API reference   {url}/docs"]
    lines += [f"  {line}" for line in notes]
    lines += ["", "  URLs and keys for Supabase's clients:  bulkhead status -o env"]
    lines += ["", "Ctrl-C stops everything."]
    output.data({"url": url, "notes": list(notes)}, text="\n".join(lines))


def _pid() -> int:
    import os

    return os.getpid()
