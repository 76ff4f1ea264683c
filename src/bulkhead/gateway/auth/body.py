"""Request bodies, read strictly: what readers disagree about is refused."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.gateway.auth.errors import BodyInvalid

BODY_BYTES_MAX = 65_536
DEPTH_MAX = 32


@dataclass(frozen=True, slots=True)
class Body:
    """The JSON object of a request."""

    values: Mapping[str, Any]

    def text(self, name: str, default: str = "") -> str:
        """A string; raises BodyInvalid for anything else."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise BodyInvalid(reason=f"{name} must be a string")
        return value

    def optional(self, name: str) -> str | None:
        """A string, None where there is none or an empty one."""
        return self.text(name) or None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean, `default` where there is none; raises BodyInvalid for anything else."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise BodyInvalid(reason=f"{name} must be true or false")
        return default if value is None else value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """An object, or None; raises BodyInvalid for anything else."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise BodyInvalid(reason=f"{name} must be an object")
        return value


def parse_body(raw: bytes) -> Body:
    """Read a JSON object strictly; raises BodyInvalid.

    Refuses what readers disagree about or PostgreSQL cannot hold: names given twice, NaN and
    infinities, NUL characters, lone surrogates, and nesting deeper than DEPTH_MAX.
    """
    if not raw.strip():
        return Body({})
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        _check(value, DEPTH_MAX)
    except (ValueError, RecursionError) as error:
        raise BodyInvalid(reason=str(error) or "it is nested too deeply") from None
    if not isinstance(value, dict):
        raise BodyInvalid(reason="it must be an object")
    return Body(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        message = "a name is there twice"
        raise ValueError(message)
    return values


def _refuse_constant(name: str) -> float:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = "a number is too large"
        raise ValueError(message)
    return value


def _check(value: object, depth: int) -> None:
    if depth < 0:
        message = "it is nested too deeply"
        raise ValueError(message)
    match value:
        case str():
            value.encode("utf-8")
            if "\0" in value:
                message = "text must not contain a NUL character"
                raise ValueError(message)
        case dict():
            for name, item in value.items():
                _check(name, depth - 1)
                _check(item, depth - 1)
        case list():
            for item in value:
                _check(item, depth - 1)
