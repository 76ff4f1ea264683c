"""What a command needs to work: settings, an event loop, and an open application."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from bulkhead.apps import NAMES, load_application
from bulkhead.cli.output import Output
from bulkhead.engine.settings import Settings, load_settings
from bulkhead.engine.system import System, open_system

T = TypeVar("T")

application_option = click.option(
    "-a",
    "--application",
    type=click.Choice(NAMES),
    default=NAMES[0],
    show_default=True,
    help="Which application.",
)


@dataclass(frozen=True, slots=True)
class Running:
    """What `bulkhead up` notes about itself while it runs."""

    pid: int
    url: str

    @classmethod
    def path(cls, settings: Settings) -> Path:
        """Where it is noted."""
        return settings.home / "running.json"

    @classmethod
    def find(cls, settings: Settings) -> Running | None:
        """The running server of this home, None when there is none."""
        try:
            found = cls(**json.loads(cls.path(settings).read_text(encoding="utf-8")))
            os.kill(found.pid, 0)
        except (OSError, ValueError, TypeError):
            return None
        return found

    def note(self, settings: Settings) -> None:
        """Note it for other commands."""
        self.path(settings).write_text(json.dumps(asdict(self)), encoding="utf-8")

    def forget(self, settings: Settings) -> None:
        """Take the note back."""
        with contextlib.suppress(FileNotFoundError):
            self.path(settings).unlink()

    def stop(self) -> None:
        """Ask the process to stop."""
        os.kill(self.pid, signal.SIGTERM)


def settings_of(output: Output, **overrides: Any) -> Settings:  # noqa: ANN401
    """The settings of this command; raises ConfigurationInvalid."""
    home = Path(output.home) if output.home else None
    return load_settings(home=home, **overrides)


def running_settings(output: Output) -> Settings:
    """The settings of this command at the address of the server that runs, if one does."""
    settings = settings_of(output)
    running = Running.find(settings)
    if running is None or settings.site_url is not None:
        return settings
    return replace(settings, site_url=running.url)


def run(task: Coroutine[Any, Any, T]) -> T:
    """Run `task` on a new event loop, uvloop's where there is one."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(task)


@asynccontextmanager
async def opened(
    output: Output, application: str, *, provision: bool = False
) -> AsyncIterator[System]:
    """Open an application for one command: on the running server, or one started for it."""
    settings = running_settings(output)
    async with open_system(load_application(application), settings, provision=provision) as system:
        yield system


def run_opened(output: Output, application: str, work: Callable[[System], Awaitable[T]]) -> T:
    """Run `work` on an opened application."""

    async def task() -> T:
        async with opened(output, application) as system:
            return await work(system)

    return run(task())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
