import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulkhead.engine.private_file import ABSENT, locked, stamp_of, write_private


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "counter"


def count_up(path: Path) -> None:
    with locked(path):
        number = int(path.read_text()) if path.exists() else 0
        write_private(path, str(number + 1))


def test_a_file_is_for_its_owner_alone(path: Path) -> None:
    count_up(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_changes_at_the_same_time_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(count_up, path) for _ in range(40)]:
            done.result()
    assert path.read_text() == "40"


def test_a_stamp_tells_that_a_file_was_replaced_by_one_of_the_same_size(path: Path) -> None:
    assert stamp_of(path) == ABSENT
    count_up(path)
    before = stamp_of(path)
    assert stamp_of(path) == before
    count_up(path)
    assert stamp_of(path) != before


def test_a_change_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    count_up(path)
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "2\ud800")
    assert path.read_text() == "1"
    assert sorted(each.name for each in path.parent.iterdir()) == [".counter.lock", "counter"]
