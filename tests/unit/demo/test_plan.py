from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.demo.retail_rows import (
    EVERYTHING,
    ORDER,
    SAME_CODE_TWO_PRICES,
    WHOLE_CANCELLATION,
    row,
)

from bulkhead.apps.commerce.orders.checkout.model import CheckoutBody
from bulkhead.demo.dataset import Dataset, Kind
from bulkhead.demo.generated import generate_retail
from bulkhead.demo.plan import (
    ADJUSTMENT,
    CORRECTION,
    PARTIAL,
    QUANTITY_MAX,
    TOO_FINE,
    Plan,
    PlannedCancellation,
    plan_replay,
    variant_id_of,
)
from bulkhead.demo.replay import render_checkout
from bulkhead.demo.retail import COLUMNS, Row, parse_invoices


def plan_of(*rows: Row, short_share: float = 0.0) -> Plan:
    dataset = Dataset("a test", parse_invoices([list(COLUMNS), *rows]))
    return plan_replay(dataset, short_share=short_share)


def test_every_line_is_either_replayed_or_named_with_its_reason() -> None:
    plan = plan_of(*EVERYTHING)
    assert plan.lines == {
        "ordered": 9,
        "cancelled": 3,
        PARTIAL: 1,
        ADJUSTMENT: 1,
        CORRECTION: 1,
        TOO_FINE: 1,
    }
    assert plan.lines.total() == len(EVERYTHING)


def test_a_code_has_a_variant_for_each_price_whatever_its_spelling() -> None:
    plan = plan_of(*SAME_CODE_TWO_PRICES)
    [product] = plan.products.values()
    assert (product.code, product.title) == ("85123A", "LAMP")
    assert product.description == "Also listed as: LAMP, WHITE."
    assert [variant.price for variant in plan.variants.values()] == [
        Decimal("2.55"),
        Decimal("2.95"),
    ]


def test_an_order_costs_what_its_invoice_does_and_keeps_its_duplicates() -> None:
    [order] = plan_of(*SAME_CODE_TWO_PRICES).orders
    assert order.total == Decimal("2.95") + 64 * Decimal("2.55")
    assert order.units == 65
    assert order.lines.count((variant_id_of("85123A", Decimal("2.55")), 32)) == 2
    assert order.note == "Invoice 536366 of 2011-03-04 10:00"
    assert order.month == "2011-03"


def test_what_is_rendered_is_what_a_checkout_takes() -> None:
    for order in plan_of(*EVERYTHING).orders:
        body = CheckoutBody.model_validate(render_checkout(order))
        assert sum(body.quantities().values()) == order.units
        assert body.expected_total == order.total


def test_an_invoice_with_more_lines_than_an_order_takes_is_split() -> None:
    rows = [row("581492", f"{20_000 + place}", 1, "1.00") for place in range(450)]
    orders = plan_of(*rows).orders
    assert [order.key for order in orders] == ["581492", "581492/2", "581492/3"]
    assert sum(order.total for order in orders) == 450
    assert {order.invoice for order in orders} == {"581492"}


def test_a_quantity_beyond_what_a_line_takes_goes_as_several_lines() -> None:
    [order] = plan_of(row("581483", "23843", 80_995, "2.08")).orders
    assert max(quantity for _, quantity in order.lines) == QUANTITY_MAX
    assert order.total == Decimal("168469.60")
    CheckoutBody.model_validate(render_checkout(order))


def test_a_cancellation_of_everything_cancels_the_order() -> None:
    *_, cancellation = plan_of(*ORDER, *WHOLE_CANCELLATION).actions
    assert isinstance(cancellation, PlannedCancellation)
    assert cancellation.orders == ("536365",)


def test_an_order_is_cancelled_once() -> None:
    again = [["C999999", *rest] for _, *rest in WHOLE_CANCELLATION]
    plan = plan_of(*ORDER, *WHOLE_CANCELLATION, *again)
    assert len(plan.actions) == 2
    assert plan.lines[PARTIAL] == 3


def test_a_cancellation_by_somebody_else_or_before_the_order_is_not_replayed() -> None:
    other = [[*fields[:6], "13047.0", fields[7]] for fields in WHOLE_CANCELLATION]
    assert plan_of(*ORDER, *other).lines[PARTIAL] == 3
    assert plan_of(*WHOLE_CANCELLATION, *ORDER).lines[PARTIAL] == 3


def test_whoever_is_not_named_shares_an_account_with_the_country() -> None:
    plan = plan_of(*EVERYTHING)
    assert {customer.email: customer.named for customer in plan.customers.values()} == {
        "customer-17850@example.com": True,
        "customer-13047@example.com": True,
        "walk-in-eire@example.com": False,
    }


def test_there_is_as_much_stock_as_is_ordered_unless_it_is_short_on_purpose() -> None:
    dataset = generate_retail(300)
    enough = plan_replay(dataset, short_share=0)
    wanted = dict.fromkeys(enough.variants, 0)
    for order in enough.orders:
        for variant_id, quantity in order.lines:
            wanted[variant_id] += quantity
    assert enough.stock == wanted
    short = plan_replay(dataset)
    assert short.short
    assert all(0 < short.stock[each] < wanted[each] for each in short.short)
    assert all(short.stock[each] == wanted[each] for each in wanted.keys() - short.short)


@settings(max_examples=8)  # each is an order book of its own; there are 400
@given(st.integers(min_value=1, max_value=400))
def test_the_plan_of_an_order_book_adds_up(limit: int) -> None:
    dataset = generate_retail(limit)
    plan = plan_replay(dataset)
    invoices = [each for each in dataset.invoices if each.kind is Kind.ORDER]
    assert plan.lines.total() == sum(len(invoice.lines) for invoice in dataset.invoices)
    assert sum((order.total for order in plan.orders), Decimal(0)) == sum(
        (line.total for invoice in invoices for line in invoice.lines), Decimal(0)
    )
    keys = [order.key for order in plan.orders]
    assert len(set(keys)) == len(keys)
