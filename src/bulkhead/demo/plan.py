"""Decides, before anything is started, what of the invoices is replayed and with which shop.

A product is a stock code, and each price at which it was ever sold is a variant of it. The file
leaves no other choice: the same code is sold at several prices on the same day and even on the same
invoice, because who buys much pays less; "the price" of a code does not exist, a price list does.
Every line is then charged at exactly the price in the file, in whatever order requests arrive.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from bulkhead.apps.commerce.orders.checkout.model import LINES_MAX
from bulkhead.demo.dataset import Dataset, Invoice, Kind, Line, is_goods
from bulkhead.engine.ids import derive_id

CENT = Decimal("0.01")
QUANTITY_MAX = 10_000
"""Of one line of a request; what is more goes as several lines."""
SHORT_SHARE = 0.02
"""Of how many orders the shop has too little of something, on purpose."""

PARTIAL = "cancels a part of an order, or one from before the first invoice"
ADJUSTMENT = "adjusts the books"
CORRECTION = "corrects the stock: no customer, no price"
NEGATIVE = "takes something back within an order, or has a negative price"
TOO_FINE = "has a price finer than a penny"


@dataclass(frozen=True, slots=True)
class Variant:
    """A code at one of its prices."""

    id: UUID
    product_id: UUID
    code: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class Product:
    """A code; its name is what it is called most often."""

    id: UUID
    code: str
    slug: str
    title: str
    description: str
    goods: bool


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who orders; whoever is not named shares an account with others of the country."""

    email: str
    name: str
    named: bool


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """A checkout that will be sent."""

    key: str
    """The Idempotency-Key: the number of the invoice, with a part where it takes several orders."""
    invoice: str
    email: str
    country: str
    issued_at: dt.datetime
    lines: tuple[tuple[UUID, int], ...]
    total: Decimal

    @property
    def units(self) -> int:
        """How many things are ordered."""
        return sum(quantity for _, quantity in self.lines)

    @property
    def month(self) -> str:
        """The month of the invoice: `2011-08`."""
        return f"{self.issued_at:%Y-%m}"

    @property
    def note(self) -> str:
        """What the order keeps of its invoice, since it was not placed when that was issued."""
        return f"Invoice {self.invoice} of {self.issued_at:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class PlannedCancellation:
    """An invoice that cancels these orders, given by their keys, as a whole."""

    invoice: str
    email: str
    orders: tuple[str, ...]


Action = PlannedOrder | PlannedCancellation
Wanted = tuple[UUID, int, Decimal]


@dataclass(slots=True)
class Plan:
    """The shop and what happens in it, in the order of the invoices."""

    products: dict[UUID, Product] = field(default_factory=dict)
    variants: dict[UUID, Variant] = field(default_factory=dict)
    stock: dict[UUID, int] = field(default_factory=dict)
    short: frozenset[UUID] = frozenset()
    """Variants of which there is less than will be asked for."""
    customers: dict[str, Customer] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    lines: Counter[str] = field(default_factory=Counter)
    """How many lines of the file are replayed, and why the others are not."""
    amounts: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """What those lines come to."""

    @property
    def orders(self) -> list[PlannedOrder]:
        """The orders among the actions."""
        return [action for action in self.actions if isinstance(action, PlannedOrder)]

    def count(self, what: str, lines: Iterable[Line]) -> None:
        """Note what becomes of lines of the file."""
        for line in lines:
            self.lines[what] += 1
            self.amounts[what] += line.total


def plan_replay(dataset: Dataset, *, short_share: float = SHORT_SHARE) -> Plan:
    """Plan the replay of `dataset`; each of its lines is counted once."""
    plan = Plan()
    whole: defaultdict[tuple[object, ...], list[tuple[str, ...]]] = defaultdict(list)
    sold: list[Line] = []
    for invoice in dataset.invoices:
        match invoice.kind:
            case Kind.ORDER:
                lines = _replayable(plan, invoice)
                sold += lines
                keys = tuple(_add_orders(plan, invoice, lines))
                if keys and invoice.customer and len(lines) == len(invoice.lines):
                    whole[_content(invoice, 1)].append(keys)
            case Kind.CANCELLATION:
                matching = whole.get(_content(invoice, -1))
                _add_cancellation(plan, invoice, matching.pop() if matching else ())
            case Kind.ADJUSTMENT:
                plan.count(ADJUSTMENT, invoice.lines)
            case Kind.STOCK_CORRECTION:
                plan.count(CORRECTION, invoice.lines)
    _add_shop(plan, sold)
    _stock_up(plan, short_share)
    return plan


