from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.integration.capabilities.identity.club import CLUB, Club, open_club
from tests.integration.gateway.auth.office import Office

from bulkhead.engine.connections.claims import Claims
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.gateway.auth_service import users_of
from bulkhead.gateway.credentials import Credentials
from bulkhead.gateway.keyring import open_keyring


@pytest.fixture
async def system(servers: TestServers, tmp_path: Path) -> AsyncIterator[System]:
    async with servers.system(CLUB, Settings(home=tmp_path)) as system:
        yield system


@pytest.fixture
async def office(system: System) -> Office:
    """The club, and who runs it with the keys of its database."""
    ring = open_keyring("club", system.settings)

    def authenticate(headers: Sequence[tuple[bytes, bytes]]) -> Claims:
        return credentials.authenticate(headers)

    club = open_club(system, authenticate=authenticate)
    credentials = Credentials(
        partial(ring.keys, "users"), users_of(club.identity), is_key_required=False
    )
    return Office(club, ring, authenticate)


@pytest.fixture
def club(office: Office) -> Club:
    return office.club
