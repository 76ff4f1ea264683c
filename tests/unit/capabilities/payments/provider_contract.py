"""What every payment provider must keep; a test class derives from it and gives `provider`."""

from decimal import Decimal

import pytest

from bulkhead.capabilities.payments.provider import (
    KEY_CLOSED,
    ChargeState,
    PaymentKeyReused,
    PaymentProvider,
    RefundState,
    WebhookRefused,
)
from bulkhead.engine.errors import Invalid

TEN = Decimal("10.00")


class ProviderContract:
    """Needs a fixture `provider` whose sources are called as Stripe's test sources."""

    async def test_a_charge_succeeds_and_stands_in_the_books(
        self, provider: PaymentProvider
    ) -> None:
        result = await provider.charge("order-1", TEN, "EUR", "tok_visa", {"order": "1"})
        assert result.state is ChargeState.SUCCEEDED
        charge = await provider.find_charge("order-1")
        assert charge is not None
        assert (charge.state, charge.amount, charge.currency) == (result.state, TEN, "EUR")
        assert charge.provider_ref == result.provider_ref
        assert charge.metadata == {"order": "1"}

    async def test_a_repeated_charge_gets_the_first_answer(self, provider: PaymentProvider) -> None:
        first = await provider.charge("order-1", TEN, "EUR", "tok_visa")
        assert await provider.charge("order-1", Decimal(10), "EUR", "tok_visa") == first

    @pytest.mark.parametrize(
        ("source", "code"),
        [
            ("tok_chargeDeclined", "card_declined"),
            ("tok_insufficientFunds", "insufficient_funds"),
        ],
    )
    async def test_a_declined_charge_says_why_and_stays_declined(
        self, provider: PaymentProvider, source: str, code: str
    ) -> None:
        for _ in range(2):
            result = await provider.charge("order-1", TEN, "EUR", source)
            assert (result.state, result.code) == (ChargeState.DECLINED, code)
        charge = await provider.close_key("order-1")
        assert charge is not None
        assert (charge.state, charge.code) == (ChargeState.DECLINED, code)

    @pytest.mark.parametrize(
        ("amount", "currency", "source"),
        [
            (Decimal("10.01"), "EUR", "tok_visa"),
            (TEN, "USD", "tok_visa"),
            (TEN, "EUR", "tok_chargeDeclined"),
        ],
    )
    async def test_a_key_stands_for_one_charge(
        self, provider: PaymentProvider, amount: Decimal, currency: str, source: str
    ) -> None:
        await provider.charge("order-1", TEN, "EUR", "tok_visa")
        with pytest.raises(PaymentKeyReused):
            await provider.charge("order-1", amount, currency, source)

    async def test_a_charge_that_never_answers_is_found_by_its_key(
        self, provider: PaymentProvider
    ) -> None:
        with pytest.raises(TimeoutError):
            await provider.charge("order-1", TEN, "EUR", "tok_timeout")
        charge = await provider.close_key("order-1")
        assert charge is not None
        assert charge.state is ChargeState.SUCCEEDED

    async def test_a_charge_that_never_arrived_can_be_closed_for_ever(
        self, provider: PaymentProvider
    ) -> None:
        with pytest.raises(TimeoutError):
            await provider.charge("order-1", TEN, "EUR", "tok_timeout_uncharged")
        assert await provider.find_charge("order-1") is None
        for _ in range(2):
            assert await provider.close_key("order-1") is None
        late = await provider.charge("order-1", TEN, "EUR", "tok_visa")
        assert (late.state, late.code) == (ChargeState.DECLINED, KEY_CLOSED)
        assert await provider.find_charge("order-1") is None

    async def test_refunds_never_exceed_the_charge(self, provider: PaymentProvider) -> None:
        await provider.charge("order-1", TEN, "EUR", "tok_visa")
        states = [
            await provider.refund(f"refund-{number}", "order-1", Decimal("4.00"))
            for number in range(3)
        ]
        assert [state.state for state in states[:2]] == [RefundState.SUCCEEDED] * 2
        assert (states[2].state, states[2].code) == (RefundState.DECLINED, "amount_exceeds_charge")
        charge = await provider.find_charge("order-1")
        assert charge is not None
        assert charge.refunded == Decimal("8.00")

    async def test_a_repeated_refund_gives_back_once(self, provider: PaymentProvider) -> None:
        await provider.charge("order-1", TEN, "EUR", "tok_visa")
        first = await provider.refund("refund-1", "order-1", TEN)
        assert await provider.refund("refund-1", "order-1", TEN) == first
        with pytest.raises(PaymentKeyReused):
            await provider.refund("refund-1", "order-1", Decimal(1))

    async def test_only_what_was_charged_is_refunded(self, provider: PaymentProvider) -> None:
        await provider.charge("order-1", TEN, "EUR", "tok_chargeDeclined")
        declined = await provider.refund("refund-1", "order-1", TEN)
        unknown = await provider.refund("refund-2", "order-2", TEN)
        assert (declined.code, unknown.code) == ("charge_not_succeeded", "charge_unknown")

    @pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "0.001", "1e12"])
    async def test_an_amount_that_is_none_is_not_charged(
        self, provider: PaymentProvider, amount: str
    ) -> None:
        with pytest.raises(Invalid):
            await provider.charge("order-1", Decimal(amount), "EUR", "tok_visa")
        assert await provider.find_charge("order-1") is None

    async def test_an_unsigned_webhook_is_refused(self, provider: PaymentProvider) -> None:
        with pytest.raises(WebhookRefused):
            provider.verify_webhook({}, b"{}")
