"""PostgreSQL databases that customers name are reached through the guard, or not at all."""

from dataclasses import replace

import pytest
from tests.integration.engine.drivers.rogue_server import request, rogue
from tests.integration.engine.drivers.test_foreign import saying

from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.errors import TlsRequired
from bulkhead.engine.drivers.foreign_frames import ServerUntrusted
from bulkhead.engine.egress import Egress, HostRefused, open_egress
from bulkhead.engine.egress.guard import PortRefused
from bulkhead.engine.fleet.guarded import guarded_by
from bulkhead.engine.fleet.model import ConnectionConfig, SecretText, ServerKind
from bulkhead.engine.fleet.outside import OutsidePostgres
from bulkhead.engine.settings import Settings

PASSWORD = "a customer's password"  # noqa: S105
CONFIG = ConnectionConfig(
    ServerKind.POSTGRESQL, "127.0.0.1", 5432, "shop", "shop", SecretText(PASSWORD), tls=Tls.DISABLE
)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "::1"])
async def test_a_private_host_is_refused(host: str) -> None:
    database = OutsidePostgres(replace(CONFIG, host=host), guarded_by(Egress()))
    with pytest.raises(HostRefused):
        await database.connect(timeout_s=1)


async def test_a_public_host_needs_a_usual_port_and_a_verified_certificate() -> None:
    for changed, error in ((replace(CONFIG, port=22), PortRefused), (CONFIG, TlsRequired)):
        config = replace(changed, host="93.184.216.34")
        with pytest.raises(error):
            await OutsidePostgres(config, guarded_by(Egress())).connect(timeout_s=1)


async def test_a_server_that_asks_for_the_password_in_clear_does_not_get_it() -> None:
    async with rogue(saying(request(3))) as (port, heard):
        database = OutsidePostgres(replace(CONFIG, port=port), guarded_by(open_egress(Settings())))
        with pytest.raises(ServerUntrusted):
            await database.connect(timeout_s=5)
    assert PASSWORD.encode() not in heard.data
