"""Our gateway as the cases' configurations want it, each served on a port of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.contract.postgrest.spec_server import ANALYSED, LOADED, SpecServer
from tests.contract.postgrest.vectors import Vector, base_config, find_difference

from bulkhead.engine.connections.claims import Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.gateway.dispatch import Dispatcher
from bulkhead.gateway.rest.app import RestGateway
from bulkhead.gateway.rest.config import OpenApiMode, RestConfig, TxEnd
from bulkhead.gateway.service import Service
from bulkhead.gateway.tokens import TokenVerifier
from bulkhead.web.serving import serving

PREFIX = "/postgrest/spec/rest/v1"
"""Where applications have it, so that the cases see what clients see."""
BODY_BYTES_MAX = 1_000_000
_APP_SETTING = "app.settings."


@dataclass(slots=True, eq=False)
class SpecGateways:
    """The gateways of a test session; those that leave their database as it was share it."""

    server: SpecServer
    stack: AsyncExitStack
    _databases: dict[str, OpenDatabase] = field(default_factory=dict)
    """By the database they are clones of."""
    _urls: dict[str, str] = field(default_factory=dict)

    async def url(self, config: str) -> str:
        """Where a gateway with this configuration answers, started when first asked for."""
        if config not in self._urls:
            template = LOADED if "db-plan-enabled" in json.loads(config) else ANALYSED
            if template not in self._databases:
                clone = self.server.clone(template)
                self._databases[template] = await self.stack.enter_async_context(clone)
            self._urls[config] = await self.stack.enter_async_context(
                serving_spec(self._databases[template], config)
            )
        return self._urls[config]

    @asynccontextmanager
    async def alone(self, config: str) -> AsyncIterator[str]:
        """The same over a database that nobody else uses."""
        async with self.server.clone() as database, serving_spec(database, config) as url:
            yield url


async def try_vector(gateways: SpecGateways, vector: Vector) -> str | None:
    """In what the answers to a case differ from the expected ones; None when in nothing."""
    if vector.commits:
        async with gateways.alone(vector.config) as url:
            return await asyncio.to_thread(find_difference, vector, url)
    return await asyncio.to_thread(find_difference, vector, await gateways.url(vector.config))


@asynccontextmanager
async def serving_spec(database: OpenDatabase, config: str) -> AsyncIterator[str]:
    """Serve `database` with a configuration of the cases inside the block."""
    settings = {**base_config(), **json.loads(config)}
    gateway = RestGateway(database, rest_config(settings), authenticator(settings))
    await gateway.start()
    service = Service(PREFIX, gateway, BODY_BYTES_MAX)
    try:
        async with serving(Dispatcher(gateway, [service], {})) as served:
            yield served.url + PREFIX
    finally:
        await gateway.close()


def rest_config(settings: Mapping[str, Any]) -> RestConfig:
    """What PostgREST's settings are called here."""
    return RestConfig(
        schemas=tuple(settings["db-schemas"]),
        extra_search_path=tuple(settings["db-extra-search-path"]),
        anon_role=settings["db-anon-role"],
        max_rows=settings.get("db-max-rows"),
        pre_request=settings["db-pre-request"],
        root_spec=settings.get("db-root-spec"),
        aggregates_enabled=settings["db-aggregates-enabled"],
        plan_enabled=settings.get("db-plan-enabled", False),
        tx_end=_tx_end(settings),
        app_settings=tuple(
            (name, value) for name, value in settings.items() if name.startswith(_APP_SETTING)
        ),
        hoisted_settings=tuple(settings["db-hoisted-tx-settings"]),
        openapi_mode=OpenApiMode(settings["openapi-mode"]),
        openapi_server_proxy_uri=settings["openapi-server-proxy-uri"],
        openapi_security_active=settings.get("openapi-security-active", False),
        server_timing=settings["server-timing-enabled"],
    )


def _tx_end(settings: Mapping[str, Any]) -> TxEnd:
    if "db-tx-rollback-all" not in settings:
        return TxEnd(settings["db-tx-end"])
    end = "rollback" if settings["db-tx-rollback-all"] else "commit"
    return TxEnd(f"{end}-allow-override" if settings["db-tx-allow-override"] else end)


def authenticator(
    settings: Mapping[str, Any],
) -> Callable[[Sequence[tuple[bytes, bytes]]], Claims]:
    """Who a request is for, by the token in its Authorization header alone."""
    verifier = TokenVerifier(
        settings["jwt-secret"],
        audience=settings.get("jwt-aud"),
        anon_role=settings["db-anon-role"],
    )
    return verifier.authenticate
