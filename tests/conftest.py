"""What all tests share; the fixtures with databases come from `bulkhead.engine.testing`."""

import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from bulkhead.engine.settings import Settings
from bulkhead.web.logs import configure_logs

# Machines differ in speed, so that a deadline would fail the slow ones only.
settings.register_profile("bulkhead", deadline=None, print_blob=True)
settings.load_profile("bulkhead")


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Warnings and worse, as lines of JSON, wherever a test writes them."""
    configure_logs(Settings(log_level="warning", log_format="json"), sys.stderr)
    yield
    structlog.reset_defaults()
