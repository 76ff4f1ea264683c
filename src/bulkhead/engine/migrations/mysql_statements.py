r"""Split SQL text for MySQL and MariaDB into statements, and refuse what a journal cannot follow.

Knows of their lexer what it takes to find the semicolons that end a statement: strings in which a
backslash escapes, names in backticks, three kinds of comments, and the bodies of triggers and
procedures between BEGIN and END.
"""

import re
from dataclasses import dataclass, field

from bulkhead.engine.migrations.statements import SqlUnreadable, Statement

_TOKEN = re.compile(
    r"""
    (?P<comment>--(?=[\s]|$)[^\n]*|\#[^\n]*)
  | (?P<block>/\*)
  | (?P<quoted>'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*")
  | (?P<name>`(?:[^`]|``)*`)
  | (?P<word>[A-Za-z_$\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
  | (?P<number>[0-9][A-Za-z0-9_.]*)
  | (?P<end>;)
  | (?P<broken>['"`])
  | (?P<space>\s+)
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE = " \t\n\r\f\v\x1c\x1d\x1e\x1f"
"""What the pattern takes for space. Spaces beyond ASCII may be names, so that none is cut off."""
_BODIES = frozenset(["trigger", "procedure", "function", "event"])
_BLOCKS = frozenset(["if", "loop", "while", "repeat"])
_BEFORE_STATEMENTS = frozenset(["begin", "then", "else", "do", "loop", "repeat", "row"])
_CONTROL = frozenset(
    ["begin", "start", "commit", "rollback", "savepoint", "release", "lock", "unlock", "xa"]
)
_ELSEWHERE = frozenset(["use", "delimiter", "source", "call", "load"])
CHANGES_ROWS = frozenset(["insert", "update", "delete", "replace", "with"])
"""First words of statements that end with the transaction that they run in."""


def split_mysql_statements(text: str) -> tuple[Statement, ...]:
    """Split `text` at the semicolons that end statements; raises SqlUnreadable."""
    scanner = _Scanner(text)
    scanner.run()
    return tuple(scanner.statements)


def find_mysql_refusal(statement: Statement) -> str | None:
    """Why `statement` may not stand in a migration, or None.

    Each statement that changes the schema commits by itself, and is noted in a journal: so it must
    either take effect as a whole or not at all, also when the server dies.
    """
    words = statement.words
    first, second = (*words, "", "")[:2]
    if first in _CONTROL:
        return "each statement commits by itself, and the journal knows how far it came"
    if first in _ELSEWHERE:
        return f"'{first}' leads out of the database that is migrated, or hides what is done"
    if first == "set":
        return "a setting would be lost when the migration goes on after an interruption"
    if (first, second) in {("create", "database"), ("drop", "database"), ("create", "user")}:
        return "a migration changes one database, and nothing around it"
    if first in ("drop", "rename") and second in ("table", "tables", "view"):
        return _find_list_refusal(statement)
    return None


def _find_list_refusal(statement: Statement) -> str | None:
    if "," in re.sub(r"`(?:[^`]|``)*`", "", statement.text):
        return "several tables in one statement can be left half done; write one for each"
    return None


@dataclass(slots=True)
class _Scanner:
    text: str
    statements: list[Statement] = field(default_factory=list)
    position: int = 0
    start: int | None = None
    words: list[str] = field(default_factory=list)
    depth: int = 0
    fresh: bool = False
    """Whether a statement of a body may begin here."""

    def run(self) -> None:
        while self.position < len(self.text):
            match = _TOKEN.match(self.text, self.position)
            kind = match.lastgroup if match else "other"
            begin = self.position
            self.position = match.end() if match else begin + 1
            self._take(kind or "other", begin)
        self._cut(len(self.text))

    def _take(self, kind: str, begin: int) -> None:
        if kind == "block":
            end = self.text.find("*/", self.position)
            if end < 0:
                raise SqlUnreadable(self._line(begin), "a comment is never closed")
            self.position = end + 2
        elif kind == "broken":
            raise SqlUnreadable(self._line(begin), "a quote is never closed")
        elif kind == "end" and self.depth == 0:
            self._cut(begin)
        elif kind == "end":
            self.fresh = True
        elif kind not in ("space", "comment"):
            if self.start is None:
                self.start = begin
            text = self.text[begin : self.position].lower()
            if kind == "word":
                self._take_word(text)
            self.fresh = text == ":" or (kind == "word" and text in _BEFORE_STATEMENTS)

    def _take_word(self, word: str) -> None:
        previous = self.words[-1] if self.words else ""
        if self._has_body:
            if word == "end":
                self.depth = max(0, self.depth - 1)
            elif previous != "end" and self._opens(word):
                self.depth += 1
        self.words.append(word)

    @property
    def _has_body(self) -> bool:
        return bool(self.words) and self.words[0] == "create" and bool(_BODIES & set(self.words))

    def _opens(self, word: str) -> bool:
        """Whether a block begins; IF and REPEAT are functions too, and each CASE has an end."""
        return word in ("begin", "case") or (word in _BLOCKS and self.fresh)

    def _cut(self, end: int) -> None:
        if self.start is not None:
            text = self.text[self.start : end].rstrip(_SPACE)
            self.statements.append(Statement(text, self._line(self.start), tuple(self.words)))
        self.start, self.words, self.depth = None, [], 0

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1
