"""How many stores an owner may have, by what staff have set."""

import pytest

from bulkhead.apps.store_platform.master.stores.model import STORES_MAX, choose_limit


def test_what_is_set_for_one_owner_comes_before_what_is_set_for_all() -> None:
    assert choose_limit([100, 3]) == 100
    assert choose_limit([0, 3]) == 0
    assert choose_limit([]) == STORES_MAX


@pytest.mark.parametrize("value", ["lots", "7", -1, 2.5, True, None, [7], {"limit": 7}])
def test_what_is_no_whole_number_is_as_if_it_were_not_set(value: object) -> None:
    assert choose_limit([value]) == STORES_MAX
    assert choose_limit([value, 3]) == 3
