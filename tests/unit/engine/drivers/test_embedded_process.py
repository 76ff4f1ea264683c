import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.engine.drivers.embedded_process import (
    PidFile,
    ServerProcess,
    find_processes,
    is_server,
    read_pid_file,
)

RUNNING = "4711\n/data\n1795240383\n5433\n/run/pg\n127.0.0.1\n  2146969         9\nready   \n"


def write(data: Path, text: str) -> None:
    (data / "postmaster.pid").write_text(text)


def test_a_running_server_says_where_it_listens(tmp_path: Path) -> None:
    write(tmp_path, RUNNING)
    assert read_pid_file(tmp_path) == PidFile(4711, 5433, "/run/pg")


def test_a_single_user_server_has_a_minus(tmp_path: Path) -> None:
    write(tmp_path, "-4711\n/data\n1795240383\n0\n")
    assert read_pid_file(tmp_path) == PidFile(4711, 0, "", single_user=True)


@pytest.mark.parametrize("text", ["", "\n", "0\n", "garbage\n", "4711\n/data\n1\nx\n/run\n"])
def test_a_pid_file_without_sense_counts_as_none(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    assert read_pid_file(tmp_path) is None


def test_no_pid_file_is_none(tmp_path: Path) -> None:
    assert read_pid_file(tmp_path) is None


@given(st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_pid_file_leads_to_a_group_of_processes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "postmaster.pid").write_bytes(content)
    found = read_pid_file(tmp_path)
    # kill() takes zero and negative numbers for whole groups, ours among them.
    assert found is None or found.pid > 0


def test_a_process_that_only_stands_in_the_directory_is_no_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE) as other:
        assert not is_server(other.pid, tmp_path)
        assert list(find_processes(tmp_path)) == []
        ServerProcess(other.pid, tmp_path).send(signal.SIGKILL)
        assert other.poll() is None
    assert other.returncode == 0


async def test_a_process_that_is_gone_is_waited_for_no_longer(tmp_path: Path) -> None:
    assert await ServerProcess(os.getpid(), tmp_path).wait(60)
