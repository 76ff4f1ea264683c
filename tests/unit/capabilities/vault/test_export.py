import json
import os
import stat
from pathlib import Path

import pytest

from bulkhead.capabilities.vault.envelope import KEY_BYTES, MasterKey
from bulkhead.capabilities.vault.errors import ExportUnusable
from bulkhead.capabilities.vault.export import export_keys, import_keys
from bulkhead.engine.errors import Invalid

KEYS = (MasterKey(os.urandom(KEY_BYTES)), MasterKey(os.urandom(KEY_BYTES)))
PASSPHRASE = "correct horse battery"  # noqa: S105


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An export, made once: stretching the passphrase takes a third of a second."""
    path = tmp_path_factory.mktemp("export") / "keys.json"
    export_keys(path, KEYS, PASSPHRASE)
    return path.read_bytes()


def test_an_export_gives_the_keys_back_for_the_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    export_keys(path, KEYS, PASSPHRASE)
    assert import_keys(path, PASSPHRASE) == KEYS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(key.value in path.read_bytes() for key in KEYS)
    with pytest.raises(ExportUnusable, match="another one"):
        import_keys(path, PASSPHRASE + "!")


def test_an_export_that_was_changed_is_refused(tmp_path: Path, exported: bytes) -> None:
    path = tmp_path / "keys.json"
    document = json.loads(exported)
    for part, value in (("wrapped", "AAAA"), ("nonce", "x"), ("format", "?"), ("scrypt", None)):
        path.write_text(json.dumps(document | {part: value}))
        with pytest.raises(ExportUnusable):
            import_keys(path, PASSPHRASE)
    path.write_text("nonsense")
    with pytest.raises(ExportUnusable):
        import_keys(path, PASSPHRASE)
    with pytest.raises(ExportUnusable):
        import_keys(tmp_path / "none", PASSPHRASE)


def test_a_short_passphrase_and_a_file_that_is_there_are_refused(
    tmp_path: Path, exported: bytes
) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(Invalid, match="at least 12"):
        export_keys(path, KEYS, "short")
    path.write_bytes(exported)
    with pytest.raises(Invalid, match="already"):
        export_keys(path, KEYS, PASSPHRASE)
    assert path.read_bytes() == exported
