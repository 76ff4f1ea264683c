"""Text that people are shown: nothing in it is unseen, and nothing turns the order of the rest.

A name with such characters looks like another one, or reads otherwise than a program takes it. The
characters are those that Unicode calls controls and formats, without the few that words and
pictures need. Source: The Unicode Standard, chapter 23, and its annex 9, section 2.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import AfterValidator

_UNSEEN: Final = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls
    r"\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates
    r"\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"  # of no width
    r"\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_IN_LINES: Final = (
    r"\t\n\r\u2028\u2029"  # ends of lines
    r"\xad\u061c\u200e\u200f"  # places to break at, and marks of a direction
)
_NOT_IN_TEXT: Final = re.compile(f"[{_UNSEEN}]")
_NOT_IN_LINE: Final = re.compile(f"[{_UNSEEN}{_IN_LINES}]")


def verify_text(text: str) -> str:
    """The text, of any number of lines; raises ValueError for what nobody sees in it."""
    return _verify(_NOT_IN_TEXT, text)


def verify_line(text: str) -> str:
    """The text, of one line, such as a name; raises ValueError for what nobody sees in it."""
    return _verify(_NOT_IN_LINE, text)


Shown = AfterValidator(verify_text)
"""For text of any number of lines: `Annotated[str, Field(max_length=2000), Shown]`."""
ShownLine = AfterValidator(verify_line)
"""For text of one line: `Annotated[str, Field(max_length=200), ShownLine]`."""


def _verify(unseen: re.Pattern[str], text: str) -> str:
    if found := unseen.search(text):
        message = f"must not have the invisible character U+{ord(found[0]):04X}"
        raise ValueError(message)
    return text
