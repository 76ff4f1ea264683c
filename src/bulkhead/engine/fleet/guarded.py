"""The guarded way to PostgreSQL databases that customers name; a `Dial` for `OutsidePostgres`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.engine.drivers.endpoint import Session
from bulkhead.engine.drivers.foreign import Trust, open_foreign
from bulkhead.engine.egress import Egress, Service
from bulkhead.engine.fleet.outside import SETTINGS, Dial

if TYPE_CHECKING:
    from bulkhead.engine.fleet.model import ConnectionConfig


def guarded_by(egress: Egress) -> Dial:
    """Dial only where `egress` allows, verified, with a check of all that arrives.

    The name is looked up anew for each connection, checked, and pinned for it. Besides what
    `open_foreign` raises: HostRefused, PortRefused.
    """

    async def dial(config: ConnectionConfig, timeout_s: float) -> Any:  # noqa: ANN401
        return await open_foreign(
            await egress.check(config.host, config.port, Service.POSTGRESQL),
            Session(config.username, config.password.reveal(), config.database),
            Trust(config.tls, config.ca_pem),
            timeout_s=timeout_s,
            pooled=config.pooled,
            settings=None if config.pooled else SETTINGS,
        )

    return dial
