"""A real server of the S3 protocol on loopback, behind a gate that checks every signature.

Source of the gate: the documentation of AWS Signature Version 4, with headers and with queries.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from bulkhead.engine import clock

REGION = "eu-central-1"
SKEW_S = 900

Environ = dict[str, Any]
Start = Callable[..., Any]


@dataclass(frozen=True)
class Keys:
    access_key_id: str
    secret: str
    methods: frozenset[str] = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})
    token: str | None = None
    """A session token that must come along."""
    may_copy: bool = True
    """Whether the server copies objects for this user."""
    may_list: bool = True
    """Whether this user may be told that there is no such object, which Amazon tells no others."""


class Refused(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Gate:
    """Lets only signed requests of known users through."""

    app: Any
    users: dict[str, Keys] = field(default_factory=dict)
    ahead_s: float = 0.0
    """By how much this server's clock is ahead."""
    is_away: bool = False
    prefix: str = ""
    """A path below which the buckets are."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        headers["content-length"] = environ.get("CONTENT_LENGTH", "")
        self.requests.append((environ["REQUEST_METHOD"], environ["RAW_URI"]))
        self.headers.append(headers)
        if self.is_away:
            start("503 Service Unavailable", [])
            return []
        try:
            environ["QUERY_STRING"] = self.verify(environ, headers)
        except Refused as error:
            body = f"<Error><Code>{error.code}</Code><Message>no</Message></Error>".encode()
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [body]
        # The server behind knows who is anonymous, and no more.
        environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential=x/x/{REGION}/s3/aws4_request"
        environ["HTTP_HOST"] = "127.0.0.1"  # Any other may be taken for the name of a bucket.
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(self.prefix)
        environ["RAW_URI"] = environ["RAW_URI"].removeprefix(self.prefix)
        environ["REQUEST_URI"] = environ["RAW_URI"]
        answer: Iterable[bytes] = self.app(environ, self.hiding(environ, start))
        return answer

    def hiding(self, environ: Environ, start: Start) -> Start:
        """Where the user may not list: what is not there is forbidden."""
        user: Keys | None = environ.get("gate.user")
        if user is None or user.may_list:
            return start

        def begin(status: str, headers: Any, *rest: Any) -> Any:
            return start("403 Forbidden" if status.startswith("404") else status, headers, *rest)

        return begin

    def verify(self, environ: Environ, headers: Mapping[str, str]) -> str:
        """The query without the signature; raises Refused."""
        query = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
        told = _in_query(dict(query)) or _in_headers(headers)
        access_key_id, _, scope = told.get("Credential", "").partition("/")
        user = self.users.get(access_key_id)
        if user is None:
            raise Refused("InvalidAccessKeyId")
        environ["gate.user"] = user
        if user.token != told.get("Security-Token"):
            raise Refused("InvalidToken")
        names = told["SignedHeaders"].split(";")
        canonical = "\n".join(
            [
                environ["REQUEST_METHOD"],
                environ["RAW_URI"].partition("?")[0],
                "&".join(sorted(pair(*it) for it in query if it[0] != "X-Amz-Signature")),
                *(f"{name}:{' '.join(headers[name].split())}" for name in names),
                "",
                told["SignedHeaders"],
                told["Payload"],
            ]
        )
        expected = _sign(user.secret, told["Date"], scope, canonical)
        if not hmac.compare_digest(expected, told["Signature"]):
            raise Refused("SignatureDoesNotMatch")
        signed_at = dt.datetime.strptime(told["Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        age_s = (clock.now() - signed_at).total_seconds() + self.ahead_s
        if age_s > int(told["Expires"]) or environ["REQUEST_METHOD"] not in user.methods:
            raise Refused("AccessDenied")
        if "x-amz-copy-source" in headers and not user.may_copy:
            raise Refused("AccessDenied")
        return urlencode([it for it in query if not it[0].startswith("X-Amz-")])


@dataclass(frozen=True)
class S3Server:
    """The server, and what its administrator does without asking anybody."""

    url: str
    gate: Gate
    keys: Keys
    """Of a user who may do everything."""

    def make_bucket(self, name: str) -> None:
        self._storage.create_bucket(name, REGION)

    def add_user(self, keys: Keys) -> Keys:
        self.gate.users[keys.access_key_id] = keys
        return keys

    def objects(self, bucket: str) -> dict[str, bytes]:
        """The objects in a bucket, by their keys."""
        found = self._storage.buckets[bucket].keys
        return {key: found[key].value for key in list(found)}

    def rename(self, bucket: str, key: str, name: str) -> None:
        """Call an object something else, which nobody was told of."""
        found = self._storage.buckets[bucket].keys
        body = found[key].value
        found.pop(key)
        self._storage.put_object(bucket, name, body)

    def uploads(self, bucket: str) -> int:
        """How many uploads in parts were begun and not ended."""
        return len(self._storage.buckets[bucket].multiparts)

    @property
    def _storage(self) -> Any:
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        pass


@contextmanager
def s3_server(ssl_context: Any = None, kind: type[Gate] = Gate) -> Iterator[S3Server]:
    """Serve inside the block."""
    keys = Keys("AKIAOWNEROWNEROWNER1", "owner/secret+key")
    gate = kind(DomainDispatcherApplication(create_backend_app), {keys.access_key_id: keys})
    server = make_server(
        "127.0.0.1", 0, gate, threaded=True, request_handler=_Quiet, ssl_context=ssl_context
    )
    if isinstance(server.socket, ssl.SSLSocket):
        # Shake hands where a connection is served: a client that is slow to keeps nobody waiting.
        server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    scheme = "http" if ssl_context is None else "https"
    try:
        yield S3Server(f"{scheme}://127.0.0.1:{server.server_port}", gate, keys)
    finally:
        server.shutdown()
        server.server_close()
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].reset()


def pair(name: str, value: str) -> str:
    return f"{quote(name, safe='')}={quote(value, safe='')}"


def _in_query(query: Mapping[str, str]) -> dict[str, str] | None:
    if "X-Amz-Signature" not in query:
        return None
    told = {name.removeprefix("X-Amz-"): value for name, value in query.items()}
    return {**told, "Payload": "UNSIGNED-PAYLOAD"}


def _in_headers(headers: Mapping[str, str]) -> dict[str, str]:
    fields = headers.get("authorization", "").removeprefix("AWS4-HMAC-SHA256 ").split(",")
    told = dict(each.strip().partition("=")[::2] for each in fields)
    told["Date"] = headers.get("x-amz-date", "")
    told["Payload"] = headers.get("x-amz-content-sha256", "")
    told["Expires"] = str(SKEW_S)
    if "x-amz-security-token" in headers:
        told["Security-Token"] = headers["x-amz-security-token"]
    return told


def _sign(secret: str, at: str, scope: str, canonical: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return hmac.digest(key, f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}".encode(), "sha256").hex()
