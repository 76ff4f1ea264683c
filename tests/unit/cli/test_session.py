import gc

import pytest

from bulkhead.cli.session import lasting


def test_nobody_looks_for_garbage_where_what_lasts_is_made_and_later_among_the_rest_only() -> None:
    before = gc.get_freeze_count()
    made: list[list[int]] = []
    with pytest.raises(LookupError):
        _make(made)
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def _make(made: list[list[int]]) -> None:
    with lasting():
        made += [[] for _ in range(1000)]
        assert not gc.isenabled()
        raise LookupError
