"""How many rows a page has."""

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.apps.store_platform.store.records.service import count_fitting


@given(st.lists(st.integers(0, 50)))
def test_a_page_has_as_many_rows_as_fit_and_one_at_least(sizes: list[int]) -> None:
    fitting = count_fitting(sizes, 100)
    assert fitting <= len(sizes)
    assert fitting >= min(len(sizes), 1)
    assert fitting == 1 or sum(sizes[:fitting]) <= 100
    assert fitting == len(sizes) or sum(sizes[: fitting + 1]) > 100


def test_a_row_that_is_too_large_is_a_page_of_its_own() -> None:
    assert [count_fitting(sizes, 100) for sizes in ([], [500], [500, 1], [1, 500])] == [0, 1, 1, 1]
