"""What a PostgreSQL server that somebody else runs may say, checked before asyncpg hears it.

asyncpg answers whatever a server asks for: its password in clear when the server says so. It
collects whatever the server sends, without a limit, and decodes text in any encoding that Python
has. Here every message passes a check first: log-in by SCRAM-SHA-256 and nothing else, which never
shows the password and proves that the server knows it too; UTF-8; sizes.

Source: PostgreSQL's protocol 3.0 (chapter "Frontend/Backend Protocol"), RFC 5802, RFC 7677.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from bulkhead.engine.errors import BulkheadError

LOGIN_BYTES_MAX = 64 * 1024
"""Before the log-in is through."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""Since this side last sent something, or took what is streamed to it."""
ITERATIONS_MIN = 4096
"""RFC 7677. With fewer, whoever hears the log-in guesses the password too cheaply."""
ITERATIONS_MAX = 250_000
"""A tenth of a second, during which nothing else is done."""

_HEAD: Final = Struct("!ci")
_LENGTH: Final = Struct("!xi")
_CODE: Final = Struct("!i")
_WATCHED: Final = frozenset({b"R", b"S"})
_VERSION: Final = re.compile(rb"server_version\0\d{1,3}(\.\d{1,3}){0,2}(?!\d)[ -~]{0,200}\0")
_OTHER_ENCODING: Final = re.compile(rb"S(.{4})client_encoding\0", re.DOTALL)
_ENCODING: Final = b"client_encoding\0"
_UTF8: Final = (b"UTF8\0", b"'utf-8'\0")
"""PostgreSQL's name of it, and asyncpg's, which PgBouncer gives back as it stood in the request."""
_ENCODING_BYTES_MAX: Final = 64
"""Of the message that tells of another encoding."""
_NAMED_BYTES_MIN: Final = 4 + len(_ENCODING)
_BEFORE_LOGIN: Final = frozenset({b"R", b"E", b"N", b"v"})
_OK, _SASL, _CONTINUE, _FINAL = 0, 10, 11, 12
_NEXT: Final = {None: _SASL, _SASL: _CONTINUE, _CONTINUE: _FINAL, _FINAL: _OK}
_WORDS: Final = {
    _OK: "lets anybody in without a password",
    2: "asks for Kerberos",
    3: "asks for the password in clear",
    5: "asks for the password by MD5",
    7: "asks for GSSAPI",
    9: "asks for SSPI",
}
_FIRST: Final = re.compile(
    rb"r=[!-+\--~]{8,256},s=([A-Za-z0-9+/]{4}){1,128}[A-Za-z0-9+/=]{0,4},i=(\d{1,9})"
)
_LAST: Final = re.compile(rb"v=[A-Za-z0-9+/]{43}=")


class ServerUntrusted(BulkheadError):
    """The server {server} {reason}, so the password was not sent and nothing is read from it."""

    code = "server_untrusted"
    status = 422
    hint = "Let it log this user in by SCRAM-SHA-256, and name the server you mean."


