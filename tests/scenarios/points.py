"""Every point of the shop's sagas, webhooks and deliveries at which a process can die."""

from __future__ import annotations

from typing import Any, cast

from bulkhead.apps.commerce import application  # noqa: F401 - so does this
from bulkhead.apps.commerce.sagas import PAY_ORDER, PLACE_ORDER, REFUND_PAYMENT, build_sagas
from bulkhead.engine.failpoints import registered
from bulkhead.engine.messaging import relay  # noqa: F401 - registers its points

build_sagas(cast(Any, None))  # So that the points of the sagas are registered.


FORWARD = ("before", "after")
UNDO = ("before_undo", "after_undo")

NEVER_REACHED = frozenset(
    f"saga.{REFUND_PAYMENT}.{step}.{place}"
    for step in ("load_refund", "refund", "settle_refund")
    for place in UNDO
)
"""A refund is never taken back: once its row is there, it is only carried out or refused."""

POINTS = sorted(
    point
    for point in registered() - NEVER_REACHED
    if point.partition(".")[0] in {"saga", "webhook", "relay"}
    and not point.startswith("saga.transfer.")
)


def points_of(name: str, places: tuple[str, ...]) -> list[str]:
    """The points of one saga, those on its way or those on its way back."""
    return [
        point
        for point in POINTS
        if point.startswith(f"saga.{name}.") and point.rpartition(".")[2] in places
    ]


PLACING = points_of(PLACE_ORDER, FORWARD)
UNPLACING = points_of(PLACE_ORDER, UNDO)
PAYING = points_of(PAY_ORDER, FORWARD)
UNPAYING = points_of(PAY_ORDER, UNDO)
REFUNDING = points_of(REFUND_PAYMENT, FORWARD)
RELAYING = [point for point in POINTS if point.startswith("relay.")]
TELLING = [point for point in POINTS if point.startswith("webhook.")]
