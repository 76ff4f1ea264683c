"""A text read from left to right that knows, where it fails, what could have stood there.

Clients see these words (`unexpected ")" expecting letter, digit or "->"`), and they are PostgREST's
to the letter: the rules by which expectations gather, survive and are merged are those of the
parser that it is built with (Parsec 3). In short: what failed furthest to the right counts; what
failed at the same place is joined; what was optional is remembered until something is read.

A rule is a function of the scanner. It returns what it read, or raises `Failure`.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from bulkhead.gateway.rest.errors import QueryInvalid

_TAB = 8
_SHORT_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\\": "\\\\",
}
_PRINTABLE = re.compile(r"[ -~]*")

T = TypeVar("T")


class Expectation(NamedTuple):
    """What was found and what was expected at a place."""

    at: int = -1
    found: str | None = None
    """Quoted; an empty text is the end of the input."""
    unexpected: tuple[str, ...] = ()
    """Found in full, and not to be there; outdoes `found`."""
    expected: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return self.found is None and not self.unexpected and not self.expected

    def merged(self, other: "Expectation") -> "Expectation":
        """Both of them, or the one further to the right."""
        if other.is_empty:
            return self
        if self.is_empty or other.at > self.at:
            return other
        if self.at > other.at:
            return self
        return Expectation(
            self.at,
            self.found if self.found is not None else other.found,
            self.unexpected + other.unexpected,
            self.expected + other.expected,
        )

    def labelled(self, name: str) -> "Expectation":
        """The same, with one name for what was expected."""
        return self._replace(expected=(name,))


NOTHING = Expectation()


class Failure(Exception):
    """A rule did not match."""

    def __init__(self, error: Expectation, *, is_consumed: bool = False) -> None:
        """`is_consumed` tells that something was read before it failed: no alternative is tried."""
        super().__init__()
        self.error = error
        self.is_consumed = is_consumed


class Scanner:
    """A text, the place in it, and what could have stood at that place."""

    __slots__ = ("at", "depth", "depth_max", "pending", "text")

    def __init__(self, text: str, *, depth_max: int) -> None:
        """Start at the left end; groups within groups are read down to `depth_max`."""
        self.text = text
        self.at = 0
        self.pending = NOTHING
        self.depth = 0
        self.depth_max = depth_max

    # What reads characters.

    def literal(self, word: str, *, name: str | None = None) -> str:
        """Read `word`; `name` is how it is called when it is missing."""
        if self.text.startswith(word, self.at):
            self._move(len(word))
            return word
        expected = (name if name is not None else quoted(word),)
        length = 0
        while self.text[self.at + length : self.at + length + 1] == word[length]:
            length += 1
        own = Expectation(self.at, self._seen(length), (), expected)
        if length:
            raise Failure(own, is_consumed=True)
        raise Failure(self.pending.merged(own))

    def jump(self, at: int) -> None:
        """Go on at `at`; what lies between has been recognised."""
        self.at = at
        self.pending = NOTHING

    def run(self, pattern: re.Pattern[str], *expected: str) -> str:
        """Read all that `pattern` matches, which may be nothing; `expected` could have followed."""
        match = pattern.match(self.text, self.at)
        length = match.end() - self.at if match else 0
        if length:
            self._move(length)
        self.pending = self.pending.merged(Expectation(self.at, self._seen(), (), expected))
        return self.text[self.at - length : self.at]

    def run_of_some(self, pattern: re.Pattern[str], *expected: str) -> str:
        """Read all that `pattern` matches, which must be something."""
        start = self.at
        found = self.run(pattern, *expected)
        if self.at == start:
            raise Failure(self.pending)
        return found

    def refuse(self, pattern: re.Pattern[str]) -> None:
        """Fail if `pattern` matches here; reads nothing."""
        match = pattern.match(self.text, self.at)
        if match:
            shown = _shown(match.group(), "'")
            raise Failure(self.pending.merged(Expectation(match.end(), None, (shown,))))
        self.pending = self.pending.merged(Expectation(self.at, self._seen()))

    def end(self) -> None:
        """Fail unless nothing is left."""
        expected = ("end of input",)
        if self.at < len(self.text):
            shown = _shown(self.text[self.at], "'")
            own = Expectation(self.at, None, (shown,), expected)
            raise Failure(self.pending.merged(own))
        self.pending = self.pending.merged(Expectation(self.at, "", (), expected))

    def ahead(self, word: str) -> None:
        """Fail unless `word` comes next; reads nothing."""
        pending = self.pending
        if self.text.startswith(word, self.at):
            return
        try:
            self.literal(word)
        except Failure as failure:
            raise Failure(pending.merged(failure.error)) from None

    # What combines rules.

    def attempt(self, rule: Callable[["Scanner"], T]) -> T:
        """Read by `rule`; when it fails nothing was read."""
        start, pending = self.at, self.pending
        try:
            return rule(self)
        except Failure as failure:
            if failure.is_consumed or self.at != start:
                failure.error = pending.merged(failure.error)
                failure.is_consumed = False
                self.at = start
            raise

    def either(self, *rules: Callable[["Scanner"], T]) -> T:
        """Read by the first rule that does not fail before it has read something."""
        start = self.at
        for rule in rules[:-1]:
            try:
                return rule(self)
            except Failure as failure:
                if failure.is_consumed or self.at != start:
                    raise
                self.pending = failure.error
        return rules[-1](self)

    def maybe(self, rule: Callable[["Scanner"], T]) -> T | None:
        """Read by `rule`, or nothing."""
        start = self.at
        try:
            return rule(self)
        except Failure as failure:
            if failure.is_consumed or self.at != start:
                raise
            self.pending = failure.error
            return None

    def many(self, rule: Callable[["Scanner"], T]) -> list[T]:
        """Read by `rule` as often as it goes."""
        items: list[T] = []
        while True:
            start = self.at
            try:
                items.append(rule(self))
            except Failure as failure:
                if failure.is_consumed or self.at != start:
                    raise
                self.pending = failure.error
                return items
            assert self.at > start, "a rule that reads nothing would be repeated for ever"
            self.pending = NOTHING

    def separated(
        self, separator: Callable[["Scanner"], object], rule: Callable[["Scanner"], T]
    ) -> list[T]:
        """Read by `rule` at least once, with separators between."""

        def another(s: "Scanner") -> T:
            separator(s)
            return rule(s)

        return [rule(self), *self.many(another)]

    def labelled(self, name: str, rule: Callable[["Scanner"], T]) -> T:
        """Read by `rule`, which is called `name` where it does not begin."""
        start, outer = self.at, self.pending
        self.pending = NOTHING
        try:
            found = rule(self)
        except Failure as failure:
            if not failure.is_consumed and self.at == start:
                failure.error = outer.merged(failure.error.labelled(name))
            raise
        if self.at == start:
            inner = self.pending if self.pending.is_empty else self.pending.labelled(name)
            self.pending = outer.merged(inner)
        return found

    def deeper(self) -> None:
        """Note that a group begins; raises QueryInvalid when there are too many in each other."""
        self.depth += 1
        if self.depth > self.depth_max:
            raise QueryInvalid(
                position="The query is nested too deeply",
                details=f"At most {self.depth_max} levels are read.",
            )

    def _move(self, length: int) -> None:
        self.jump(self.at + length)

    def _seen(self, offset: int = 0) -> str:
        character = self.text[self.at + offset : self.at + offset + 1]
        return quoted(character) if character else ""


def scan(rule: Callable[[Scanner], T], text: str, what: str, *, depth_max: int) -> T:
    """Read `text` by `rule`, or raise QueryInvalid, which tells `what` it was and the place."""
    try:
        return rule(Scanner(text, depth_max=depth_max))
    except Failure as failure:
        raise query_invalid(failure.error, text, what) from None


def query_invalid(error: Expectation, text: str, what: str) -> QueryInvalid:
    """The error as clients see it."""
    line, column = _place(text, error.at)
    return QueryInvalid(
        position=f'"failed to parse {what}" (line {line}, column {column})',
        details=_explain(error),
    )


def quoted(text: str) -> str:
    """A text as it is shown in messages: in quotes, with escapes."""
    return _shown(text, '"')


def _explain(error: Expectation) -> str:
    parts = []
    unexpected = _listed(error.unexpected)
    if unexpected:
        parts.append(f"unexpected {unexpected}")
    elif error.found is not None:
        parts.append(f"unexpected {error.found or 'end of input'}")
    expected = _listed(error.expected)
    if expected:
        parts.append(f"expecting {expected}")
    return " ".join(parts).replace("\n", " ").strip() or "unknown parse error"


def _listed(names: tuple[str, ...]) -> str:
    once = [name for name in dict.fromkeys(names) if name]
    if len(once) < 2:  # noqa: PLR2004 - one needs no "or"
        return "".join(once)
    return f"{', '.join(once[:-1])} or {once[-1]}"


def _place(text: str, at: int) -> tuple[int, int]:
    line, column = 1, 1
    for character in text[: max(at, 0)]:
        if character == "\n":
            line, column = line + 1, 1
        elif character == "\t":
            column += _TAB - (column - 1) % _TAB
        else:
            column += 1
    return line, column


def _shown(text: str, quote: str) -> str:
    if _PRINTABLE.fullmatch(text) and quote not in text and "\\" not in text:
        return f"{quote}{text}{quote}"
    return quote + "".join(_escaped(character, quote) for character in text) + quote


def _escaped(character: str, quote: str) -> str:
    if character == quote:
        return "\\" + character
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    return character if " " <= character <= "~" else f"\\{ord(character)}"
