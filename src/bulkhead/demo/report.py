"""What the demonstration has to tell, for people and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.demo.dataset import Dataset, survey
from bulkhead.demo.plan import Plan
from bulkhead.demo.proofs import Proof
from bulkhead.demo.replay import Replay


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The whole story."""

    dataset: Dataset
    plan: Plan
    replay: Replay
    signed_up_over_http: int
    clients: int
    proofs: Sequence[Proof]
    timings_s: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether everything that was to be proven was."""
        return all(proof.holds for proof in self.proofs)

    @property
    def per_s(self) -> float:
        """Orders that were answered per second."""
        return len(self.replay.answers) / self.replay.duration_s if self.replay.duration_s else 0.0

    def quantile_ms(self, share: float) -> float:
        """How long orders took: the time below which `share` of them stayed."""
        times = sorted(answer.duration_s for answer in self.replay.answers.values())
        return times[min(int(share * len(times)), len(times) - 1)] * 1000 if times else 0.0

    def to_json(self) -> dict[str, Any]:
        """Everything, by name."""
        plan, replay = self.plan, self.replay
        return {
            "source": self.dataset.source,
            "generated": self.dataset.generated,
            "file": survey(self.dataset.invoices),
            "lines": {
                what: {"lines": count, "amount": f"{plan.amounts[what]:.2f}"}
                for what, count in plan.lines.most_common()
            },
            "shop": {
                "products": len(plan.products),
                "variants": len(plan.variants),
                "short_variants": len(plan.short),
                "customers": len(plan.customers),
                "signed_up_over_http": self.signed_up_over_http,
            },
            "replay": {
                "orders": len(replay.answers),
                "confirmed": len(replay.placed),
                "refused_for_stock": len(replay.refused),
                "failed": len(replay.failed),
                "repeated": len(replay.repeats),
                "cancelled": len(replay.cancelled),
                "clients": self.clients,
                "duration_s": round(replay.duration_s, 3),
                "per_s": round(self.per_s, 1),
                "p50_ms": round(self.quantile_ms(0.5), 2),
                "p95_ms": round(self.quantile_ms(0.95), 2),
                "p99_ms": round(self.quantile_ms(0.99), 2),
            },
            "timings_s": {name: round(took_s, 2) for name, took_s in self.timings_s.items()},
            "proofs": [
                {
                    "name": proof.name,
                    "holds": proof.holds,
                    "detail": proof.detail,
                    "examples": list(proof.examples),
                    "figures": dict(proof.figures),
                }
                for proof in self.proofs
            ],
            "holds": self.holds,
        }

    def to_text(self) -> str:
        """The same for people."""
        return "\n".join([*self._file_lines(), *self._replay_lines(), *self._proof_lines()])

    def _file_lines(self) -> Iterator[str]:
        seen = survey(self.dataset.invoices)
        rows, kinds = seen["rows"], seen["invoices"]
        yield f"Data: {self.dataset.source}"
        yield f"  {rows.get('all', 0):8,} lines of {sum(kinds.values()):,} invoices: " + ", ".join(
            f"{count:,} {kind}s" for kind, count in kinds.items()
        )
        for name, label in ODDITIES.items():
            if count := rows.get(name) or seen.get(name):
                yield f"  {count:8,} {label}"
        if fees := seen["rows_that_are_no_goods"]:
            yield f"  {sum(fees.values()):8,} lines of postage, fees and the like: " + ", ".join(
                f"{code} {count:,}" for code, count in list(fees.items())[:FEES_MAX]
            )
        yield ""
        yield "What becomes of the lines"
        for what, count in self.plan.lines.most_common():
            outcome = what if what in REPLAYED else f"not replayed: {what}"
            yield f"  {count:8,} {outcome}  ({self.plan.amounts[what]:,.2f})"

    def _replay_lines(self) -> Iterator[str]:
        plan, replay = self.plan, self.replay
        anonymous = sum(not customer.named for customer in plan.customers.values())
        yield ""
        yield "Replay"
        yield f"  {len(plan.products):8,} products, of {len(plan.short)} on purpose not enough"
        yield f"  {len(plan.variants):8,} prices, each a variant of its product"
        yield f"  {len(plan.customers):8,} customers, written by the service, but"
        yield f"  {self.signed_up_over_http:8,} signed up over HTTP and confirmed a mail, and"
        yield f"  {anonymous:8,} stand for whoever has no number, one for each country"
        yield (
            f"  {len(replay.answers):8,} orders over HTTP from {self.clients} clients in"
            f" {replay.duration_s:.1f} s: {self.per_s:.0f} per second,"
        )
        yield (
            f"           p50 {self.quantile_ms(0.5):.1f} ms, p95 {self.quantile_ms(0.95):.1f} ms,"
            f" p99 {self.quantile_ms(0.99):.1f} ms"
        )
        yield f"  {len(replay.placed):8,} confirmed"
        yield f"  {len(replay.refused):8,} refused for want of stock"
        yield f"  {len(replay.cancelled):8,} cancelled later, as a whole"
        yield f"  {len(replay.repeats):8,} sent twice"

    def _proof_lines(self) -> Iterator[str]:
        yield ""
        yield "Proofs"
        for proof in self.proofs:
            yield f"  {'ok  ' if proof.holds else 'FAIL'}  {proof.name} ({proof.detail})"
            for example in proof.examples:
                yield f"          {example}"
        if not self.holds:
            yield "With --home DIR the databases and the server's log are kept to be looked at."


FEES_MAX = 8
REPLAYED = frozenset({"ordered", "cancelled"})
ODDITIES = {
    "duplicates": "lines that repeat another of their invoice: kept, they add up",
    "without_customer": "lines without a customer",
    "without_description": "lines without a description",
    "at_price_zero": "lines at a price of zero",
    "returned_or_written_off": "lines with a quantity of zero or less",
    "codes": "stock codes",
    "codes_that_differ_in_case_only": "of them differ from another in case only: one product",
    "codes_with_several_descriptions": "of them have several descriptions: the commonest is shown",
}
