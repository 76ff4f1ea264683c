"""Names, JSON paths and lists of columns in addresses."""

import re

from bulkhead.gateway.rest.query import EmbedPath, Field, JsonStep
from bulkhead.gateway.rest.scanner import Expectation, Failure, Scanner

# Letters of any script, but digits of ASCII only.
_IDENTIFIER = re.compile(r"(?:[^\W\d]|[0-9 $])*")
_JSON_KEY = re.compile(r"[^(\-:.,>)]*")
_QUOTED = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"[ \t]*")
_DIGITS = re.compile(r"[0-9]*")
_PLAIN_COLUMNS = re.compile(r'(?>"[\w$ ]++"|\w++)(?>,"[\w$ ]++"|,\w++)*+')
_ARROW_HEAD = re.compile(">")


def field_name(s: Scanner) -> str:
    """A name, quoted or not: letters, digits, `_`, `$`, and inside spaces and dashes."""
    return s.labelled(
        "field name (* or [a..z0..9_$])", lambda s: s.either(quoted_value, _dashed_identifier)
    )


def identifier(s: Scanner) -> str:
    """A name without dashes, as types and languages have."""
    return s.run_of_some(_IDENTIFIER, "letter", "digit").strip(" ")


def quoted_value(s: Scanner) -> str:
    r"""A text in double quotes, in which `\` makes the next character an ordinary one."""
    s.literal('"')
    text = s.run(_QUOTED, '"\\\\"')
    if s.text.startswith("\\", s.at):
        raise Failure(Expectation(s.at + 1, ""), is_consumed=True)
    s.literal('"')
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def json_path(s: Scanner) -> tuple[JsonStep, ...]:
    """Any number of `->key`, `->>key`, `->0`, `->-1`."""
    steps = []
    while (step := s.maybe(_json_step)) is not None:
        steps.append(step)
    return tuple(steps)


def field(s: Scanner) -> Field:
    """A name with a JSON path, blanks around it."""
    blanks(s)
    found = Field(field_name(s), json_path(s))
    blanks(s)
    return found


def tree_path(s: Scanner) -> tuple[EmbedPath, Field]:
    """`a.b.c->d`: the embedding `a.b` and its field `c->d`."""
    names = _dotted_names(s)
    return tuple(names[:-1]), Field(names[-1], json_path(s))


def logic_path(s: Scanner) -> tuple[EmbedPath, str]:
    """`a.b.not.or`: the embedding `a.b` and the head `not.or` of its group."""
    *path, connective = _dotted_names(s)
    head = f"not.{connective}" if "not" in (*path, connective) else connective
    return tuple(name for name in path if name != "not"), head


def columns(s: Scanner) -> tuple[str, ...]:
    """`a,b,c`, each once."""
    if _PLAIN_COLUMNS.fullmatch(s.text):
        return tuple(dict.fromkeys(s.text.replace('"', "").split(",")))
    return tuple(dict.fromkeys(s.separated(comma, field_name)))


def comma(s: Scanner) -> None:
    """A comma, blanks around it."""
    blanks(s)
    s.literal(",")
    blanks(s)


def blanks(s: Scanner) -> None:
    """Spaces and tabs, or nothing."""
    s.run(_SPACE)


def dot(s: Scanner) -> None:
    """What stands between the parts of paths and conditions."""
    s.literal(".", name="delimiter (.)")


def _dotted_names(s: Scanner) -> list[str]:
    return s.separated(dot, field_name)


def _dashed_identifier(s: Scanner) -> str:
    return "-".join(s.separated(_dash, identifier))


def _dash(s: Scanner) -> None:
    s.attempt(_dash_of_no_arrow)


def _dash_of_no_arrow(s: Scanner) -> None:
    s.literal("-")
    s.refuse(_ARROW_HEAD)


def _json_step(s: Scanner) -> JsonStep:
    arrow = s.either(
        lambda s: s.attempt(lambda s: s.literal("->>")),
        lambda s: s.attempt(lambda s: s.literal("->")),
    )
    is_index, key = s.either(
        lambda s: s.attempt(_json_index),
        lambda s: s.attempt(_json_key),
    )
    return JsonStep(key, is_index=is_index, as_text=arrow == "->>")


def _json_index(s: Scanner) -> tuple[bool, str]:
    sign = s.maybe(lambda s: s.literal("-")) or ""
    digits = s.run_of_some(_DIGITS, "digit")
    if s.text.startswith(")", s.at):
        return True, sign + digits
    s.either(
        *(
            lambda s, word=word: s.attempt(lambda s: s.ahead(word))
            for word in ("->", "::", ".", ",")
        ),
        lambda s: s.attempt(Scanner.end),
    )
    return True, sign + digits


def _json_key(s: Scanner) -> tuple[bool, str]:
    return False, s.labelled(
        "any non reserved character different from: .,>()",
        lambda s: s.either(quoted_value, _dashed_json_key),
    )


def _dashed_json_key(s: Scanner) -> str:
    return "-".join(s.separated(_dash, lambda s: s.run_of_some(_JSON_KEY).strip()))
