import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.ids import derive_id, new_hex, new_id


def test_a_new_id_is_a_uuid_of_version_7() -> None:
    made = new_id()
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_hexadecimal_digits_are_those_of_an_id() -> None:
    made = new_hex()
    assert uuid.UUID(made).hex == made
    assert uuid.UUID(made).version == 7


def test_new_ids_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("milliseconds", [0, 1_700_000_000_000, 2**48 - 1])
def test_a_new_id_carries_the_millisecond_of_its_birth(
    milliseconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: milliseconds * 1_000_000 + 999_999)
    assert new_id().int >> 80 == milliseconds


def test_new_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in range(1_700_000_000_000, 1_700_000_000_100):
        monkeypatch.setattr(time, "time_ns", lambda now=milliseconds: now * 1_000_000)
        made.append(new_id())
    assert made == sorted(made)


def test_a_derived_id_never_changes() -> None:
    derived = derive_id("commerce.order", uuid.UUID(int=1), "key-1")
    assert derived.version == 5
    assert derived == uuid.UUID("ef014fce-cc83-519a-b40e-9bb61ab040cd")


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_derived_ids_are_equal_only_for_equal_parts(left: list[str], right: list[str]) -> None:
    assert (derive_id("kind", *left) == derive_id("kind", *right)) is (left == right)


def test_where_one_part_ends_and_the_next_begins_matters() -> None:
    assert derive_id("kind", "a", "bc") != derive_id("kind", "ab", "c")
    assert derive_id("kind", "a") != derive_id("kinda")
