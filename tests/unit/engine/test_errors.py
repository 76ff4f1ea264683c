import json
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.errors import BulkheadError, Conflict, Invalid, NotFound, Unavailable


class BasketHeavy(Conflict):
    """The basket weighs {weight_g} g, and at most {weight_g_max} g
    fit into a parcel.

    This second paragraph is for readers of the code.
    """

    code = "test_basket_heavy"
    hint = "Take out {surplus_g} g."


def test_the_first_paragraph_of_the_docstring_is_the_message() -> None:
    error = BasketHeavy(weight_g=900, weight_g_max=500, surplus_g=400)
    assert str(error) == "The basket weighs 900 g, and at most 500 g fit into a parcel."
    assert error.advice == "Take out 400 g."


def test_a_missing_detail_leaves_the_text_as_it_stands() -> None:
    assert str(NotFound()) == "{what} was not found."
    assert BasketHeavy().advice == "Take out {surplus_g} g."


def test_braces_in_a_detail_are_only_text() -> None:
    assert str(Invalid(reason="{0} {x} {")) == "The input is not acceptable: {0} {x} {."


def test_a_child_keeps_the_status_of_its_parent() -> None:
    assert BasketHeavy.status == Conflict.status == 409
    assert issubclass(BasketHeavy, BulkheadError)


def test_what_is_away_is_worth_repeating() -> None:
    assert Unavailable.retry_after_s == 1
    assert Conflict.retry_after_s is None


def test_an_error_as_json_keeps_what_json_knows_and_spells_out_the_rest() -> None:
    details = {
        "count": 2,
        "price": Decimal("9.90"),
        "id": UUID(int=7),
        "names": ("a", "b"),
        "nested": {1: {Decimal(1)}},
        "nothing": None,
    }
    told = Conflict(reason="closed", **details).to_json()
    assert json.loads(json.dumps(told)) == {
        "code": "conflict",
        "message": "The request conflicts with the present state: closed.",
        "hint": "",
        "details": {
            "reason": "closed",
            "count": 2,
            "price": "9.90",
            "id": "00000000-0000-0000-0000-000000000007",
            "names": ["a", "b"],
            "nested": {"1": ["1"]},
            "nothing": None,
        },
    }


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4))
def test_no_detail_keeps_an_error_from_being_told(details: dict[str, str]) -> None:
    error = NotFound(**details)
    assert error.to_json()["details"] == details
    assert str(error)


@pytest.mark.parametrize("error", [BulkheadError(), Conflict(reason="x")])
def test_an_error_can_be_raised_and_caught_as_one_of_ours(error: BulkheadError) -> None:
    with pytest.raises(BulkheadError) as caught:
        raise error
    assert caught.value is error
