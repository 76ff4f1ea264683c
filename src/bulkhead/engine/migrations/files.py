"""Migration files: `NNNN_name.sql`, an up part, a line `-- migrate:down`, and a down part."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.migrations.mysql_statements import (
    find_mysql_refusal,
    split_mysql_statements,
)
from bulkhead.engine.migrations.statements import (
    SqlUnreadable,
    Statement,
    find_refusal,
    split_statements,
)

_FILE_NAME = re.compile(r"^(?P<version>\d{4})_(?P<name>[a-z][a-z0-9_]*)\.sql$")
_NAMESPACE = re.compile(r"^[a-z][a-z0-9_]*$")

Label = tuple[str, int, str]
"""Namespace, version and name of a migration."""

PARSED_MAX = 256
"""How many files are remembered: those of the engine are the same in all databases."""

_DOWN = re.compile(r"^[ \t]*--[ \t]*migrate:down[ \t]*$", re.MULTILINE)


class MigrationNameInvalid(BulkheadError):
    """'{file}' is not the name of a migration."""

    code = "migration_name_invalid"
    hint = "Name it NNNN_name.sql, lower case, for example 0007_add_coupons.sql."


class MigrationInvalid(BulkheadError):
    """Migration {file} cannot be used, line {line}: {reason}."""

    code = "migration_invalid"


class MigrationOrderBroken(BulkheadError):
    """The migrations of '{namespace}' are not numbered one after another: {reason}."""

    code = "migration_order_broken"
    hint = "Number them 0001, 0002, ... without gaps; renumber what was never applied."


@dataclass(frozen=True)
class Migration:
    """One migration; valid once built by `parse_migration`."""

    namespace: str
    version: int
    name: str
    up: str
    down: str
    checksum: str
    down_line: int = 1
    """The line of the file on which the down part begins."""
    dialect: Dialect = Dialect.POSTGRESQL
    """Whose SQL it is."""

    @property
    def label(self) -> str:
        """Version and name as in the file's name: `0007_add_coupons`."""
        return f"{self.version:04}_{self.name}"

    @property
    def file(self) -> str:
        """Where it stands, for messages: `commerce/0007_add_coupons.sql`."""
        return f"{self.namespace}/{self.label}.sql"

    @cached_property
    def up_statements(self) -> tuple[Statement, ...]:
        """The statements of the up part, with their lines in the file."""
        return self._split(self.up)

    @cached_property
    def down_statements(self) -> tuple[Statement, ...]:
        """The statements of the down part, with their lines in the file."""
        return tuple(
            Statement(each.text, each.line + self.down_line - 1, each.words)
            for each in self._split(self.down)
        )

    def _split(self, text: str) -> tuple[Statement, ...]:
        is_mysql = self.dialect is Dialect.MYSQL
        return split_mysql_statements(text) if is_mysql else split_statements(text)


@dataclass(frozen=True, slots=True)
class MigrationSet:
    """The migrations of one namespace: `engine`, a capability, or an application's database."""

    namespace: str
    migrations: tuple[Migration, ...]
    mirrored: bool = False
    """Whether the Supabase CLI shall see them; true for the set of the application itself."""

    @property
    def latest(self) -> int:
        """The highest version; 0 when there is none."""
        return self.migrations[-1].version if self.migrations else 0

    def find(self, version: int) -> Migration | None:
        """The migration with this version, or None."""
        return self.migrations[version - 1] if 1 <= version <= self.latest else None


def load_migrations(
    namespace: str,
    folder: Path,
    *,
    mirrored: bool = False,
    dialect: Dialect = Dialect.POSTGRESQL,
) -> MigrationSet:
    """Load every `*.sql` of `folder`, in the SQL of `dialect`.

    Raises MigrationNameInvalid, MigrationInvalid, MigrationOrderBroken. A folder that is missing
    is an error; one without files is an empty set.
    """
    if not folder.is_dir():
        raise MigrationOrderBroken(namespace=namespace, reason=f"there is no folder {folder}")
    migrations = [
        parse_migration(namespace, path.name, path.read_text(encoding="utf-8"), dialect)
        for path in sorted(folder.glob("*.sql"))
    ]
    return build_set(namespace, migrations, mirrored=mirrored)


