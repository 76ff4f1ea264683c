import pytest

from bulkhead.cli.output import Output
from bulkhead.cli.progress import LiveBar


def test_where_nobody_watches_each_state_is_one_line_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with LiveBar(Output()) as bar:
        for percent, text in ((5, "Opening"), (5, "Trying again"), (5, "Opening"), (100, "Ready")):
            bar.tell(percent, text)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["  5 %  Opening", "  5 %  Trying again", "100 %  Ready"]


def test_a_quiet_command_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveBar(Output(quiet=True)) as bar:
        bar.tell(5, "Opening")
        bar.note("said")
    assert capsys.readouterr() == ("", "")
