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
from contextlib import ExitStack, contextmanager
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
UNREADABLE: Final = (zipfile.BadZipFile, KeyError, OSError, EOFError, zlib.error)
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


class HashedFile(io.RawIOBase):
    """A file of an archive that is being read: at its end its hash is compared."""

    def __init__(self, stream: Any, path: Path, table: ArchivedTable) -> None:  # noqa: ANN401
        """Read from `stream`, zipfile's."""
        self.table = table
        self._stream = stream
        self._path = path
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """The next bytes; raises ArchiveBroken at the end of a file that was changed."""
        try:
            chunk: bytes = self._stream.read(len(buffer))
        except UNREADABLE as error:
            raise self.broken("cannot be read") from error
        self._digest.update(chunk)
        buffer[: len(chunk)] = chunk
        if not chunk and self._digest.hexdigest() != self.table.sha256:
            raise self.broken("was changed")
        return len(chunk)

    def broken(self, reason: str) -> ArchiveBroken:
        """What is wrong with it."""
        return ArchiveBroken(path=str(self._path), reason=f"{self.table.file} {reason}")


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
    except (*UNREADABLE, ValueError, TypeError) as error:
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
    except UNREADABLE as error:
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


@contextmanager
def reading(path: Path, table: ArchivedTable) -> Iterator[HashedFile]:
    """A table's file in an archive; raises ArchiveBroken when the file is not what it was."""
    with ExitStack() as opened:
        try:
            archive = opened.enter_context(zipfile.ZipFile(path))
            stream = opened.enter_context(archive.open(table.file))
        except UNREADABLE as error:
            raise ArchiveBroken(path=str(path), reason="it cannot be read") from error
        yield HashedFile(stream, path, table)


def read_rows(file: HashedFile) -> Iterator[list[str | None]]:
    """The rows of a table's file, one after another, without its head; raises ArchiveBroken."""
    rows = split_rows(io.TextIOWrapper(io.BufferedReader(file), "utf-8", newline=""))
    try:
        if tuple(next(rows, ())) != file.table.columns:
            raise file.broken("does not begin with its columns")
        for row in rows:
            if len(row) != len(file.table.columns):
                raise file.broken("has a row of another length")
            yield row
    except ValueError:
        raise file.broken("is no CSV") from None


def split_rows(lines: Iterable[str]) -> Iterator[list[str | None]]:
    """Rows of which each may have several lines, where they stand within quotes."""
    parts: list[str] = []
    quotes = 0
    for line in lines:
        parts.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0:
            yield from parse_rows("".join(parts))
            parts.clear()
    yield from parse_rows("".join(parts))


def text_of(value: Any) -> str | None:  # noqa: ANN401
    """A value as it stands in an archive, before it is quoted; None for NULL."""
    if value is None:
        return None
    if isinstance(value, bytes | bytearray):
        return "\\x" + bytes(value).hex()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value)


def _cell(value: Any) -> str:  # noqa: ANN401
    text = text_of(value)
    if text is None:
        return NULL
    if text in ("", NULL) or any(character in text for character in ',"\r\n\\'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)
