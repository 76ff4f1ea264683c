"""Where the time of a request went, for `Server-Timing`. Source: W3C Server Timing."""

from dataclasses import dataclass, field

from bulkhead.engine.clock import monotonic_s

STAGES = ("jwt", "parse", "plan", "transaction", "response")


@dataclass(slots=True)
class Timing:
    """A stopwatch that notes the end of each stage."""

    since_s: float
    spent_s: dict[str, float] = field(default_factory=dict)

    def note(self, stage: str) -> None:
        """The stage has just ended."""
        now_s = monotonic_s()
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + now_s - self.since_s
        self.since_s = now_s

    def to_header(self) -> tuple[bytes, bytes]:
        """The header, in milliseconds; stages that were not reached are left out."""
        self.note("response")
        stages = (
            f"{name};dur={self.spent_s[name] * 1000:.1f}" for name in STAGES if name in self.spent_s
        )
        return b"server-timing", ", ".join(stages).encode()
