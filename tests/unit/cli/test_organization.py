"""What the options of Supabase's organizations ask for, and refuse; nothing is opened for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bulkhead.cli.connection import config_of, database_options
from bulkhead.cli.server import server

SUPABASE = ["--type", "supabase-database"]
TOKEN = "sbp_0123"  # noqa: S105 - nobody's


def parse(*arguments: str, stdin: str | None = None) -> Any:
    """What the options mean, or the message of the refusal."""
    meant: list[Any] = []

    @click.command()
    @database_options
    def command(**options: Any) -> None:
        meant.append(config_of(options))

    result = CliRunner().invoke(command, list(arguments), input=stdin)
    return meant[0] if meant else result.output


def test_an_organization_is_an_account_with_its_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    named = [*SUPABASE, "--organization", "acme", "--region", "emea"]
    for body in (parse(*named, "--password-file", str(file)), parse(*named, stdin=f"{TOKEN}\n")):
        assert (body.organization_slug, body.region, body.password) == ("acme", "emea", None)
        assert body.access_token.get_secret_value() == TOKEN
        assert body.is_empty
        assert TOKEN not in repr(body)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--organization", "acme"], "--type supabase-database"),
        ([*SUPABASE, "--organization", "acme", "--host", "db.example.com"], "leave --host out"),
        ([*SUPABASE, "--organization", "acme", "--pooled"], "leave --pooled out"),
        ([*SUPABASE, "--project-url", "https://a.supabase.co", "--region", "eu"], "--organization"),
        ([*SUPABASE, "--region", "eu"], "--region: where is it?"),
        ([*SUPABASE, "--organization", "acme"], "a password is needed"),
    ],
)
def test_options_that_say_nothing_together_are_refused(arguments: list[str], message: str) -> None:
    assert message in parse(*arguments, stdin="")


@pytest.mark.parametrize(
    "arguments", [SUPABASE, [*SUPABASE, "--project-url", "https://a.supabase.co"]]
)
def test_a_server_of_supabase_is_an_organization(arguments: list[str]) -> None:
    result = CliRunner().invoke(server, ["add", "cloud", *arguments], input="x\n")
    assert result.exit_code == 2
    assert "--organization" in result.output
