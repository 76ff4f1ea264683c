"""Write docs/reference/errors.md from the error classes, or check that it is current.

`python tools/render_errors.py` writes it; with `--check` the exit code is 1 when it is not what
the code says.
"""

import sys
from itertools import groupby
from pathlib import Path

from bulkhead.engine.errors import BulkheadError
from bulkhead.web.error_catalogue import load_errors, message_of

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "errors.md"

HEAD = """\
# Errors

Every failure has a stable code. The HTTP API answers with `application/problem+json`, whose `code`
is one of these, and the command line prints it. `bulkhead explain CODE` shows the same text.
Words in braces are filled in with the details of the case.

This page is written by `python tools/render_errors.py`.
"""


def main(arguments: list[str]) -> int:
    """Write or check the page; return the exit code."""
    page = render_page(load_errors())
    if "--check" not in arguments:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/reference/errors.md is not current. Run: python tools/render_errors.py")
    return 1


def render_page(errors: list[type[BulkheadError]]) -> str:
    """Render the page: a section for each status, in it one for each code."""
    parts = [HEAD]
    for status, members in groupby(errors, key=lambda error: error.status):
        parts.append(f"## Status {status}\n")
        parts += [_render_error(error) for error in members]
    return "\n".join(parts)


def _render_error(error: type[BulkheadError]) -> str:
    lines = [f"### {error.code}", "", message_of(error), ""]
    if error.hint:
        lines += [f"What to do: {error.hint}", ""]
    if error.retry_after_s is not None:
        lines += [f"Worth repeating after {error.retry_after_s} s.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
