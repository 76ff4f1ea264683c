"""Bodies of the media type `text/csv`. Source: RFC 4180; cassava, by which PostgREST reads it."""

import json
import re

from bulkhead.gateway.rest.errors import BodyInvalid

NULL = "NULL"

_CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|([^",\r\n]*+))(,|\r\n|\n|\r|\Z)')


def parse_csv(text: str) -> list[dict[str, str | None]]:
    """The rows below the line of names; an unquoted or quoted `NULL` is null.

    Raises BodyInvalid when it is no CSV or rows have too few cells; what is too many is left out.
    """
    lines = _parse_lines(text)
    if not lines:
        raise BodyInvalid(reason='parse error (not enough input) at ""')
    names, *rows = lines
    widths = {min(len(row), len(names)) for row in rows}
    if len(widths) > 1:
        raise BodyInvalid(reason="All lines must have same number of fields")
    return [
        {
            name: None if cell == NULL else cell
            for name, cell in zip(names, row, strict=False)  # rows may be of other lengths
        }
        for row in rows
    ]


def csv_to_json(text: str) -> tuple[str, frozenset[str]]:
    """The rows as a JSON list of objects, and the names of their keys."""
    rows = parse_csv(text)
    return json.dumps(rows, ensure_ascii=False), frozenset(rows[0] if rows else ())


def _parse_lines(text: str) -> list[list[str]]:
    """Lines of cells, without the blank ones."""
    lines: list[list[str]] = []
    line: list[str] = []
    at = 0
    while at < len(text) or line:
        cell = _CELL.match(text, at)
        if not cell:
            raise BodyInvalid(reason=f"parse error at {json.dumps(text[at : at + 20])}")
        quoted, plain, end = cell.groups()
        line.append(plain if quoted is None else quoted.replace('""', '"'))
        at = cell.end()
        if end == ",":
            continue
        if line != [""]:
            lines.append(line)
        line = []
    return lines
