import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bulkhead.capabilities.vault.errors import ExportUnusable
from bulkhead.capabilities.vault.master_keys import MasterKeys
from bulkhead.cli.main import cli
from bulkhead.engine.errors import Invalid, NotFound

PASSPHRASE = "correct horse battery"  # noqa: S105


def run(home: Path, *arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(
        cli, ["--home", str(home), *arguments], input=typed, standalone_mode=False
    )


def test_a_lost_master_key_comes_back_from_its_export(tmp_path: Path) -> None:
    masters = MasterKeys(tmp_path / "keys" / "master.key")
    masters.ensure()
    kept = (masters.rotate(), masters.keys[1])
    export = str(tmp_path / "export.json")
    typed = f"{PASSPHRASE}\n{PASSPHRASE}\n"
    result = run(tmp_path, "--json", "secret", "export-key", export, typed=typed)
    assert result.exception is None
    assert json.loads(result.stdout)["keys"] == [key.id.hex() for key in kept]
    assert PASSPHRASE not in result.output
    masters.path.unlink()
    result = run(tmp_path, "secret", "import-key", export, typed="another passphrase\n")
    assert isinstance(result.exception, ExportUnusable)
    assert not masters.path.exists()
    assert run(tmp_path, "secret", "import-key", export, typed=f"{PASSPHRASE}\n").exit_code == 0
    assert masters.keys == kept


def test_an_import_does_not_take_the_place_of_a_newer_key(tmp_path: Path) -> None:
    masters = MasterKeys(tmp_path / "keys" / "master.key")
    old = masters.ensure()
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    export, given = str(tmp_path / "export.json"), str(tmp_path / "passphrase")
    run(tmp_path, "secret", "export-key", "--passphrase-file", given, export)
    masters.path.unlink()
    new = MasterKeys(masters.path).ensure()
    run(tmp_path, "secret", "import-key", "--passphrase-file", given, export)
    assert MasterKeys(masters.path).keys == (new, old)


@pytest.mark.parametrize("passphrase", ["short", ""])
def test_a_short_passphrase_is_refused(tmp_path: Path, passphrase: str) -> None:
    MasterKeys(tmp_path / "keys" / "master.key").ensure()
    (tmp_path / "passphrase").write_text(passphrase)
    given = ("--passphrase-file", str(tmp_path / "passphrase"))
    result = run(tmp_path, "secret", "export-key", *given, str(tmp_path / "export.json"))
    assert isinstance(result.exception, Invalid)


def test_where_there_is_no_master_key_there_is_nothing_to_export(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    given = ("--passphrase-file", str(tmp_path / "passphrase"))
    result = run(tmp_path, "secret", "export-key", *given, str(tmp_path / "export.json"))
    assert isinstance(result.exception, NotFound)
    assert not (tmp_path / "export.json").exists()
