"""`bulkhead demo` as it is called, with a server of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.unit.demo.retail_rows import EVERYTHING, file_text

from bulkhead.engine.testing import MEMORY


def demo(*arguments: str, folder: Path) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bulkhead", "--json", "-q", "demo", *arguments],
        cwd=folder,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # Where the databases are made; in memory, syncing costs nothing.
            "TMPDIR": str(MEMORY if MEMORY.is_dir() else folder),
        },
        capture_output=True,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def test_a_file_with_every_kind_of_dirt_is_replayed_and_proven(tmp_path: Path) -> None:
    path = tmp_path / "retail.csv"
    path.write_text(file_text(*EVERYTHING), encoding="utf-8")
    code, told = demo("--data", str(path), "--clients", "3", folder=tmp_path)
    assert (code, told["holds"]) == (0, True), told["proofs"]
    counted = told["replay"]
    assert counted["orders"] == 4
    # Two orders want 70 lamps at 2.55, of which there are 35 on purpose.
    assert (counted["confirmed"], counted["refused_for_stock"], counted["cancelled"]) == (3, 1, 1)
    assert sum(each["lines"] for each in told["lines"].values()) == len(EVERYTHING)
    [revenue] = [each for each in told["proofs"] if each["name"].startswith("revenue")]
    assert revenue["detail"] == "2 sums, 2 orders, 4 units, 8.62"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["retail.csv"], "nothing is left"


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    code, told = demo("--data", str(path), folder=tmp_path)
    assert code == 2
    assert told["error"]["code"] == "retail_unreadable"
    assert "--data" in told["error"]["hint"]
