"""What the tree promises and no linter checks."""

import re
import subprocess
from collections import Counter
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest

from bulkhead.engine.topology import Topology

ROOT = Path(__file__).parents[2]
APPLICATIONS = sorted(path.parent.name for path in ROOT.glob("src/bulkhead/apps/*/topology.py"))

EMPTY_WORDS = re.compile(r"(?:^|_)(?:helpers?|utils?|managers?|common|misc)(?:_|\.|$)")
# Written apart, so that this file does not find itself.
STRANGE_TEXT = re.compile(
    "|".join(
        [
            "pypi" + r"\.org",
            "python" + r"hosted\.org",
            "npm" + r"js\.org",
            "/roo" + "t/",
            "/ho" + r"me/[a-z]",
            "/wo" + "rk/",
            "/Us" + "ers/",
            "file:" + "///",
        ]
    )
)


def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_is_called_after_nothing_in_particular() -> None:
    paths = [path.relative_to(ROOT) for path in tracked_files()]
    assert [path for path in paths if any(EMPTY_WORDS.search(part) for part in path.parts)] == []


def test_no_file_names_a_registry_or_a_place_on_somebody_s_machine() -> None:
    found = []
    for path in tracked_files():
        if path.suffix in {".png", ".ico", ".woff2", ".gz", ".br"}:
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line[:120]}"
            for number, line in enumerate(lines, start=1)
            if STRANGE_TEXT.search(line)
        ]
    assert found == []


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_independence_contract_lists_exactly_the_databases(application: str) -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    section = f"importlinter:contract:{application.replace('_', '-')}-databases"
    listed = contracts[section]["modules"].split()
    package = f"bulkhead.apps.{application}"
    topology: Topology = import_module(f"{package}.topology").TOPOLOGY
    expected = Counter(f"{package}.{database.name}" for database in topology.databases)
    assert Counter(listed) == expected
