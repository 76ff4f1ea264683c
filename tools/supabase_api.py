"""Supabase's Management API on this machine, for tests: honest about tokens, limits and failures.

What is asked and what is answered is checked against the published description, an extract of which
is in `tests/contract/management`.
"""

import asyncio
import contextlib
import json
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from shutil import disk_usage, rmtree
from urllib.parse import parse_qs, unquote, urlsplit

import h11
from openapi_schema import Description
from supabase_cloud import OPERATIONS, Call, Cloud, Refused
from supabase_projects import open_machines

from bulkhead.engine.testing import MEMORY, MEMORY_BYTES_MIN

DESCRIPTION = Path(__file__).parent.parent / "tests" / "contract" / "management" / "api_v1.json"
REQUESTS_PER_MINUTE = 120


class Fault(StrEnum):
    """What goes wrong with a request."""

    ERROR = "error"
    """Answered by 500; nothing was done."""
    CUT = "cut"
    """The connection ends; nothing was done."""
    LOST = "lost"
    """It is done, but the answer does not arrive."""
    GARBAGE = "garbage"
    """The answer is no JSON."""
    STRANGE = "strange"
    """The answer is JSON, but not what the description says."""
    HANG = "hang"
    """No answer, until the client gives up."""
    THROTTLE = "throttle"
    """429, to be repeated in a second."""


@dataclass(slots=True)
class Rule:
    """The next `times` requests of `method` to a path that `pattern` matches go wrong."""

    method: str
    pattern: str
    fault: Fault
    times: int = 1


@dataclass(slots=True, eq=False)
class SupabaseApi:
    """The API of a cloud."""

    cloud: Cloud
    url: str = ""
    rules: list[Rule] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request, the oldest first."""
    complaints: list[str] = field(default_factory=list)
    """What clients sent, or this server answered, against the description."""
    throttled_after: int | None = None
    """After how many requests 429 is answered, until `requests` is cleared; None for never."""
    description: Description = field(default_factory=lambda: Description.load(DESCRIPTION))

    def fail(self, method: str, pattern: str, fault: Fault, times: int = 1) -> None:
        """Let the next requests go wrong."""
        self.rules.append(Rule(method.lower(), pattern, fault, times))

    def count(self, method: str, pattern: str) -> int:
        """How many requests there were."""
        return sum(
            one == method.lower() and re.search(pattern, path) is not None
            for one, path in self.requests
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        talk = h11.Connection(h11.SERVER)
        try:
            request, body = await _read(talk, reader)
            await self._answer(talk, writer, request, body)
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            pass
        finally:
            with contextlib.suppress(Exception):
                writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _answer(
        self, talk: h11.Connection, writer: asyncio.StreamWriter, request: h11.Request, body: bytes
    ) -> None:
        method, parts = request.method.decode().lower(), urlsplit(request.target.decode())
        path = unquote(parts.path)
        self.requests.append((method, path))
        fault = self._fault(method, path)
        if fault is Fault.CUT:
            writer.transport.abort()
            return
        if fault is Fault.HANG:
            await asyncio.sleep(3600)
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        limited = self.throttled_after is not None and len(self.requests) > self.throttled_after
        if fault is Fault.THROTTLE or limited:
            await _send(talk, writer, 429, b'{"message":"Too Many Requests"}', reset=1)
            return
        if fault is Fault.ERROR:
            await _send(talk, writer, 500, b'{"message":"Internal server error"}')
            return
        try:
            status, told = await self._dispatch(method, path, headers, query, body)
        except Refused as error:
            status, told = error.status, {"message": error.message}
        if fault is Fault.LOST:
            writer.transport.abort()
            return
        text = json.dumps(told).encode()
        if fault is Fault.GARBAGE:
            text = b"<html>\xff not what you asked for"
        if fault is Fault.STRANGE:
            text = b'{"projects": 7, "ref": "../../etc", "status": "FINE"}'
        await _send(talk, writer, status, text)

    async def _dispatch(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, object]:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if not self.cloud.knows(token):
            raise Refused(401, "Unauthorized")
        for template, methods in OPERATIONS.items():
            match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), path)
            if match is None or method not in methods:
                continue
            value = json.loads(body) if body else None
            faults = self.description.request_faults(template, method, value)
            if faults:
                self.complaints += faults
                raise Refused(400, "; ".join(faults))
            call = Call(token, match.groupdict(), query, value)
            status, told = await methods[method](self.cloud, call)
            self.complaints += self.description.answer_faults(template, method, status, told)
            return status, told
        raise Refused(404, f"Cannot {method.upper()} {path}")

    def _fault(self, method: str, path: str) -> Fault | None:
        for rule in self.rules:
            if rule.times > 0 and rule.method == method and re.search(rule.pattern, path):
                rule.times -= 1
                return rule.fault
        return None


@asynccontextmanager
async def open_cloud() -> AsyncIterator[SupabaseApi]:
    """The API on a free port of the loopback, with its projects in a folder of their own."""
    home = _open_folder()
    try:
        async with open_machines(home / "projects") as machines:
            api = SupabaseApi(Cloud(machines))
            server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
            api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                yield api
            finally:
                server.close()
    finally:
        rmtree(home, ignore_errors=True)


def _open_folder() -> Path:
    """In memory where there is some, and where every account may pass through, unlike pytest's."""
    memory = MEMORY if MEMORY.is_dir() and disk_usage(MEMORY).free > MEMORY_BYTES_MIN else None
    home = Path(tempfile.mkdtemp(prefix="bulkhead-cloud-", dir=memory))
    home.chmod(0o755)
    return home


async def _read(talk: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes]:
    request: h11.Request | None = None
    body = b""
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            talk.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, body
        else:
            raise h11.RemoteProtocolError("not a request")


async def _send(
    talk: h11.Connection,
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    reset: int | None = None,
) -> None:
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("connection", "close"),
        ("x-ratelimit-limit", str(REQUESTS_PER_MINUTE)),
        ("x-ratelimit-reset", str(60 if reset is None else reset)),
    ]
    for event in (
        h11.Response(status_code=status, headers=headers),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ):
        writer.write(talk.send(event) or b"")
    await writer.drain()


async def main() -> None:
    """Serve until told to stop; prints the address, an organization, and its token."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with open_cloud() as api:
        organization = api.cloud.add_organization()
        print(api.url, organization.slug, *organization.tokens, flush=True)
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(main())  # noqa: TID251 - a process of its own
