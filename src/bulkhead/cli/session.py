"""What a command needs to work: settings, an event loop, and an open application."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bulkhead.apps import NAMES, load_application
from bulkhead.cli.output import Output
from bulkhead.engine.settings import Settings, load_settings

if TYPE_CHECKING:
    from bulkhead.engine.system import System

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


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """What is made inside lasts as long as the process, so nobody looks through it for garbage.

    To look through a thousand modules again and again while they are imported would take a fifth
    of the processor's time until a command works.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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
async def opened(output: Output, application: str, *, verify: bool = True) -> AsyncIterator[System]:
    """Open an application for one command: on the running server, or one started for it.

    Raises DatabaseBehind for a database that an older release has made, unless `verify` is False,
    and DatabaseAhead when the command fails at one that a newer release has changed.
    """
    with lasting():
        # What follows takes longer to import than any help to be shown.
        from bulkhead.engine.drivers.errors import SqlError
        from bulkhead.engine.system import explain_failure, open_system

        settings, app = running_settings(output), load_application(application)
    async with open_system(app, settings, provision=False, verify=verify) as system:
        try:
            yield system
        except SqlError as error:
            if type(error) is SqlError:  # Others say what was wrong.
                await explain_failure(system)
            raise


def run_opened(
    output: Output,
    application: str,
    work: Callable[[System], Awaitable[T]],
    *,
    verify: bool = True,
) -> T:
    """Run `work` on an opened application."""

    async def task() -> T:
        async with opened(output, application, verify=verify) as system:
            return await work(system)

    with _quiet_logs():
        return run(task())


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Leave out warnings of what runs in the background: a command tells what it is about."""
    logger = logging.getLogger("bulkhead")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
