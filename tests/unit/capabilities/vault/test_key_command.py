"""Master keys from a command: what it prints is used, and nothing of it is repeated."""

import base64
import os
import shlex
import sys
from pathlib import Path

import pytest

from bulkhead.capabilities.vault import key_command
from bulkhead.capabilities.vault.envelope import KEY_BYTES, MasterKey
from bulkhead.capabilities.vault.errors import MasterKeyUnusable, RotationRefused
from bulkhead.capabilities.vault.key_command import CommandKeys
from bulkhead.capabilities.vault.master_keys import open_master_keys
from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.settings import Settings, load_settings


def printing(code: str) -> str:
    """A command that runs Python, and counts in the file `runs` how often it was run."""
    return shlex.join([sys.executable, "-c", f"open('runs', 'a').write('x'); {code}"])


def showing(*values: bytes) -> str:
    text = "\n".join(base64.b64encode(value).decode() for value in values)
    return printing(f"print({text!r})")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def runs() -> int:
    return len(Path("runs").read_text())


def test_what_a_command_prints_is_kept_for_the_life_of_the_process() -> None:
    new, old = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
    keys = open_master_keys(Settings(master_key_command=showing(new, old)))
    assert not Path("runs").exists(), "nothing is read before it is needed"
    assert keys.keys == (MasterKey(new), MasterKey(old))
    assert keys.ensure() == MasterKey(new)
    assert keys.find(MasterKey(old).id) == MasterKey(old)
    assert runs() == 1
    assert keys.path is None


def test_a_key_that_was_not_printed_is_asked_for_again_but_not_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = (MasterKey(os.urandom(KEY_BYTES)) for _ in range(2))
    keys = CommandKeys("cat keys")
    text = [base64.b64encode(key.value).decode() for key in (first, second)]
    Path("keys").write_text(text[0])
    assert keys.ensure() == first
    Path("keys").write_text("\n".join(reversed(text)))
    assert keys.find(second.id) is None, "it was asked a moment ago"
    monkeypatch.setattr(key_command, "AGAIN_S", 0)
    assert keys.find(second.id) == second
    assert keys.ensure() == second
    assert keys.find(b"none") is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "status 3"),
        ("print()", "empty"),
        ("print('hunter2')", "something else"),
        ("print('A' * 100_000)", "too long"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
    ],
)
def test_a_command_that_prints_no_key_is_said_without_being_quoted(code: str, reason: str) -> None:
    verify_said_without_being_quoted(CommandKeys(printing(code) + " --token hunter2"), reason)


def test_a_command_that_prints_nothing_in_time_is_said_without_being_quoted() -> None:
    command = printing("import time; time.sleep(60)") + " --token hunter2"
    verify_said_without_being_quoted(CommandKeys(command, timeout_s=1), "nothing came")


def verify_said_without_being_quoted(keys: CommandKeys, reason: str) -> None:
    with pytest.raises(MasterKeyUnusable, match=reason) as caught:
        keys.ensure()
    assert "hunter2" not in caught.value.message
    assert "BULKHEAD_MASTER_KEY_COMMAND" in (caught.value.advice or "")


@pytest.mark.parametrize("command", ["/no/such/program", "'", " ", "/"])
def test_what_is_no_command_is_refused(command: str) -> None:
    with pytest.raises(MasterKeyUnusable):
        CommandKeys(command).ensure()


def test_no_shell_reads_the_command() -> None:
    keys = CommandKeys("echo $(touch made) ; touch made")
    with pytest.raises(MasterKeyUnusable, match="something else"):
        keys.ensure()
    assert not Path("made").exists()


def test_keys_of_an_operator_are_not_ours_to_change() -> None:
    keys = CommandKeys(showing(os.urandom(KEY_BYTES)))
    with pytest.raises(RotationRefused, match="begin with a new key"):
        keys.rotate()
    with pytest.raises(MasterKeyUnusable):
        keys.add(MasterKey(os.urandom(KEY_BYTES)))


def test_a_file_and_a_command_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKHEAD_MASTER_KEY_COMMAND", "cat keys")
    assert load_settings(tmp_path).master_key_command == "cat keys"
    monkeypatch.setenv("BULKHEAD_MASTER_KEY_FILE", "keys")
    with pytest.raises(ConfigurationInvalid, match="exclude"):
        load_settings(tmp_path)
