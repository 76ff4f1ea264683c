"""Secrets that are recognised wherever they turn up, and everywhere they could turn up in."""

from __future__ import annotations

import base64
import json
import logging
import secrets
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from bulkhead.engine.errors import BulkheadError

FILE_BYTES_MAX = 64 * 1024 * 1024


def canary(name: str) -> str:
    """A secret with characters that are written differently here and there."""
    return f"canary-{name}-{secrets.token_hex(12)}+/="


def forms(secret: str | bytes) -> set[bytes]:
    """How a secret may be written."""
    raw = secret.encode() if isinstance(secret, str) else secret
    encoded = {
        base64.b64encode(raw).rstrip(b"="),
        base64.urlsafe_b64encode(raw).rstrip(b"="),
        raw.hex().encode(),
        raw.hex().upper().encode(),
        quote(raw, safe="").encode(),
        json.dumps(raw.decode("latin-1")).encode()[1:-1],
    }
    return encoded | {raw}


def found_in(sinks: Mapping[str, bytes], canaries: Mapping[str, str | bytes]) -> list[str]:
    """Which secret stands in which sink."""
    return [
        f"{name} in {sink}"
        for sink, content in sinks.items()
        for name, secret in canaries.items()
        if any(form in content for form in forms(secret))
    ]


@dataclass(slots=True)
class Witness:
    """Keeps what the process says of itself: its log, its errors, how its values look."""

    log: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)

    def note(self, error: BaseException) -> None:
        if isinstance(error, BulkheadError):
            self.errors.append(json.dumps(error.to_json(), default=str))
        self.errors += [*traceback.format_exception(error), repr(error)]

    def look(self, *values: object) -> None:
        self.looks += [text for value in values for text in (repr(value), str(value))]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear every logger at its most talkative."""
        witness = self

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                witness.log.append(logging.Formatter().format(record))
                witness.log.append(repr(record.args))

        root = logging.getLogger()
        handler, level = Handler(logging.DEBUG), root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)

    def sinks(self) -> dict[str, bytes]:
        return {
            "application log": "\n".join(self.log).encode(),
            "errors": "\n".join(self.errors).encode(),
            "representations": "\n".join(self.looks).encode(),
        }


def processes() -> dict[str, bytes]:
    """The environments and command lines of every process that can be read."""
    found = {"environments": b"", "command lines": b""}
    for folder in Path("/proc").glob("[0-9]*"):
        for sink, file in (("environments", "environ"), ("command lines", "cmdline")):
            try:
                found[sink] += (folder / file).read_bytes()
            except OSError:
                continue
    return found


def files(folder: Path, since: Path, *, leave_out: frozenset[Path] = frozenset()) -> bytes:
    """The contents of every file in a folder that was written to after the file `since`.

    The servers have the databases of other tests too, written before there was any secret.
    """
    began = since.stat().st_mtime_ns
    found = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return b"\n".join(
        path.read_bytes()
        for path, status in found.items()
        if path not in leave_out
        and status.st_size <= FILE_BYTES_MAX
        and status.st_mtime_ns >= began
    )
