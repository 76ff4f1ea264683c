r"""An archive of a tenant: one zip file with a CSV per table and a manifest that vouches for them.

Any program can read it. NULL stands as `\N` without quotes, as PostgreSQL's COPY writes and reads
it. The file has its name only once it is whole.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import new_id

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SCHEMA: Final = "schema.sql"
NULL: Final = "\\N"
CHUNK_BYTES: Final = 1 << 16
_FIELD: Final = re.compile(r'(?:"((?:[^"]|"")*)"|([^,\n"]*))(,|\r?\n|\Z)')


class ArchiveBroken(BulkheadError):
    """Archive {path} is not what was written: {reason}."""

    code = "archive_broken"
    status = 422
    hint = "Take another copy of it."


@dataclass(frozen=True, slots=True)
class ArchivedTable:
    """One table of an archive."""

    table: str
    file: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str
    rows_hash: str
    """As `TableSum.hash`, so that a database can be compared with the archive."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds."""

    tenant: str
    fleet: str
    dialect: str
    schema_version: int
    schema_fingerprint: str | None
    schema_sha256: str
    exported_at: str
    tables: tuple[ArchivedTable, ...]
    sequences: Mapping[str, int] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(table.rows for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the archive."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Manifest:
        """Read what `to_json` rendered."""
        fields = dict(value)
        tables = tuple(
            ArchivedTable(**{**table, "columns": tuple(table["columns"])})
            for table in fields.pop("tables")
        )
        return cls(tables=tables, **fields)


class Entry:
    """A file of an archive that is being written; counts and hashes what goes through."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - zipfile's stream
        """Write into `stream`."""
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes = 0

    async def put(self, data: bytes) -> None:
        """Append; asyncpg's COPY wants a coroutine."""
        self.write(data)

    def write(self, data: bytes) -> None:
        """Append."""
        self._digest.update(data)
        self.bytes += len(data)
        self._stream.write(data)

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._digest.hexdigest()


@contextmanager
def creating(path: Path) -> Iterator[zipfile.ZipFile]:
    r"""An archive to be filled; it has its name when the block has ended well.

    Raises FileExistsError.
    """
    if path.exists():
        raise FileExistsError(path)
    part = path.with_name(f"{path.name}.{new_id().hex}.part")
    try:
        with open(part, "wb", opener=_private) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def read_manifest(path: Path) -> Manifest:
    """The manifest of an archive; raises ArchiveBroken."""
    try:
        with zipfile.ZipFile(path) as archive:
            return Manifest.from_json(json.loads(archive.read(MANIFEST)))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ArchiveBroken(path=str(path), reason="it has no manifest") from error


def verify_archive(path: Path) -> Manifest:
    """Read every byte and compare it with the manifest; raises ArchiveBroken."""
    manifest = read_manifest(path)
    expected = {table.file: table.sha256 for table in manifest.tables}
    expected[SCHEMA] = manifest.schema_sha256
    try:
        with zipfile.ZipFile(path) as archive:
            for name, digest in expected.items():
                found = hashlib.sha256()
                with archive.open(name) as stream:
                    while chunk := stream.read(CHUNK_BYTES):
                        found.update(chunk)
                if found.hexdigest() != digest:
                    raise ArchiveBroken(path=str(path), reason=f"{name} was changed")
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, zlib.error) as error:
        raise ArchiveBroken(path=str(path), reason="it cannot be read") from error
    return manifest


def render_rows(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of CSV, as COPY writes them."""
    lines = io.StringIO()
    for row in rows:
        lines.write(",".join(map(_cell, row)) + "\n")
    return lines.getvalue().encode("utf-8", "surrogatepass")


def parse_rows(text: str) -> Iterator[list[str | None]]:
    """Read lines of CSV in which NULL is unquoted; raises ValueError for what is none."""
    row: list[str | None] = []
    position = 0
    while position < len(text):
        match = _FIELD.match(text, position)
        if match is None:
            message = f"no field of CSV at position {position}"
            raise ValueError(message)
        quoted, plain, end = match.groups()
        if quoted is not None:
            row.append(quoted.replace('""', '"'))
        else:
            row.append(None if plain == NULL else plain)
        position = match.end()
        if end != ",":
            yield row
            row = []


def _cell(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return NULL
    if isinstance(value, bytes | bytearray):
        value = "\\x" + bytes(value).hex()
    elif isinstance(value, dt.datetime | dt.date | dt.time):
        value = value.isoformat()
    elif isinstance(value, dict | list):
        value = json.dumps(value)
    text = str(value)
    if text in ("", NULL) or any(character in text for character in ',"\r\n\\'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)
