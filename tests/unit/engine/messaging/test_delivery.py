import datetime as dt

import pytest

from bulkhead.engine.errors import Conflict
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.delivery import (
    ERROR_CHARACTERS_MAX,
    count_together,
    render_failure,
)
from bulkhead.engine.messaging.event import Envelope
from bulkhead.engine.messaging.lease import Delivery

ENVELOPE = Envelope(new_id(), "shop.noted", "a", "{}", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "x")


@pytest.mark.parametrize(
    ("attempts", "together"),
    [
        ([0, 0, 0], 3),
        ([0, 0, 0, 0, 0], 4),
        ([2, 0, 0], 1),
        ([0, 0, 1, 0], 2),
        ([1], 1),
    ],
)
def test_a_delivery_that_has_failed_before_stands_alone(attempts: list[int], together: int) -> None:
    deliveries = [
        Delivery(position, 1, (0, 1), each, ENVELOPE) for position, each in enumerate(attempts)
    ]
    assert count_together(deliveries, 4) == together


def test_a_dead_letter_keeps_the_code_of_our_errors_and_the_class_of_others() -> None:
    assert render_failure(Conflict(reason="sold out")).startswith("conflict: The request")
    assert render_failure(ZeroDivisionError("by zero")) == "ZeroDivisionError: by zero"


def test_a_dead_letter_keeps_text_that_a_database_can_hold() -> None:
    kept = render_failure(ValueError("\0" + "x" * 5000))
    assert "\0" not in kept
    assert len(kept) <= ERROR_CHARACTERS_MAX
