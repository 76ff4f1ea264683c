from dataclasses import dataclass
from typing import ClassVar

import pytest

from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import TopologyInvalid
from bulkhead.engine.messaging.outbox import Outbox
from bulkhead.engine.messaging.subscription import Subscription


@dataclass(frozen=True)
class Shipped:
    type: ClassVar[str] = "shop.shipped"
    key: str


@dataclass(frozen=True)
class SentOff:
    type: ClassVar[str] = "shop.shipped"
    key: str


async def handle(_tx: Transaction, _event: object) -> None:
    raise NotImplementedError


def test_two_handlers_may_receive_the_same_event() -> None:
    outbox = Outbox(
        "shop",
        [
            Subscription(Shipped, "orders", "orders.note", handle),
            Subscription(Shipped, "users", "users.mail", handle),
        ],
    )
    assert set(outbox.subscriptions) == {"orders.note", "users.mail"}


def test_two_handlers_cannot_have_one_name() -> None:
    twice = [Subscription(Shipped, name, "a.b", handle) for name in ("orders", "users")]
    with pytest.raises(TopologyInvalid, match=r"'a\.b' is declared twice"):
        Outbox("shop", twice)


def test_two_classes_cannot_have_one_event_type() -> None:
    both = [
        Subscription(Shipped, "orders", "orders.note", handle),
        Subscription(SentOff, "users", "users.mail", handle),
    ]
    with pytest.raises(TopologyInvalid, match=r"two classes have the event type 'shop\.shipped'"):
        Outbox("shop", both)
