import base64
import os
import stat
from pathlib import Path

import pytest

from bulkhead.capabilities.vault.envelope import KEY_BYTES, MasterKey
from bulkhead.capabilities.vault.errors import MasterKeyUnusable, RotationRefused
from bulkhead.capabilities.vault.master_keys import MasterKeys, open_master_keys
from bulkhead.engine.settings import Settings, load_settings


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    made = MasterKeys(path).ensure()
    assert MasterKeys(path).ensure() == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert made.value not in path.read_bytes()


def test_a_rotation_keeps_the_former_keys_below(tmp_path: Path) -> None:
    keys = MasterKeys(tmp_path / "master.key")
    first = keys.ensure()
    other = MasterKeys(keys.path)
    assert list(other.keys) == [first]
    second = keys.rotate()
    assert list(other.keys) == [second, first], "another process sees the change"
    assert other.find(first.id) == first
    assert other.find(b"none") is None


def test_a_file_that_is_gone_is_noticed(tmp_path: Path) -> None:
    keys = MasterKeys(tmp_path / "master.key")
    first = keys.ensure()
    keys.path.unlink()
    assert keys.find(first.id) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"# nothing\n", b"short", os.urandom(31), os.urandom(33), b"!" * 44, b"A" * 60],
    ids=["empty", "blank", "comment", "short", "31 bytes", "33 bytes", "no base64", "too long"],
)
def test_a_file_that_holds_no_key_is_refused_without_being_quoted(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(MasterKeyUnusable) as caught:
        MasterKeys(path).ensure()
    assert "short" not in str(caught.value)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, bytes])
def test_an_operator_s_file_may_be_raw_or_base64_and_is_left_alone(
    tmp_path: Path, encode: type[bytes]
) -> None:
    value = b"\xff\xfe" + os.urandom(30)
    path = tmp_path / "given.key"
    path.write_bytes(encode(value))
    keys = open_master_keys(Settings(master_key_file=path))
    assert keys.ensure() == MasterKey(value)
    with pytest.raises(RotationRefused, match="on top of"):
        keys.rotate()
    with pytest.raises(MasterKeyUnusable):
        keys.add(MasterKey(os.urandom(KEY_BYTES)))
    path.unlink()
    with pytest.raises(MasterKeyUnusable):
        open_master_keys(Settings(master_key_file=path)).ensure()


def test_settings_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert open_master_keys(load_settings(tmp_path, home=tmp_path)).path == (
        tmp_path / "keys" / "master.key"
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert open_master_keys(load_settings(tmp_path)).is_ours, "systemd gave none"
    (tmp_path / "bulkhead-master-key").write_bytes(os.urandom(KEY_BYTES))
    given = open_master_keys(load_settings(tmp_path))
    assert given.path == tmp_path / "bulkhead-master-key"
    assert not given.is_ours
    monkeypatch.setenv("BULKHEAD_MASTER_KEY_FILE", "/elsewhere")
    assert open_master_keys(load_settings(tmp_path)).path == Path("/elsewhere")
