"""Text that a server sent, fit to be shown: the server may be one that somebody else runs."""

from typing import Final

CHARACTERS_MAX: Final = 2000


def bounded(text: str | None) -> str | None:
    """The beginning of `text`, without what a terminal or a log would take for a command."""
    if text is None:
        return None
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text[:CHARACTERS_MAX]
    )
