from pathlib import Path
from typing import Any

import click
import pytest

from bulkhead.cli.connection import config_of, parse_labels

PLACE = {"host": "db.example.com", "database": "shop", "username": "shop"}


def options(**given: Any) -> dict[str, Any]:
    names = ("host", "port", "database", "username", "password_file", "tls", "ca_file",
             "project_url", "organization", "region")  # fmt: skip
    return {"kind": "postgresql", "pooled": False, **dict.fromkeys(names), **given}


@pytest.mark.parametrize(
    "given",
    [
        {"database": "shop"},
        {"username": "shop"},
        {"port": 5432},
        {"tls": "disable"},
        {"pooled": True},
        {"host": "db.example.com"},
        {"host": "db.example.com", "database": "shop"},
        {"host": "db.example.com", "username": "shop", "kind": "mysql"},
        {**PLACE, "host": "db.example.com:5432"},
    ],
)
def test_options_that_say_too_little_are_refused_before_a_password_is_asked_for(
    given: dict[str, Any],
) -> None:
    with pytest.raises(click.UsageError):
        config_of(options(**given))


def test_a_password_comes_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" long and odd \r\n")
    body = config_of(options(**PLACE, password_file=file))
    assert body.password is not None
    assert body.password.get_secret_value() == " long and odd "
    assert config_of(options()).is_empty


def test_labels_are_read_by_their_first_equals_sign() -> None:
    assert parse_labels(("region=eu", "note=a=b", "empty=")) == {
        "region": "eu",
        "note": "a=b",
        "empty": "",
    }
    for wrong in ("region", "=eu", ""):
        with pytest.raises(click.BadParameter):
            parse_labels((wrong,))
