"""The guarded way to databases that customers name, and a `Dial` for `OutsidePostgres`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from bulkhead.engine.drivers.endpoint import Session
from bulkhead.engine.drivers.foreign import Trust, open_foreign
from bulkhead.engine.egress import Egress, Service
from bulkhead.engine.errors import Invalid
from bulkhead.engine.fleet.model import ServerKind
from bulkhead.engine.fleet.outside import SETTINGS, Dial

if TYPE_CHECKING:
    from bulkhead.engine.egress import Target
    from bulkhead.engine.fleet.model import ConnectionConfig


class TlsImpossible(Invalid):
    """No connection to host '{host}' could be trusted: {reason}."""

    code = "tls_impossible"
    hint = "Use verify-full, and name the certificate of your own authority where there is one."


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


async def verify_allowed(egress: Egress, config: ConnectionConfig) -> Target:
    """Where `config` leads, if it may be connected to at all; connects to nothing.

    Refuses at once what every connection would be refused for. Raises HostRefused, PortRefused,
    TlsImpossible.
    """
    service = Service.MYSQL if config.kind is ServerKind.MYSQL else Service.POSTGRESQL
    target = await egress.check(config.host, config.port, service)
    if not config.proves_server and not target.is_inside:
        reason = f"on a public network '{config.tls.value}' lets anybody be at the other end"
        raise TlsImpossible(host=target.host, reason=reason)
    if config.ca_pem is not None and not _has_certificates(config.ca_pem):
        raise TlsImpossible(host=target.host, reason="the given CA holds no certificate")
    return target


def _has_certificates(pem: str) -> bool:
    try:
        context = ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        return False
    return bool(context.get_ca_certs())
