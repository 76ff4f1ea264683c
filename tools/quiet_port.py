"""Ports of servers that tests stop and start again: nobody else comes by one of them.

Whoever asks the system for any port, to listen at or to connect from, gets one of its own range,
perhaps the one that a test has just chosen or whose server is down for a moment. These are below
that range, and each worker of a test run has its own share of them.
"""

import itertools
import os
import random
import re

from bulkhead.engine.drivers.embedded_server import is_free

FIRST, LAST = 20_000, 32_767
"""Linux gives away ports from 32768 on, other systems from 49152 on."""
SHARES = 16


def quiet_port() -> int:
    """A port of the loopback that nobody listens at, and that is not given out a second time."""
    return next(port for port in _ports if is_free(port))


def _share() -> list[int]:
    """The ports of this worker, in an order of this process's own."""
    worker = re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", ""))  # noqa: TID251 - no part of the program
    ports = [*range(FIRST + int(worker or 0) % SHARES, LAST, SHARES)]
    random.SystemRandom().shuffle(ports)
    return ports


_ports = itertools.cycle(_share())
