import pytest

from bulkhead.engine.fleet.move_store import MoveOfAnother, move_of
from bulkhead.engine.ids import new_id


def test_a_step_of_another_release_is_told_and_not_guessed() -> None:
    with pytest.raises(MoveOfAnother, match="at step 'polished', which this release"):
        move_of({"tenant": new_id(), "step": "polished"})
