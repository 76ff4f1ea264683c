"""A payment company on this machine: for development, demonstrations and tests.

It behaves like one that is far away: it keeps its own books, answers or fails to answer, and tells
by signed webhooks what happened. The name of the source decides what becomes of a charge.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

from bulkhead.capabilities.payments.delivery import Deliverer, Mischief, Send
from bulkhead.capabilities.payments.event_body import parse_event
from bulkhead.capabilities.payments.ledger import Ledger, Outcome
from bulkhead.capabilities.payments.post import Poster
from bulkhead.capabilities.payments.provider import (
    Charge,
    ChargeResult,
    ChargeState,
    PaymentEvent,
    PaymentUnavailable,
    RefundResult,
)
from bulkhead.capabilities.payments.signature import verify_signature
from bulkhead.engine import clock
from bulkhead.engine.errors import ConfigurationInvalid, Invalid
from bulkhead.engine.ids import new_id

NAME = "local"
CENT = Decimal("0.01")
AMOUNT_MAX = Decimal("9999999999.99")
KEY_LENGTH_MAX = 255
LOOK_S_MAX = 2.0
"""How long the worker sleeps at most: another process may have caused an event."""
FRUITLESS_MAX = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What becomes of a charge to a test source."""

    code: str | None = None
    charges: bool = True
    answers: bool = True
    later: bool = False


SOURCES: Mapping[str, Behaviour] = MappingProxyType(
    {
        "tok_visa": Behaviour(),
        "tok_chargeDeclined": Behaviour(code="card_declined"),
        "tok_insufficientFunds": Behaviour(code="insufficient_funds"),
        "tok_timeout": Behaviour(answers=False),
        "tok_timeout_uncharged": Behaviour(charges=False, answers=False),
        "tok_pending": Behaviour(later=True),
        "tok_pending_then_failed": Behaviour(later=True, code="card_declined"),
        "tok_unavailable": Behaviour(charges=False),
    }
)
UNKNOWN_SOURCE = Behaviour(code="source_unknown")


@dataclass(slots=True, eq=False)
class LocalProvider:
    """A payment company with its books in the file at `path`."""

    path: Path
    secret: str = field(repr=False)
    webhook_url: str | None = None
    """Where events are delivered; None keeps them until there is an address."""
    mischief: Mischief = field(default_factory=Mischief)
    stall_s: float = 6.0
    """How long a charge that never answers lets its caller wait."""
    settle_s: float = 2.0
    """How long a pending charge stays pending."""
    send: Send = field(default_factory=Poster)
    _ledger: Ledger = field(init=False)
    _deliverer: Deliverer = field(init=False)
    _wake: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        if not self.secret:
            raise ConfigurationInvalid(reason="the webhook secret of the payments is empty")
        self._ledger = Ledger(self.path, NAME)
        self._deliverer = Deliverer(self._ledger, self.secret, self.send)

    @property
    def name(self) -> str:
        """The name that its events carry."""
        return NAME

    async def charge(
        self,
        key: str,
        amount: Decimal,
        currency: str,
        source: str,
        metadata: Mapping[str, str] | None = None,
    ) -> ChargeResult:
        """See PaymentProvider; `source` is one of SOURCES."""
        wanted = self._wanted(key, _checked_amount(amount), currency, metadata or {})
        behaviour = SOURCES.get(source, UNKNOWN_SOURCE)
        if not behaviour.charges:
            return await self._fail_to_answer(answers=behaviour.answers)
        settle_at_s = wanted.created_at.timestamp() + self.settle_s if behaviour.later else None
        result, fresh = self._ledger.charge(
            wanted,
            hashlib.sha256(f"{wanted.amount} {currency} {source}".encode()).hexdigest(),
            Outcome(behaviour.code, settle_at_s),
        )
        self._wake.set()
        if fresh and not behaviour.answers:
            return await self._fail_to_answer(answers=False)
        return result

    async def find_charge(self, key: str) -> Charge | None:
        """See PaymentProvider."""
        return self._ledger.find_charge(key)

    async def close_key(self, key: str) -> Charge | None:
        """See PaymentProvider."""
        return self._ledger.close_key(key, clock.now())

    async def refund(self, key: str, charge_key: str, amount: Decimal) -> RefundResult:
        """See PaymentProvider."""
        _check_key(key)
        result = self._ledger.refund(key, charge_key, _checked_amount(amount), clock.now())
        self._wake.set()
        return result

    def verify_webhook(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent:
        """See PaymentProvider."""
        verify_signature(self.secret, headers, body, int(clock.now().timestamp()))
        return parse_event(body, NAME)

    async def run(self) -> None:
        """Settle pending charges and deliver webhooks for ever; run it as a background task."""
        try:
            while True:
                self._wake.clear()
                await self._work_if_open(clock.now())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s()):
                        await self._wake.wait()
        finally:
            self._hang_up()

    async def drain_webhooks(self) -> int:
        """Settle and deliver everything that waits, now; return how many events were accepted.

        It gives up when nothing was accepted twice in a row, which one lost delivery each is not.
        """
        accepted = fruitless = 0
        try:
            while fruitless < FRUITLESS_MAX:
                self._ledger.settle_pending(clock.now(), due_s=float("inf"))
                if not self._deliverer.make_due():
                    break
                delivered = await self._work(clock.now())
                accepted += delivered
                fruitless = 0 if delivered else fruitless + 1
        finally:
            self._hang_up()
        return accepted

    def close(self) -> None:
        """Close the books."""
        self._ledger.close()

    def _hang_up(self) -> None:
        if isinstance(self.send, Poster):
            self.send.close()

    async def _work_if_open(self, now: dt.datetime) -> None:
        try:
            await self._work(now)
        except PaymentUnavailable:
            log.warning("the books of the local payments are locked")

    async def _work(self, now: dt.datetime) -> int:
        now_s = now.timestamp()
        self._ledger.settle_pending(now, due_s=now_s)
        if self.webhook_url is None:
            return 0
        return await self._deliverer.deliver_due(self.webhook_url, self.mischief, now_s)

    def _pause_s(self) -> float:
        due_s = None if self.webhook_url is None else self._deliverer.next_due_s()
        if due_s is None:
            return LOOK_S_MAX
        ahead_s = due_s + self.mischief.delay_s - clock.now().timestamp()
        return min(max(ahead_s, 0.0), LOOK_S_MAX)

    async def _fail_to_answer(self, *, answers: bool) -> ChargeResult:
        if answers:
            raise PaymentUnavailable(provider=NAME)
        await asyncio.sleep(self.stall_s)
        raise TimeoutError

    def _wanted(
        self, key: str, amount: Decimal, currency: str, metadata: Mapping[str, str]
    ) -> Charge:
        _check_key(key)
        if not (len(currency) == 3 and currency.isascii() and currency.isupper()):  # noqa: PLR2004
            raise Invalid(reason=f"'{currency}' is not the code of a currency")
        return Charge(
            key=key,
            state=ChargeState.PENDING,
            amount=amount,
            currency=currency,
            provider_ref=f"ch_{new_id().hex}",
            created_at=clock.now(),
            metadata=metadata,
        )


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= KEY_LENGTH_MAX:
        raise Invalid(reason=f"a payment key has 1 to {KEY_LENGTH_MAX} characters")


def _checked_amount(amount: Decimal) -> Decimal:
    if not amount.is_finite() or not CENT <= amount <= AMOUNT_MAX:
        raise Invalid(reason=f"{amount} cannot be paid")
    if (rounded := amount.quantize(CENT)) != amount:
        raise Invalid(reason=f"{amount} has fractions of a cent")
    return rounded
