"""What the root of the command line does with mistakes."""

import sys
from pathlib import Path

import pytest

from bulkhead.cli.main import main


def call(patch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command."""
    patch.setattr(sys, "argv", ["bulkhead", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_who_looks_into_a_wrong_folder_leaves_nothing_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    looks = (("tenant", "list", "--home", str(home)), ("migrate", "status", f"--home={home}"))
    for look in looks:
        assert call(monkeypatch, *look) == 4
        assert f"[home_empty] There are no databases in '{home}' yet." in capsys.readouterr().err
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "", "--owner", "a@example.com"), "name: String should have at least 1"),
        (("create", "x", "--owner", "a@example.com", "--slug", "s" * 201), "slug: String should"),
        (("test", "--host", "h" * 300, "--database", "d", "--username", "u"), "host: String"),
    ],
)
def test_what_the_api_would_not_take_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    (password := tmp_path / "password").write_text("kept apart")
    options = ("--password-file", str(password)) if arguments[0] == "test" else ()
    assert call(monkeypatch, "provision", *arguments, *options, "--home", str(tmp_path)) == 2
    told = capsys.readouterr().err
    assert f"[invalid] The input is not acceptable: {said}" in told
    assert "kept apart" not in told