def label_files(namespace: str, folder: Path) -> tuple[Label, ...]:
    """What the files of a folder are called, in milliseconds: none of them is read."""
    found = (_FILE_NAME.match(path.name) for path in sorted(folder.glob("*.sql")))
    return tuple((namespace, int(each["version"]), each["name"]) for each in found if each)


def build_set(
    namespace: str, migrations: Iterable[Migration], *, mirrored: bool = False
) -> MigrationSet:
    """Order migrations into a set; raises MigrationOrderBroken for gaps and duplicates."""
    if not _NAMESPACE.match(namespace):
        raise MigrationOrderBroken(
            namespace=namespace, reason="the namespace is not a lower-case identifier"
        )
    ordered = tuple(sorted(migrations, key=lambda migration: migration.version))
    for expected, migration in enumerate(ordered, start=1):
        if migration.version < expected:
            reason = f"{migration.version:04} is there twice"
            raise MigrationOrderBroken(namespace=namespace, reason=reason)
        if migration.version > expected:
            raise MigrationOrderBroken(namespace=namespace, reason=f"{expected:04} is missing")
    return MigrationSet(namespace, ordered, mirrored)


@lru_cache(PARSED_MAX)
def parse_migration(
    namespace: str, file_name: str, text: str, dialect: Dialect = Dialect.POSTGRESQL
) -> Migration:
    """Read one file; raises MigrationNameInvalid or MigrationInvalid.

    Refuses a file without statements in either part, and statements that cannot or must not run
    in the transaction of a migration, or under its journal on MySQL.
    """
    match = _FILE_NAME.match(file_name)
    if match is None or match["version"] == "0000":
        raise MigrationNameInvalid(file=file_name)
    text = normalise(text)
    file = f"{namespace}/{file_name}"
    up, down, down_line = _split_parts(file, text)
    migration = Migration(
        namespace=namespace,
        version=int(match["version"]),
        name=match["name"],
        up=up,
        down=down,
        checksum=hashlib.sha256(text.encode()).hexdigest(),
        down_line=down_line,
        dialect=dialect,
    )
    _check_statements(file, migration)
    return migration


def normalise(text: str) -> str:
    """`text` with what editors change unasked made equal: line ends and spaces before them."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n") + "\n"


def _split_parts(file: str, text: str) -> tuple[str, str, int]:
    marks = list(_DOWN.finditer(text))
    if not marks:
        raise MigrationInvalid(
            file=file, line=text.count("\n"), reason="there is no line '-- migrate:down'"
        )
    if len(marks) > 1:
        line = text.count("\n", 0, marks[1].start()) + 1
        raise MigrationInvalid(file=file, line=line, reason="'-- migrate:down' is there twice")
    mark = marks[0]
    return text[: mark.start()], text[mark.end() :], text.count("\n", 0, mark.end()) + 1


def _check_statements(file: str, migration: Migration) -> None:
    try:
        parts = {"up": migration.up_statements, "down": migration.down_statements}
    except SqlUnreadable as error:
        raise MigrationInvalid(file=file, line=error.line, reason=str(error)) from None
    for part, statements in parts.items():
        if not statements:
            line = 1 if part == "up" else migration.down_line
            raise MigrationInvalid(file=file, line=line, reason=f"the {part} part is empty")
        for statement in statements:
            is_mysql = migration.dialect is Dialect.MYSQL
            refusal = (find_mysql_refusal if is_mysql else find_refusal)(statement)
            if refusal is not None:
                raise MigrationInvalid(file=file, line=statement.line, reason=refusal)
