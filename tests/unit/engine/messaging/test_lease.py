from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.messaging.lease import GRACE_S, Floor, Seen, keep_unbroken, list_passable

LOOKS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40).map(
    lambda rows: [Seen(position, lane, free) for position, (lane, free) in enumerate(rows, 1)]
)


@given(LOOKS)
def test_of_each_lane_exactly_the_free_head_is_passable(seen: list[Seen]) -> None:
    passable = list_passable(seen)
    for lane in range(5):
        rows = [row for row in seen if row.lane == lane]
        head = next((index for index, row in enumerate(rows) if not row.free), len(rows))
        assert [row for row in passable if row.lane == lane] == rows[:head]
    assert passable == sorted(passable, key=lambda row: row.position)


@given(LOOKS, st.sets(st.integers(1, 40)))
def test_what_follows_a_gap_in_its_lane_is_not_kept(seen: list[Seen], lost: set[int]) -> None:
    chosen = list_passable(seen)
    leased = {row.position for row in chosen} - lost
    held, broken = keep_unbroken(chosen, leased)
    assert sorted(held + broken) == sorted(leased)
    lanes: dict[int, list[int]] = defaultdict(list)
    for row in chosen:
        lanes[row.lane].append(row.position)
    for positions in lanes.values():
        kept = [position for position in positions if position in held]
        assert kept == positions[: len(kept)]


def look(floor: Floor, highest: int, at_s: float, left_behind: int | None = None) -> int:
    floor.advance(highest=highest, left_behind=left_behind, stuck=False, now_s=at_s)
    return floor.position


def test_the_floor_lags_behind_what_was_seen() -> None:
    floor = Floor(moved_at_s=0.0)
    assert look(floor, 100, 0.0) == 0
    assert look(floor, 200, GRACE_S) == 0
    assert look(floor, 300, 1.9 * GRACE_S) == 0
    assert look(floor, 400, 2 * GRACE_S) == 200
    assert look(floor, 500, 3 * GRACE_S) == 400


def test_the_floor_stays_below_what_could_have_been_taken() -> None:
    floor = Floor(moved_at_s=0.0)
    look(floor, 100, 0.0)
    look(floor, 100, GRACE_S)
    assert look(floor, 100, 2 * GRACE_S, left_behind=40) == 39
    assert look(floor, 100, 3 * GRACE_S) == 100


def test_a_window_without_anything_free_is_passed_over_at_once() -> None:
    floor = Floor(moved_at_s=0.0)
    floor.advance(highest=1000, left_behind=None, stuck=True, now_s=0.0)
    assert floor.position == 1000
    floor.reset()
    assert floor.position == 0
