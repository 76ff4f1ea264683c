"""What stands in the address and the note of an order is what people see."""

from typing import Any

import pytest
from pydantic import ValidationError

from bulkhead.apps.commerce.orders.checkout.model import AddressBody, CheckoutBody

ADDRESS = {"name": "Ada", "line1": "1 Mill Street", "city": "Melton", "country": "GB"}
BODY: dict[str, Any] = {"shipping_address": ADDRESS, "payment_source": "tok_visa"}


@pytest.mark.parametrize("field", sorted(AddressBody.model_fields))
def test_an_address_has_no_line_that_reads_otherwise_than_it_is(field: str) -> None:
    for bad in ("Ada\u202eadA", "A\u2067da", "Ad\u200ba", "Ada\nX", "A\x1bd"):
        with pytest.raises(ValidationError) as refused:
            AddressBody.model_validate({**ADDRESS, field: bad})
        assert [each["loc"] for each in refused.value.errors()] == [(field,)], ascii(bad)
    AddressBody.model_validate({**ADDRESS, field: "Zoë 東京"})


def test_a_note_has_lines_and_nothing_that_nobody_sees() -> None:
    assert CheckoutBody.model_validate({**BODY, "note": "Ring twice,\nplease."}).note
    for bad in ("ring\u202eeciwt", "ring\u200btwice", "ring\x07"):
        with pytest.raises(ValidationError):
            CheckoutBody.model_validate({**BODY, "note": bad})
