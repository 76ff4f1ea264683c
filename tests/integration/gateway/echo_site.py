"""A service that says what reached it, behind the dispatcher and beside the web's own routes."""

import json
from dataclasses import dataclass, field

from tests.integration.web.sample_api import MOUNT

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.settings import Settings
from bulkhead.gateway.credentials import ApiKeyMissing
from bulkhead.gateway.service import Service
from bulkhead.http.asgi import App, Receive, Scope, Send, find_header
from bulkhead.web.server import Mount, create_app

PREFIX = "/shop/orders/rest/v1"
BODY_BYTES_MAX = 100_000


@dataclass(eq=False)
class Echo:
    """Answers with what it was asked."""

    served: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"] if scope["method"] in {"POST", "PATCH"} else b""
        self.served.append(scope["path"])
        if scope["path"] == "/broken":
            message = "the password is swordfish"
            raise RuntimeError(message)
        told = json.dumps(
            {
                "method": scope["method"],
                "path": scope["path"],
                "raw_path": scope["raw_path"].decode(),
                "root_path": scope["root_path"],
                "query_bytes": len(scope["query_string"]),
                "body_bytes": len(body),
                "body": body[:20].decode("latin-1"),
            }
        ).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(told)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


def admit(scope: Scope) -> None:
    if find_header(scope, b"apikey") is None:
        raise ApiKeyMissing


@dataclass(frozen=True)
class Placed:
    """A database of which only the name matters."""

    name: str


def site(echo: App, body_timeout_s: float = 15.0, settings: Settings | None = None) -> App:
    service = Service(
        PREFIX,
        echo,
        BODY_BYTES_MAX,
        route_of=lambda path: "/{table}" if path != "/" else path,
        admit=admit,
        body_timeout_s=body_timeout_s,
    )
    databases: list[OpenDatabase] = [Placed("orders"), Placed("users")]  # type: ignore[list-item]
    shop = Mount("shop", "Shop", (), databases, (service,))
    return create_app([shop, MOUNT], settings or Settings())
