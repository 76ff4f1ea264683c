import io
from pathlib import Path
from typing import Any

import click
import pytest

from bulkhead.cli.bucket_options import bucket_of, is_given
from bulkhead.engine.errors import Invalid

PLACE = {"bucket": "pictures", "region": "eu-central-1", "access_key_id": "AKIA"}


def options(**given: Any) -> dict[str, Any]:
    names = ("bucket", "region", "endpoint", "project_url", "access_key_id", "secret_file", "file")
    return {"kind": "aws-s3", **dict.fromkeys(names), **given}


def test_a_secret_comes_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("long/and+odd\r\n")
    config = bucket_of(options(**PLACE, secret_file=file)).to_config()
    assert (config.secret, config.bucket) == ("long/and+odd", "pictures")
    assert config.endpoint == "https://s3.eu-central-1.amazonaws.com"


def test_a_secret_that_is_piped_in_is_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("long/and+odd\nand more\n"))
    assert bucket_of(options(**PLACE)).to_config().secret == "long/and+odd"  # noqa: S105
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(click.UsageError, match="--secret-file"):
        bucket_of(options(**PLACE))


def test_a_document_is_not_asked_for_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("{}"))
    with pytest.raises(click.UsageError, match="--secret-file"):
        bucket_of(options(kind="google-cloud-storage", bucket="pictures"))


def test_what_a_file_says_is_checked_without_repeating_it(tmp_path: Path) -> None:
    file = tmp_path / "storage.json"
    for text in ("", "[]", '{"storageType": "ftp", "config": {"bucket": "hunter2"}}', "\xff"):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(Invalid) as refused:
            bucket_of(options(file=file))
        assert "hunter2" not in f"{refused.value!r} {refused.value.__cause__!r}"


def test_a_trial_without_options_is_of_the_bucket_that_there_is() -> None:
    assert not is_given(options())
    assert all(is_given(options(**{name: "x"})) for name in (*PLACE, "secret_file", "file"))
