"""Durations as the clients of Supabase's Auth write them: `1h30m`, `24h`, `300ms`. Pure.

Source: the format of Go's `time.ParseDuration`.
"""

import re
from decimal import Decimal

UNITS_S = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
SECONDS_MAX = Decimal(2**63) / Decimal(10**9)
LENGTH_MAX = 100

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds; raises ValueError for what is no duration, or longer than 292 years."""
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in {"-", "+"} else text
    if body == "0":
        return 0.0
    total, end = Decimal(0), 0
    for part in _PART.finditer(body[:LENGTH_MAX]):
        if part.start() != end:
            break
        total += Decimal(part[1]) * UNITS_S[part[2]]
        end = part.end()
    if not body or end != len(body) or total >= SECONDS_MAX:
        message = f'time: invalid duration "{text[:LENGTH_MAX]}"'
        raise ValueError(message)
    return float(sign * total)
