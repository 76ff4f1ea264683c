from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.messaging.event import check_key, encode_event
from bulkhead.engine.references.deletion import (
    EVENT_CHARACTERS_MAX,
    EVENT_KEYS_MAX,
    TargetsDeleted,
    _chunks,
)

KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=2000)


@given(st.lists(KEYS, max_size=40))
def test_chunks_lose_nothing_and_fit_into_events(keys: list[str]) -> None:
    chunks = list(_chunks(keys))
    assert [key for chunk in chunks for key in chunk] == keys
    for chunk in chunks:
        assert 0 < len(chunk) <= EVENT_KEYS_MAX
        assert len(chunk) == 1 or sum(map(len, chunk)) <= EVENT_CHARACTERS_MAX
        assert encode_event(TargetsDeleted("products", chunk))


def test_many_short_keys_make_several_events() -> None:
    chunks = list(_chunks(str(number) for number in range(1201)))
    assert [len(chunk) for chunk in chunks] == [250, 250, 250, 250, 201]


def test_an_event_has_a_key_that_can_be_published() -> None:
    event = TargetsDeleted("products", ("\N{GRINNING FACE}" * 1000,))
    assert check_key(event) == event.key
