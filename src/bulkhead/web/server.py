"""Composes the routes of all applications and the layers around them into one ASGI application.

From the outside in: exchange (id, log, metrics) > trusted proxies > gateways, or else security
headers > CORS > request guard > body guard > HEAD as GET > routes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware

import bulkhead
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.settings import Settings
from bulkhead.gateway.dispatch import Dispatcher
from bulkhead.gateway.service import Service
from bulkhead.http.asgi import App
from bulkhead.http.bodies import Streamed
from bulkhead.web.body_guard import BODY_TIMEOUT_S, BodyGuard, BodyRule
from bulkhead.web.docs import docs_router
from bulkhead.web.exchange import ExchangeLayer
from bulkhead.web.head_requests import HeadRequests
from bulkhead.web.health import Health, health_router
from bulkhead.web.metrics import FigureSource, Metrics, metrics_router
from bulkhead.web.openapi import install_openapi
from bulkhead.web.problems import install_problems
from bulkhead.web.proxies import TrustedProxies
from bulkhead.web.request_guard import RequestGuard
from bulkhead.web.request_log import request_log
from bulkhead.web.security_headers import SecurityHeaders

EXPOSED_HEADERS = ("etag", "link", "location", "retry-after", "x-request-id")


@dataclass(frozen=True, slots=True)
class Mount:
    """An application as the web sees it: its routes stand under `/{name}`."""

    name: str
    title: str
    routers: Sequence[APIRouter]
    databases: Sequence[OpenDatabase] = ()
    """What `/readyz` probes."""
    services: Sequence[Service] = ()
    """The APIs of its gateway, which stand before the routes."""
    streamed: Sequence[Streamed] = ()
    """Addresses that take files."""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """What can be chosen about the layers around the applications."""

    body_rules: tuple[BodyRule, ...] = ()
    """Addresses that take larger bodies or other media types."""
    body_timeout_s: float = BODY_TIMEOUT_S
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may read answers; none by default."""
    figure_sources: tuple[FigureSource, ...] = ()
    """What the engine measures."""


@dataclass(frozen=True, slots=True)
class Site:
    """The composed application and what can be asked of it in the same process."""

    app: App
    """What a server is given."""
    api: FastAPI
    """The routes alone, without the layers around them."""
    metrics: Metrics = field(repr=False)


def create_app(
    mounts: Sequence[Mount], settings: Settings, options: WebOptions | None = None
) -> App:
    """Compose the applications; raises ConfigurationInvalid. Connects to nothing."""
    return create_site(mounts, settings, options).app


def create_site(
    mounts: Sequence[Mount], settings: Settings, options: WebOptions | None = None
) -> Site:
    """Compose the applications and keep hold of the parts; raises ConfigurationInvalid."""
    options = options or WebOptions()
    metrics = Metrics(options.figure_sources)
    api = create_api(mounts, metrics)
    return Site(add_layers(api, mounts, settings, options, metrics), api, metrics)


def create_api(mounts: Sequence[Mount], metrics: Metrics) -> FastAPI:
    """All routes and how their errors are answered, without the layers around them."""
    api = FastAPI(
        title="Bulkhead",
        version=bulkhead.__version__,
        description=_describe(mounts),
        openapi_url=None,
        # The address that is redirected to would have the host and scheme that the client names.
        redirect_slashes=False,
        openapi_tags=[{"name": mount.name, "description": mount.title} for mount in mounts],
        separate_input_output_schemas=False,
    )
    install_problems(api)
    install_openapi(api)
    for mount in mounts:
        for router in mount.routers:
            api.include_router(router, prefix=f"/{mount.name}", tags=[mount.name])
    databases = [database for mount in mounts for database in mount.databases]
    for router in _own_routers(databases, metrics):
        api.include_router(router)
    return api


def _describe(mounts: Sequence[Mount]) -> str:
    """What the API is, and where the APIs stand that are not described with it."""
    lines = [bulkhead.__doc__ or ""]
    lines += [
        f"Supabase's clients reach {mount.title} at /{mount.name}/<database>: REST at /rest/v1, "
        "described at its root, and the API of the users at /auth/v1."
        for mount in mounts
        if mount.services
    ]
    return "\n\n".join(lines)


def add_layers(
    api: App, mounts: Sequence[Mount], settings: Settings, options: WebOptions, metrics: Metrics
) -> App:
    """Wrap `api`; raises ConfigurationInvalid for a trusted proxy that is no address."""
    streamed = [rule for mount in mounts for rule in mount.streamed]
    timeout_s = options.body_timeout_s
    app: App = HeadRequests(api)
    app = BodyGuard(app, options.body_rules, streamed=streamed, timeout_s=timeout_s)
    app = RequestGuard(app)
    if options.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=options.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )
    is_https = settings.origin.startswith("https://")
    app = SecurityHeaders(app, https=is_https, cors=bool(options.cors_origins))
    app = Dispatcher(
        app,
        [service for mount in mounts for service in mount.services],
        {mount.name: [database.name for database in mount.databases] for mount in mounts},
        https=is_https,
    )
    if settings.trusted_proxies:
        app = TrustedProxies(app, settings.trusted_proxies)
    return ExchangeLayer(app, (metrics.observe, request_log()))


def _own_routers(databases: Sequence[OpenDatabase], metrics: Metrics) -> Iterable[APIRouter]:
    yield health_router(Health(databases))
    yield metrics_router(metrics)
    yield docs_router()
