"""Check what no linter checks: sizes, the shape of applications, where SQL and commits live.

`python tools/check_shape.py src/bulkhead tests` prints one line for each violation; exit code 1 if
any. Of tests only the size of files is checked.
Suppress one line with `# shape: <code>` and a reason.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

APPLICATION_FILES_REQUIRED = {"README.md", "__init__.py", "application.py", "topology.py"}
APPLICATION_FILES = APPLICATION_FILES_REQUIRED | {
    "accounts.py",
    "answers.py",
    "copies.py",
    "data_routes.py",
    "events.py",
    "fleet.py",
    "handlers.py",
    "invariants.py",
    "jobs.py",
    "media.py",
    "media_checks.py",
    "media_copies.py",
    "media_routes.py",
    "media_uploads.py",
    "routes.py",
    "sagas.py",
    "sample.py",
    "storage.py",
    "views.py",
}
SLICE_FILES = {"__init__.py", "model.py", "queries.sql", "routes.py", "service.py"}
NOT_DATABASES = {"sample", "__pycache__"}

SQL_HOMES = ("engine/", "gateway/rest/sql")
COMMIT_HOMES = ("engine/connections/", "engine/drivers/", "engine/fleet/connection")
SQL = re.compile(
    r"^\s*(select\b.+\bfrom|insert\s+into|update\s+\w+\s+set|delete\s+from|with\s+\w+\s+as\s*\()",
    re.IGNORECASE | re.DOTALL,
)
STAR = re.compile(r"\bselect\s+\*|\breturning\s+\*|\b[a-z_]+\.\*", re.IGNORECASE)

Finding = tuple[int, str, str]
Violation = tuple[Path, int, str, str]


def main(root: Path, *tests: Path) -> int:
    """Check the package at `root` and the tests in folders; return the exit code."""
    violations = [*check_applications(root / "apps")]
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        source = path.read_text(encoding="utf-8")
        violations += [(path, *finding) for finding in check_module(source, name)]
    for path in sorted(root.rglob("queries.sql")):
        source = path.read_text(encoding="utf-8")
        violations += [(path, *finding) for finding in check_queries(source)]
    for path in sorted(path for folder in tests for path in folder.rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        violations += [(path, *finding) for finding in check_size(lines)]
    for path, line, code, message in violations:
        print(f"{path}:{line}: {code} {message}")
    return 1 if violations else 0


def check_size(lines: list[str]) -> Iterator[Finding]:
    """Require a file to be short enough to be read at once."""
    if len(lines) > FILE_LINES_MAX:
        yield 1, "size-file", f"{len(lines)} lines, at most {FILE_LINES_MAX}: split the concept"


def check_module(source: str, name: str) -> Iterator[Finding]:
    """Size, SQL and commits of the module called `name`, for example `web/server.py`."""
    lines = source.splitlines()
    yield from check_size(lines)
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }
    for node in ast.walk(tree):
        found = None if id(node) in docstrings else check_node(node, name)
        if found and f"# shape: {found[1]}" not in lines[found[0] - 1]:
            yield found
    if name.startswith("apps/") and name.endswith("/service.py"):
        yield from check_service(tree)


def check_node(node: ast.AST, name: str) -> Finding | None:
    """One node: too long, a stray commit, or SQL outside its home."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if (
            size := (node.end_lineno or 0) - node.lineno + 1
        ) > FUNCTION_LINES_MAX:
            message = f"{node.name} has {size} lines, at most {FUNCTION_LINES_MAX}"
            return node.lineno, "size-function", message
        case ast.Call(func=ast.Attribute(attr="commit" | "rollback")) if not name.startswith(
            COMMIT_HOMES
        ):
            return node.lineno, "commit", "only engine/connections ends a transaction"
        case ast.Constant(value=str(text)) if SQL.match(text) and not name.startswith(SQL_HOMES):
            return node.lineno, "sql", "SQL belongs in queries.sql"
    return None


def check_service(tree: ast.Module) -> Iterator[Finding]:
    """Require a use case to name its transaction first: `place_order(tx, ...)`."""
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
            first = node.args.args[0].arg if node.args.args else ""
            if first not in {"tx", "db"}:
                message = f"{node.name}: first argument is `tx` (writes) or `db` (reads)"
                yield node.lineno, "service-signature", message


def check_queries(source: str) -> Iterator[Finding]:
    """Require a named query to list its columns and to say in a sentence what it does."""
    lines = source.splitlines()
    for number, line in enumerate(lines, start=1):
        if STAR.search(line.split("--")[0]):
            yield number, "sql-star", "list the columns"
        following = lines[number] if number < len(lines) else ""
        if line.startswith("-- name:") and not following.startswith("-- "):
            yield number, "sql-sentence", "say below the name what the query does"


def check_applications(apps: Path) -> Iterator[Violation]:
    """Every application has the same files, every slice only files of a slice."""
    for app in folders(apps):
        names = {path.name for path in app.iterdir()}
        for missing in sorted(APPLICATION_FILES_REQUIRED - names):
            yield app, 1, "shape-application", f"{missing} is missing"
        for path in sorted(app.iterdir()):
            if path.is_file() and path.name not in APPLICATION_FILES:
                yield path, 1, "shape-application", "is not a file of an application"
        for database in folders(app):
            if database.name not in NOT_DATABASES:
                yield from check_database(database)


def check_database(database: Path) -> Iterator[Violation]:
    """Require a database folder to hold migrations and slices."""
    if not (database / "migrations").is_dir():
        yield database, 1, "shape-database", "migrations/ is missing"
    for slice_ in folders(database):
        if slice_.name != "migrations":
            for path in sorted(slice_.iterdir()):
                if path.name not in SLICE_FILES | {"__pycache__"}:
                    yield path, 1, "shape-slice", "is not a file of a slice"


def folders(path: Path) -> list[Path]:
    """The folders in `path`, sorted; none when there is no such path."""
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and p.name != "__pycache__")


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