def variant_id_of(code: str, price: Decimal) -> UUID:
    """The id of a code at a price, however either is written."""
    return derive_id("demo.variant", code.upper(), price.quantize(CENT))


def _replayable(plan: Plan, invoice: Invoice) -> list[Line]:
    """The lines that can be ordered; the others are counted."""
    lines = []
    for line in invoice.lines:
        if line.quantity <= 0 or line.unit_price < 0:
            plan.count(NEGATIVE, [line])
        elif line.unit_price != line.unit_price.quantize(CENT):
            plan.count(TOO_FINE, [line])
        else:
            lines.append(line)
    return lines


def _add_orders(plan: Plan, invoice: Invoice, lines: Sequence[Line]) -> Iterator[str]:
    """Order the lines of an invoice, in several orders when they are too many for one."""
    if not lines:
        return
    customer = _customer(invoice)
    plan.customers.setdefault(customer.email, customer)
    plan.count("ordered", lines)
    wanted = [
        (variant_id_of(line.code, line.unit_price), quantity, line.unit_price)
        for line in lines
        for quantity in _portions(line.quantity)
    ]
    for part, portion in enumerate(_pages(wanted)):
        key = f"{invoice.number}/{part + 1}" if part else invoice.number
        total = sum((price * quantity for _, quantity, price in portion), Decimal(0))
        plan.actions.append(
            PlannedOrder(
                key,
                invoice.number,
                customer.email,
                invoice.country,
                invoice.issued_at,
                tuple((variant, quantity) for variant, quantity, _ in portion),
                total,
            )
        )
        yield key


def _portions(quantity: int) -> Iterator[int]:
    while quantity > 0:
        yield min(quantity, QUANTITY_MAX)
        quantity -= QUANTITY_MAX


def _pages(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    for first in range(0, len(wanted), LINES_MAX):
        yield wanted[first : first + LINES_MAX]


def _customer(invoice: Invoice) -> Customer:
    if invoice.customer:
        return Customer(
            f"customer-{invoice.customer}@example.com", f"Customer {invoice.customer}", named=True
        )
    place = _slug(invoice.country)
    return Customer(f"walk-in-{place}@example.com", f"Walk-in, {invoice.country}", named=False)


def _add_cancellation(plan: Plan, invoice: Invoice, orders: tuple[str, ...]) -> None:
    plan.count("cancelled" if orders else PARTIAL, invoice.lines)
    if orders:
        email = _customer(invoice).email
        plan.actions.append(PlannedCancellation(invoice.number, email, orders))


def _content(invoice: Invoice, sign: int) -> tuple[object, ...]:
    """Customer, codes, prices and quantities: what an order and its cancellation have in common."""
    quantities: Counter[tuple[str, Decimal]] = Counter()
    for line in invoice.lines:
        quantities[line.code.upper(), line.unit_price] += sign * line.quantity
    return invoice.customer, frozenset(quantities.items())


def _add_shop(plan: Plan, sold: Iterable[Line]) -> None:
    names: defaultdict[str, Counter[str]] = defaultdict(Counter)
    prices: defaultdict[str, set[Decimal]] = defaultdict(set)
    for line in sold:
        code = line.code.upper()
        names[code][line.description or code] += 1
        prices[code].add(line.unit_price.quantize(CENT))
    for code in sorted(names):
        product = _product(code, [name for name, _ in names[code].most_common()])
        plan.products[product.id] = product
        for price in sorted(prices[code]):
            variant_id = variant_id_of(code, price)
            plan.variants[variant_id] = Variant(variant_id, product.id, code, price)


def _product(code: str, names: Sequence[str]) -> Product:
    return Product(
        derive_id("demo.product", code),
        code,
        _slug(f"{names[0]} {code}"),
        names[0],
        f"Also listed as: {'; '.join(names[1:])}." if len(names) > 1 else "",
        is_goods(code),
    )


def _stock_up(plan: Plan, short_share: float) -> None:
    """As much as will be ordered, but half of that of some variants that several orders want."""
    wanted: Mapping[UUID, Counter[str]] = defaultdict(Counter)
    for order in plan.orders:
        for variant_id, quantity in order.lines:
            wanted[variant_id][order.key] += quantity
    touched: set[str] = set()
    short = set()
    several = [variant_id for variant_id, orders in wanted.items() if 1 < len(orders) <= 20]  # noqa: PLR2004
    for variant_id in sorted(several):
        if len(touched) >= short_share * 2 * len(plan.orders):
            break
        short.add(variant_id)
        touched |= wanted[variant_id].keys()
    plan.short = frozenset(short)
    plan.stock = {
        variant_id: orders.total() // 2 if variant_id in short else orders.total()
        for variant_id, orders in wanted.items()
    }


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
