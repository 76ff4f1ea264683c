"""The books of the local payment company: charges, refunds and the events they cause.

They stand in an SQLite file of their own, because a payment company does not lose its memory when
the shop crashes. Commits are written ahead but not synced one by one, so that a call costs tens of
microseconds: they survive the death of the process, not that of the machine.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from bulkhead.capabilities.payments.event_body import render_event
from bulkhead.capabilities.payments.provider import (
    KEY_CLOSED,
    Charge,
    ChargeResult,
    ChargeState,
    EventType,
    PaymentEvent,
    PaymentKeyReused,
    PaymentUnavailable,
    RefundResult,
    RefundState,
)
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import new_id

QUERIES = load_queries(__package__, "ledger.sql")
TABLES = (
    QUERIES.create_charges,
    QUERIES.create_pending_index,
    QUERIES.create_refunds,
    QUERIES.create_refunds_index,
    QUERIES.create_events,
    QUERIES.create_events_index,
)
BUSY_TIMEOUT_S = 2.0
CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the company makes of a new charge, at once or later."""

    code: str | None = None
    """Why it is declined; None when it succeeds."""
    settle_at_s: float | None = None
    """When a charge that is pending until then gets this outcome; None for at once."""


@dataclass(slots=True, eq=False)
class Ledger:
    """The books in the file at `path`; each method is one durable change."""

    path: Path
    provider: str
    connection: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("pragma synchronous = normal")
        for statement in TABLES:
            self.connection.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def find_charge(self, key: str) -> Charge | None:
        """The charge booked under `key`, None when there is none or the key is closed."""
        row = self._charge_row(key)
        return None if row is None or row["state"] == CLOSED else self._charge(row)

    def close_key(self, key: str, at: dt.datetime) -> Charge | None:
        """The charge booked under `key`; when there is none, there never will be."""
        with self.writing():
            row = self._charge_row(key)
            if row is None:
                self.connection.execute(
                    QUERIES.close_key, {"key": key, "created_at": at.isoformat()}
                )
        return None if row is None or row["state"] == CLOSED else self._charge(row)

    def charge(
        self, wanted: Charge, fingerprint: str, outcome: Outcome
    ) -> tuple[ChargeResult, bool]:
        """Book `wanted` with its outcome; answer also whether it is new.

        Raises PaymentKeyReused when the key stands for a charge with another fingerprint.
        """
        with self.writing():
            row = self._charge_row(wanted.key)
            if row is not None:
                return _repeated(row, fingerprint), False
            booked = _with_outcome(wanted, outcome)
            self.connection.execute(
                QUERIES.insert_charge,
                {
                    "key": booked.key,
                    "fingerprint": fingerprint,
                    "state": booked.state.value,
                    "amount": str(booked.amount),
                    "currency": booked.currency,
                    "code": booked.code,
                    "provider_ref": booked.provider_ref,
                    "metadata": json.dumps(dict(booked.metadata)),
                    "created_at": booked.created_at.isoformat(),
                    "settle_at": outcome.settle_at_s,
                    "settle_code": outcome.code,
                },
            )
            if booked.state is not ChargeState.PENDING:
                self._announce(booked, booked.created_at)
        return ChargeResult(booked.state, booked.provider_ref, booked.code), True

    def settle_pending(self, at: dt.datetime, *, due_s: float) -> int:
        """Give the pending charges that are due at `due_s` their outcome; return how many."""
        due = self.connection.execute(QUERIES.list_pending, {"now": due_s}).fetchall()
        for (key,) in due:
            with self.writing():
                row = self._charge_row(key)
                assert row is not None, "a booked charge is never deleted"
                state = ChargeState.DECLINED if row["settle_code"] else ChargeState.SUCCEEDED
                change = {"key": key, "state": state.value, "code": row["settle_code"]}
                if self.connection.execute(QUERIES.settle_charge, change).rowcount:
                    settled = replace(self._charge(row), state=state, code=row["settle_code"])
                    self._announce(settled, at)
        return len(due)

    def refund(self, key: str, charge_key: str, amount: Decimal, at: dt.datetime) -> RefundResult:
        """Book a refund, or say why not; raises PaymentKeyReused."""
        with self.writing():
            row = self.connection.execute(QUERIES.find_refund, {"key": key}).fetchone()
            if row is not None:
                if row["charge_key"] != charge_key or Decimal(row["amount"]) != amount:
                    raise PaymentKeyReused(key=key)
                return RefundResult(RefundState.SUCCEEDED, row["provider_ref"])
            charge = self.find_charge(charge_key)
            if charge is None:
                return RefundResult(RefundState.DECLINED, code="charge_unknown")
            if (code := _refusal(charge, amount)) is not None:
                return RefundResult(RefundState.DECLINED, code=code)
            provider_ref = f"re_{new_id().hex}"
            self.connection.execute(
                QUERIES.insert_refund,
                {
                    "key": key,
                    "charge_key": charge_key,
                    "amount": str(amount),
                    "provider_ref": provider_ref,
                    "created_at": at.isoformat(),
                },
            )
            refunded = replace(charge, amount=amount, provider_ref=provider_ref)
            self._announce(refunded, at, refund_key=key)
        return RefundResult(RefundState.SUCCEEDED, provider_ref)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that excludes other writers; raises PaymentUnavailable."""
        try:
            self.connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise PaymentUnavailable(provider=self.provider) from error
        try:
            yield
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")

    def _charge_row(self, key: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self.connection.execute(
            QUERIES.find_charge, {"key": key}
        ).fetchone()
        return found

    def _charge(self, row: sqlite3.Row) -> Charge:
        refunds = self.connection.execute(QUERIES.list_refunded, {"charge_key": row["key"]})
        return Charge(
            key=row["key"],
            state=ChargeState(row["state"]),
            amount=Decimal(row["amount"]),
            currency=row["currency"],
            provider_ref=row["provider_ref"],
            created_at=dt.datetime.fromisoformat(row["created_at"]),
            code=row["code"],
            refunded=sum((Decimal(amount) for (amount,) in refunds), Decimal(0)),
            metadata=json.loads(row["metadata"]),
        )

    def _announce(self, charge: Charge, at: dt.datetime, refund_key: str | None = None) -> None:
        (sequence,) = self.connection.execute(QUERIES.next_sequence).fetchone()
        event = PaymentEvent(
            id=f"evt_{new_id().hex}",
            provider=self.provider,
            type=_event_type(charge, refund_key),
            charge_key=charge.key,
            refund_key=refund_key,
            amount=charge.amount,
            currency=charge.currency,
            provider_ref=charge.provider_ref,
            code=charge.code,
            created_at=at,
            sequence=sequence,
        )
        self.connection.execute(
            QUERIES.insert_event,
            {"sequence": sequence, "body": render_event(event), "next_at": at.timestamp()},
        )


def _with_outcome(wanted: Charge, outcome: Outcome) -> Charge:
    if outcome.settle_at_s is not None:
        return replace(wanted, state=ChargeState.PENDING)
    state = ChargeState.DECLINED if outcome.code else ChargeState.SUCCEEDED
    return replace(wanted, state=state, code=outcome.code)


def _repeated(row: sqlite3.Row, fingerprint: str) -> ChargeResult:
    if row["state"] == CLOSED:
        return ChargeResult(ChargeState.DECLINED, code=KEY_CLOSED)
    if row["fingerprint"] != fingerprint:
        raise PaymentKeyReused(key=row["key"])
    return ChargeResult(ChargeState(row["state"]), row["provider_ref"], row["code"])


def _refusal(charge: Charge, amount: Decimal) -> str | None:
    if charge.state is not ChargeState.SUCCEEDED:
        return "charge_not_succeeded"
    if charge.refunded + amount > charge.amount:
        return "amount_exceeds_charge"
    return None


def _event_type(charge: Charge, refund_key: str | None) -> EventType:
    if refund_key is not None:
        return EventType.REFUND_SUCCEEDED
    if charge.state is ChargeState.SUCCEEDED:
        return EventType.PAYMENT_SUCCEEDED
    return EventType.PAYMENT_FAILED