@dataclass(slots=True, eq=False)
class FrameCheck:
    """Follows one connection; `check` each piece of data before it is used.

    Until the server is ready for the first query, message by message. From then on only lengths
    count, and whether the encoding changes, for which one search through the data is enough.
    """

    server: str
    refusal: ServerUntrusted | None = None
    """What was wrong; the connection is of no use any more."""
    _login: int | None = None
    """How far the log-in is: the last request of the server."""
    _is_ready: bool = False
    _has_version: bool = False
    _answer_bytes: int = 0
    _left: int = 0
    _kind: bytes = b""
    _pending: bytearray = field(default_factory=bytearray)
    """Of a message whose head is not there yet, or whose body is looked at."""
    _tail: bytes = b""
    """The end of the piece before, in which a message may have begun."""

    @property
    def is_logged_in(self) -> bool:
        """Whether both sides have proved that they know the password."""
        return self._login == _OK

    def note_taken(self) -> None:
        """This side has sent something, or taken what came: a new answer begins."""
        self._answer_bytes = 0

    def check(self, data: bytes) -> bool:
        """Whether asyncpg may hear `data`; when not, `refusal` says why."""
        if self.refusal is not None:
            return False
        self._answer_bytes += len(data)
        if self._answer_bytes > (ANSWER_BYTES_MAX if self.is_logged_in else LOGIN_BYTES_MAX):
            return self._refuse("sends more than was asked for")
        if self._is_ready:
            self._skim(data)
            if _ENCODING in data:
                self._judge_encoding(data)
            joint = self._tail + data[:_ENCODING_BYTES_MAX]
            if _ENCODING in joint:
                self._judge_encoding(joint)
        else:
            self._follow(data)
        self._tail = (self._tail + data[-_ENCODING_BYTES_MAX:])[-_ENCODING_BYTES_MAX:]
        return self.refusal is None

    def _skim(self, data: bytes) -> None:
        """Follow the lengths alone: by an impossible one asyncpg comes to a stop for ever."""
        position, end, size = self._left, len(data), _HEAD.size
        if self._pending:
            data = bytes(self._pending) + data
            self._pending.clear()
            end = len(data)
        while position + size <= end:
            length = _LENGTH.unpack_from(data, position)[0]
            if length < _CODE.size:
                self._refuse("sends no message of PostgreSQL's")
                return
            position += length + 1
        self._left = max(0, position - end)
        self._pending += data[position:]

    def _follow(self, data: bytes) -> None:
        position, end = 0, len(data)
        while position < end and self.refusal is None:
            if self._left:
                position = self._pass(data, position, min(self._left, end - position))
                continue
            missing = _HEAD.size - len(self._pending)
            self._pending += data[position : position + missing]
            position += missing
            if len(self._pending) == _HEAD.size:
                head = bytes(self._pending)
                self._pending.clear()
                self._begin(*_HEAD.unpack(head))

    def _pass(self, data: bytes, position: int, size: int) -> int:
        if self._kind in _WATCHED:
            self._pending += data[position : position + size]
        self._left -= size
        if not self._left and self._kind in _WATCHED:
            body = bytes(self._pending)
            self._pending.clear()
            self._judge(body)
        return position + size

    def _begin(self, kind: bytes, length: int) -> None:
        if not _CODE.size <= length <= LOGIN_BYTES_MAX and not self._is_ready:
            self._refuse("sends a message that is too large, or no message of PostgreSQL's")
        elif not self.is_logged_in and kind not in _BEFORE_LOGIN:
            self._refuse("sends something else before the log-in is through")
        self._kind, self._left = kind, length - _CODE.size
        if kind == b"Z":
            self._is_ready = True
            if not self._has_version:  # asyncpg takes it for granted.
                self._refuse("does not say which PostgreSQL it is")
        if not self._left and kind in _WATCHED:
            self._judge(b"")

    def _judge(self, body: bytes) -> None:
        if self._kind == b"S":
            if body.startswith(b"server_version\0"):
                self._has_version = bool(_VERSION.fullmatch(body))
            self._judge_encoding(self._kind + _CODE.pack(len(body) + _CODE.size) + body)
        elif len(body) < _CODE.size or self.is_logged_in:
            self._refuse("does not log in as PostgreSQL does")
        else:
            self._judge_login(_CODE.unpack_from(body)[0], body[_CODE.size :])

    def _judge_login(self, code: int, body: bytes) -> None:
        if code != _NEXT[self._login]:
            self._refuse(_WORDS.get(code, "does not log in as PostgreSQL does"))
        elif code == _SASL and b"SCRAM-SHA-256" not in body.split(b"\0"):
            self._refuse("offers no log-in by SCRAM-SHA-256")
        elif code == _CONTINUE:
            found = _FIRST.fullmatch(body)
            if found is None or not ITERATIONS_MIN <= int(found[2]) <= ITERATIONS_MAX:
                self._refuse("does not do SCRAM-SHA-256 as its standard says")
        elif code == _FINAL and not _LAST.fullmatch(body):
            self._refuse("does not do SCRAM-SHA-256 as its standard says")
        self._login = code

    def _judge_encoding(self, data: bytes) -> None:
        """Refuse an encoding that is not UTF-8; the text may also stand in a row, which is fine."""
        for found in _OTHER_ENCODING.finditer(data):
            (length,) = _CODE.unpack(found[1])
            value = data[found.end() : found.start() + 1 + length]
            is_utf8 = any(name.startswith(value) for name in _UTF8)
            if _NAMED_BYTES_MIN <= length < ANSWER_BYTES_MAX and not is_utf8:
                self._refuse("uses another encoding than was asked for")

    def _refuse(self, reason: str) -> bool:
        self.refusal = ServerUntrusted(server=self.server, reason=reason)
        return False
