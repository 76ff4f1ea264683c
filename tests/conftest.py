"""What all tests share; the fixtures with databases come from `bulkhead.engine.testing`."""

import gc
import signal
import sys
from collections.abc import Generator, Iterator
from types import FrameType

import pytest
import structlog
from hypothesis import settings

from bulkhead.engine.settings import Settings
from bulkhead.web.logs import configure_logs

# Machines differ in speed, so that a deadline would fail the slow ones only. A commit passes or
# fails alike each time; `make test ARGS=--hypothesis-profile=explore` looks for other examples.
settings.register_profile("explore", deadline=None, print_blob=True)
settings.register_profile("repeat", settings.get_profile("explore"), derandomize=True)
settings.load_profile("repeat")


def pytest_configure() -> None:
    """Ctrl-C ends a run by a handler of ours, which event loops leave as it is.

    They would set their own for each fixture and test. Whenever Python is asked for that one, it
    writes out what the fixture has given, as a text that nobody reads: the whole of a platform.
    """
    signal.signal(signal.SIGINT, interrupt)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays to the end, so nobody need look through it for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Warnings and worse, as lines of JSON, wherever a test writes them."""
    configure_logs(Settings(log_level="warning", log_format="json"), sys.stderr)
    yield
    structlog.reset_defaults()
