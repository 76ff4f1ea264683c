"""Split SQL text into statements, and refuse those that do not belong in a migration.

A statement is sent alone, so that a failure names its line. The splitter knows just enough of
PostgreSQL's lexer (chapter 4.1 of its manual) to find the semicolons that end a statement: strings,
quoted names, dollar quotes, nested comments, parentheses and `begin atomic` bodies.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*)
  | (?P<block>/\*)
  | (?P<escaped>[eE]'(?:[^'\\]|''|\\.)*')
  | (?P<quoted>'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*")
  | (?P<dollar>\$(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?\$)
  | (?P<number>[0-9][A-Za-z0-9_.]*)
  | (?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
  | (?P<open>[(\[])
  | (?P<close>[)\]])
  | (?P<end>;)
  | (?P<broken>['"])
  | (?P<space>\s+)
  | (?P<meta>\\)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")

_TRANSACTION_WORDS = frozenset(
    ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare"]
)
_OUTSIDE_ONLY = frozenset(
    [
        ("vacuum",),
        ("create", "database"),
        ("drop", "database"),
        ("create", "tablespace"),
        ("drop", "tablespace"),
        ("alter", "system"),
        ("create", "subscription"),
        ("drop", "subscription"),
        ("reindex", "database"),
        ("reindex", "system"),
    ]
)
_SCOPE_SETTINGS = frozenset(["role", "session", "all"])


class SqlUnreadable(ValueError):
    """SQL text that cannot be split; `line` is where the unfinished part begins."""

    def __init__(self, line: int, reason: str) -> None:
        """Remember the place."""
        self.line = line
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its semicolon."""

    text: str
    line: int
    """The line of its first word, counted from 1."""
    words: tuple[str, ...]
    """Its unquoted words in lower case; strings, names in quotes and bodies left out."""

    @property
    def first_line(self) -> str:
        """Its first line, for messages."""
        return self.text.splitlines()[0].strip()


def split_statements(text: str) -> tuple[Statement, ...]:
    """Split `text` at the semicolons that end statements; raises SqlUnreadable."""
    scanner = _Scanner(text)
    while scanner.position < len(text):
        scanner.step()
    scanner.finish()
    return tuple(scanner.statements)


def find_refusal(statement: Statement) -> str | None:
    """Why `statement` may not stand in a migration, or None.

    A migration runs in a transaction that is not its own, as the owner of the database and with
    settings that the next migration must not inherit.
    """
    words = statement.words
    first, second = (*words, "", "")[:2]
    if statement.text.startswith("\\"):
        return "psql's commands are not SQL"
    if first in _TRANSACTION_WORDS:
        return "a migration is part of a transaction already and may not control it"
    if first == "copy" and "stdin" in words:
        return "there is no standard input to copy from; use insert"
    if "concurrently" in words and first in ("create", "drop", "reindex", "alter"):
        return "'concurrently' cannot run in a transaction"
    if (first,) in _OUTSIDE_ONLY or (first, second) in _OUTSIDE_ONLY:
        return f"'{statement.first_line.rstrip(';')[:60]}' cannot run in a transaction"
    return _find_setting_refusal(words)


def _find_setting_refusal(words: tuple[str, ...]) -> str | None:
    first, second, third = (*words, "", "", "")[:3]
    if first in ("set", "reset") and (
        second in _SCOPE_SETTINGS or (second == "local" and third in _SCOPE_SETTINGS)
    ):
        return "a migration runs as the owner of the database and may not change who it is"
    if first == "set" and second not in ("local", "constraints"):
        return "a setting would outlive the migration; write 'set local'"
    if first in ("reset", "discard"):
        return "settings are reset after each migration"
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.statements: list[Statement] = []
        self._start: int | None = None
        self._words: list[str] = []
        self._parentheses = 0
        self._atomic = 0

    def step(self) -> None:
        match = _TOKEN.match(self.text, self.position)
        kind = match.lastgroup if match else "other"
        begin = self.position
        self.position = match.end() if match else begin + 1
        if kind == "block":
            self._skip_block(begin)
        elif kind == "end" and self._parentheses == 0 and self._atomic == 0:
            self._cut(begin)
        elif kind not in ("space", "comment", "end"):
            if self._start is None:
                self._start = begin
            self._take(kind or "other", begin)

    def finish(self) -> None:
        self._cut(len(self.text))

    def _take(self, kind: str, begin: int) -> None:
        if kind == "dollar":
            tag = self.text[begin : self.position]
            self.position = self._after(tag, begin, f"the dollar quote {tag} is never closed")
        elif kind == "broken":
            raise SqlUnreadable(self._line(begin), "a quote is never closed")
        elif kind == "open":
            self._parentheses += 1
        elif kind == "close":
            self._parentheses = max(0, self._parentheses - 1)
        elif kind == "word":
            self._take_word(self.text[begin : self.position].lower())

    def _take_word(self, word: str) -> None:
        if self._atomic:
            self._atomic += {"case": 1, "end": -1}.get(word, 0)
        elif word == "atomic" and self._words[-1:] == ["begin"]:
            self._atomic = 1
        self._words.append(word)

    def _skip_block(self, begin: int) -> None:
        depth = 1
        while depth:
            edge = _BLOCK_EDGE.search(self.text, self.position)
            if edge is None:
                raise SqlUnreadable(self._line(begin), "a comment is never closed")
            depth += 1 if edge.group() == "/*" else -1
            self.position = edge.end()

    def _after(self, mark: str, begin: int, reason: str) -> int:
        found = self.text.find(mark, self.position)
        if found < 0:
            raise SqlUnreadable(self._line(begin), reason)
        return found + len(mark)

    def _cut(self, end: int) -> None:
        if self._start is not None:
            text = self.text[self._start : end].rstrip()
            self.statements.append(Statement(text, self._line(self._start), tuple(self._words)))
        self._start, self._words = None, []
        self._parentheses = self._atomic = 0

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1
