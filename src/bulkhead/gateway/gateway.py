"""The gateway of an application: the API of its users, and a REST API for each of its databases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from bulkhead.capabilities.identity import Identity
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.topology import ApiExposure
from bulkhead.gateway.auth_service import auth_services, users_of
from bulkhead.gateway.credentials import Credentials
from bulkhead.gateway.keyring import open_keyring
from bulkhead.gateway.rest.app import RestGateway, has_body
from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.service import Service
from bulkhead.http.asgi import Scope


@dataclass(frozen=True, slots=True)
class Gateway:
    """What Supabase's clients reach of one application."""

    services: tuple[Service, ...] = ()
    rests: tuple[RestGateway, ...] = ()
    """To be started before the first request, in any order, and closed after the last."""
    notes: tuple[str, ...] = ()
    """Lines for a person who has started it."""


def open_gateway(system: System, people: Identity | None) -> Gateway:
    """The gateway of an application, whose users are `people`; connects to nothing."""
    name, origin = system.application.name, system.settings.origin
    ring = open_keyring(name, system.settings)
    exposed = [
        database.name for database in system.application.topology.databases if database.api.enabled
    ]
    services: list[Service] = []
    rests: list[RestGateway] = []
    for database in exposed:
        exposure = system.application.topology.database(database).api
        users = None if people is None else users_of(people, database)
        credentials = Credentials(partial(ring.keys, database), users)
        prefix = f"/{name}/{database}/rest/v1"
        config = rest_config(exposure, f"{origin}{prefix}")
        rest = RestGateway(system.database(database), config, credentials.authenticate)
        rests.append(rest)
        services.append(_rest_service(prefix, rest, credentials, system.settings))
    if people is not None:
        services += auth_services(people, ring, exposed)
    notes = (f"REST and auth   {origin}/{name}/<database>, of {', '.join(exposed)}",)
    return Gateway(tuple(services), tuple(rests), notes if exposed else ())


def rest_config(exposure: ApiExposure, address: str) -> RestConfig:
    """The settings of the REST API that is to be found at `address`."""
    return RestConfig(
        schemas=exposure.schemas,
        max_rows=exposure.rows_max,
        statement_timeout_s=dict(exposure.timeouts_s),
        safe_update=exposure.safe_update,
        openapi_server_proxy_uri=address,
    )


def _rest_service(
    prefix: str, rest: RestGateway, credentials: Credentials, settings: Settings
) -> Service:
    def admit(scope: Scope) -> None:
        # Without a body, the API asks for itself; a body is not read for everybody.
        if has_body(scope["headers"]):
            credentials.authenticate(scope["headers"])

    return Service(prefix, rest, settings.rest_body_bytes_max, route_of=_rest_route, admit=admit)


def _rest_route(path: str) -> str:
    if path == "/":
        return path
    return "/rpc/{function}" if path.startswith("/rpc/") else "/{table}"
