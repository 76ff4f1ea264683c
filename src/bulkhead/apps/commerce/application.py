"""The commerce application: what it declares, and how it is mounted."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bulkhead.apps.commerce.events import UserSignedUp
from bulkhead.apps.commerce.handlers import SUBSCRIPTIONS
from bulkhead.apps.commerce.invariants import commerce_invariants
from bulkhead.apps.commerce.jobs import JOBS
from bulkhead.apps.commerce.orders.history.routes import routes as history_routes
from bulkhead.apps.commerce.orders.pricing.model import PriceRules
from bulkhead.apps.commerce.orders.webhooks.service import receive_event
from bulkhead.apps.commerce.products.cart.routes import routes as cart_routes
from bulkhead.apps.commerce.products.catalogue.routes import routes as catalogue_routes
from bulkhead.apps.commerce.products.search.routes import routes as search_routes
from bulkhead.apps.commerce.routes import Checkout, refund_payment, webhook_routes
from bulkhead.apps.commerce.routes import routes as checkout_routes
from bulkhead.apps.commerce.sagas import build_sagas
from bulkhead.apps.commerce.sample import load_sample
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.capabilities.identity import (
    Identity,
    UserRow,
    current_user,
    deliver_mail,
    identity_migrations,
    inbox_routes,
    maybe_user,
    open_identity,
)
from bulkhead.capabilities.payments.local import LocalProvider
from bulkhead.capabilities.payments.provider import PaymentEvent, PaymentProvider
from bulkhead.engine import failpoints
from bulkhead.engine.application import Application, Mounted
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.messaging.outbox import publish

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.settings import Settings
    from bulkhead.engine.system import System

NAME = "commerce"

WEBHOOK_ARRIVED = failpoints.register("webhook.payments.arrived")
WEBHOOK_RECEIVED = failpoints.register("webhook.payments.received")


@dataclass(frozen=True, slots=True)
class Outside:
    """The world outside of the databases."""

    payments: PaymentProvider
    rules: PriceRules


def connect_outside(settings: Settings) -> Outside:
    """The local payment company; its books lie beside the databases, not in them."""
    path = settings.home / "secret.key"
    settings.home.mkdir(parents=True, exist_ok=True)
    secret = Secret.load(path) or Secret.create(path)
    return Outside(
        LocalProvider(
            settings.home / "local-payments.sqlite",
            hmac.new(secret.value, b"payments", "sha256").hexdigest(),
            f"{settings.origin}/{NAME}/webhooks/payments",
        ),
        PriceRules(),
    )


def mount(system: System) -> Mounted:
    """Build the routes and workers over the open databases."""
    outside: Outside = system.outside
    assert system.application.people is not None, "the shop has users"
    people: Identity = system.application.people(system)
    signed_in = current_user(people)
    checkout = Checkout(
        system.database("orders"),
        system.database("products"),
        system.sagas,
        outside.payments,
        outside.rules,
    )

    async def receive(event: PaymentEvent) -> str:
        await failpoints.reach(WEBHOOK_ARRIVED)
        async with system.database("orders").transaction(SERVICE) as tx:
            receipt = await receive_event(tx, event)
        await failpoints.reach(WEBHOOK_RECEIVED)
        if receipt.refund_id is not None:
            await refund_payment(system.sagas, receipt.refund_id)
        return receipt.outcome

    browsing = maybe_user(people)
    return Mounted(
        routers=(
            inbox_routes(people),
            catalogue_routes(system.database("products"), browsing),
            search_routes(system.database("products"), browsing),
            cart_routes(system.database("products"), signed_in),
            checkout_routes(checkout, signed_in),
            history_routes(system.database("orders"), signed_in),
            webhook_routes(outside.payments, receive),
        ),
        workers=(partial(deliver_mail, people), *_payment_workers(outside)),
        notes=_notes(system, people),
        people=people,
    )


def people_of(system: System) -> Identity:
    """The users of the application; their profile is made in the transaction that signs them up."""
    return open_identity(
        NAME,
        system.database("users"),
        system.settings,
        title="AVNERA",
        on_confirmed=_welcome,
    )


async def _welcome(tx: Transaction, user: UserRow) -> None:
    publish(tx, UserSignedUp(user.id, user.email or ""))


def _payment_workers(outside: Outside) -> tuple[Callable[[], Awaitable[None]], ...]:
    return (outside.payments.run,) if isinstance(outside.payments, LocalProvider) else ()


def _notes(system: System, people: Identity) -> tuple[str, ...]:
    origin = system.settings.origin
    return (
        f"Products        {origin}/{NAME}/products",
        f"Mail inbox      {origin}/{NAME}/inbox",
        f"Token issuer    {people.issuer}",
    )


APPLICATION = Application(
    NAME,
    "AVNERA commerce",
    TOPOLOGY,
    subscriptions=SUBSCRIPTIONS,
    outside=connect_outside,
    sagas=lambda outside: build_sagas(outside.payments),
    jobs=JOBS,
    invariants=commerce_invariants(),
    migrations=(identity_migrations("users"),),
    people=people_of,
    mount=mount,
    load_sample=load_sample,
)
