import os
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.vault.envelope import (
    HEADER,
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    DataKey,
    MasterKey,
    join,
    key_id_of,
)
from bulkhead.capabilities.vault.vault import last4
from bulkhead.engine.sealing import SealBroken, SealContext

MASTER = MasterKey(bytes(range(KEY_BYTES)))
KEY = DataKey(7, "tenant-1", os.urandom(KEY_BYTES))
PLACE = SealContext("shop.master", "bulkhead.fleet_tenants", "sealed", "row-1", "tenant-1")


def opens(sealed: bytes, place: SealContext = PLACE, key: DataKey = KEY) -> bool:
    try:
        key_id_of(sealed, place)
        key.open(sealed, place)
    except SealBroken:
        return False
    return True


@given(st.binary(max_size=2000))
def test_what_is_sealed_opens_and_is_as_long_as_the_format_says(plain: bytes) -> None:
    sealed = KEY.seal(plain, PLACE, MASTER.id)
    assert KEY.open(sealed, PLACE) == plain
    assert len(sealed) == HEADER.size + NONCE_BYTES + len(plain) + TAG_BYTES
    assert sealed[:1] == b"\x01"
    assert sealed[1:5] == MASTER.id
    assert key_id_of(sealed, PLACE) == 7
    assert len(plain) < 8 or plain not in sealed


def test_every_bit_counts_those_of_the_header_too() -> None:
    sealed = KEY.seal(b"hunter2 hunter2", PLACE, MASTER.id)
    accepted = []
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        if opens(bytes(changed)):
            accepted.append(bit)
    assert accepted == []
    assert opens(sealed)


def test_a_value_that_was_cut_or_lengthened_does_not_open() -> None:
    sealed = KEY.seal(b"hunter2", PLACE, MASTER.id)
    assert not any(opens(sealed[:length]) for length in range(len(sealed)))
    assert not opens(sealed + b"\0")
    assert not opens(b"")


@pytest.mark.parametrize("part", [field.name for field in fields(SealContext)])
def test_a_value_that_was_moved_does_not_open(part: str) -> None:
    sealed = KEY.seal(b"hunter2", PLACE, MASTER.id)
    assert not opens(sealed, replace(PLACE, **{part: "elsewhere"}))


def test_parts_of_a_place_cannot_be_shifted_into_one_another() -> None:
    sealed = KEY.seal(b"hunter2", replace(PLACE, table="ab", column="c"), MASTER.id)
    assert not opens(sealed, replace(PLACE, table="a", column="bc"))
    assert join(b"a", b"bc") != join(b"ab", b"c")


def test_another_key_does_not_open_it_even_under_the_same_number() -> None:
    sealed = KEY.seal(b"hunter2", PLACE, MASTER.id)
    assert not opens(sealed, key=DataKey(7, "tenant-1", os.urandom(KEY_BYTES)))


def test_a_key_is_unwrapped_for_its_row_only() -> None:
    wrapped = MASTER.wrap(KEY)
    assert len(wrapped) == 60
    assert MASTER.unwrap(wrapped, KEY.commitment, 7, "tenant-1") == KEY
    other = MasterKey(os.urandom(KEY_BYTES))
    for master, commitment, number, tenant in (
        (other, KEY.commitment, 7, "tenant-1"),
        (MASTER, KEY.commitment, 8, "tenant-1"),
        (MASTER, KEY.commitment, 7, "tenant-2"),
        (MASTER, os.urandom(16), 7, "tenant-1"),
    ):
        with pytest.raises(SealBroken):
            master.unwrap(wrapped, commitment, number, tenant)
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            MASTER.unwrap(bytes(changed), KEY.commitment, 7, "tenant-1")


def test_nothing_that_is_shown_holds_a_key() -> None:
    for text in (repr(KEY), repr(MASTER), str(KEY)):
        assert KEY.value.hex() not in text
        assert repr(KEY.value) not in text
        assert repr(MASTER.value) not in text
    assert MASTER.id not in MASTER.value
    assert MASTER.check not in MASTER.value


def test_fingerprints_are_equal_for_equal_secrets_of_one_purpose_and_key() -> None:
    one = KEY.fingerprint(b"sk_live_1", "stripe")
    assert one == KEY.fingerprint(b"sk_live_1", "stripe")
    assert len(one) == 16
    others = {
        KEY.fingerprint(b"sk_live_2", "stripe"),
        KEY.fingerprint(b"sk_live_1", "paypal"),
        DataKey(7, "tenant-1", os.urandom(KEY_BYTES)).fingerprint(b"sk_live_1", "stripe"),
    }
    assert len(others | {one}) == 4


def test_the_end_of_a_long_secret_may_be_shown() -> None:
    assert last4("sk_live_0123456789abcdef") == "cdef"
    assert last4("hunter2") == ""
