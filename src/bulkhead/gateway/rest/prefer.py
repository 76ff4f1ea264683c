"""The `Prefer` header. Source: RFC 7240; PostgREST, `ApiRequest.Preferences`."""

from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from bulkhead.gateway.rest.request import Count, Preferences, Resolution, Return

_ACCEPTED = frozenset(
    {
        *(f"resolution={value}" for value in Resolution),
        *(f"return={value}" for value in Return),
        *(f"count={value}" for value in Count),
        *("missing=default", "missing=null"),
        *("handling=strict", "handling=lenient"),
        *("tx=commit", "tx=rollback"),
    }
)
_FREE = ("timezone=", "max-affected=")
_INT64_DIGITS = 18

NO_PREFERENCES = Preferences()

W = TypeVar("W", bound=StrEnum)


@lru_cache(maxsize=1024)
def parse_preferences(header: str, *, tx_allowed: bool) -> Preferences:
    """Read a header, several ones joined by commas; of what repeats the first one counts.

    What is not understood is in `invalid`; for time zones, `drop_unknown_zone` knows.
    """
    given = [part.strip() for part in header.split(",")]
    found: dict[str, str] = {}
    invalid = []
    for preference in given:
        if preference in _ACCEPTED or preference.startswith(_FREE):
            name, _, value = preference.partition("=")
            found.setdefault(name, value)
        else:
            invalid.append(preference)
    missing = found.get("missing")
    return Preferences(
        returning=_word(Return, found.get("return")),
        count=_word(Count, found.get("count")),
        resolution=_word(Resolution, found.get("resolution")),
        missing_default=None if missing is None else missing == "default",
        transaction=found.get("tx") if tx_allowed else None,
        handling=found.get("handling"),
        timezone=found.get("timezone"),
        max_affected=_number(found.get("max-affected", "")),
        invalid=tuple(invalid),
    )


def drop_unknown_zone(preferences: Preferences, time_zones: frozenset[str]) -> Preferences:
    """The same without a time zone that the server does not know, which then is invalid."""
    zone = preferences.timezone
    if zone is None or zone in time_zones:
        return preferences
    return replace(preferences, timezone=None, invalid=(*preferences.invalid, f"timezone={zone}"))


def _word(words: type[W], value: str | None) -> W | None:
    return None if value is None else words(value)


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _INT64_DIGITS
    return int(text) if is_number else None
