"""Where in a token the role stands: `.role`, `.app.roles[0]`, `."my-roles"[?(@ ^== "db_")]`.

Source: PostgREST, `jwt-role-claim-key`; a leading `$` as in RFC 9535 is the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bulkhead.engine.errors import ConfigurationInvalid

Step = Callable[[Any], Any]
"""From a value to one inside it, None if there is none."""

_STEP = re.compile(
    r'\.(?P<key>[A-Za-z0-9_$@]+)|\."(?P<quoted>[^"]*)"|\[(?P<index>[0-9]{1,9})\]'
    r'|\[\?\(@\s*(?P<test>==\^|==|!=|\^==|\*==)\s*"(?P<text>[^"]*)"\)\]\Z'
)
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "==": lambda item, text: item == text,
    "!=": lambda item, text: item != text,
    "^==": lambda item, text: item.startswith(text),
    "==^": lambda item, text: item.endswith(text),
    "*==": lambda item, text: text in item,
}


def parse_claim_path(path: str) -> tuple[Step, ...]:
    """The steps to the value; raises ConfigurationInvalid."""
    rest = path.removeprefix("$")
    if not rest.startswith((".", "[")):
        rest = f".{rest}"
    steps = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if not found:
            raise ConfigurationInvalid(reason=f"'{path}' is no path to a claim")
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def find_claim(steps: Sequence[Step], claims: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """What stands in `claims` at the end of `steps`, or None."""
    value: Any = claims
    for step in steps:
        value = step(value)
    return value


def _step(found: re.Match[str]) -> Step:
    key = found["key"] if found["quoted"] is None else found["quoted"]
    if key is not None:
        return lambda value: value.get(key) if isinstance(value, Mapping) else None
    if found["index"] is not None:
        index = int(found["index"])
        return lambda value: (
            value[index] if isinstance(value, list) and index < len(value) else None
        )
    test, text = _TESTS[found["test"]], found["text"]
    return lambda value: (
        next((item for item in value if isinstance(item, str) and test(item, text)), None)
        if isinstance(value, list)
        else None
    )
