import pytest
from pydantic import ValidationError

from bulkhead.apps.commerce.products.cart.model import LineBody, MergeBody
from bulkhead.engine.ids import new_id


@pytest.mark.parametrize("quantity", [0, -1, 1000, 1.5, "many", None, True])
def test_a_quantity_that_makes_no_sense_is_refused(quantity: object) -> None:
    with pytest.raises(ValidationError):
        LineBody.model_validate({"variant_id": str(new_id()), "quantity": quantity})


def test_lines_of_one_variant_are_added_up_as_far_as_a_cart_goes() -> None:
    lamp, chair = new_id(), new_id()
    lines = [(lamp, 600), (chair, 2), (lamp, 600)]
    body = MergeBody(lines=[LineBody(variant_id=v, quantity=q) for v, q in lines])
    assert body.quantities() == {lamp: 999, chair: 2}
