from collections.abc import Iterator

import pytest

from bulkhead.engine import failpoints
from bulkhead.engine.errors import ConfigurationInvalid

PLAIN = failpoints.register("unit.plain")
COLON = failpoints.register("unit.flow:half")


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PLAIN, (PLAIN, 0)),
        (f"{PLAIN}:3", (PLAIN, 3)),
        (COLON, (COLON, 0)),
        (f"{COLON}:12", (COLON, 12)),
    ],
)
def test_a_point_is_armed_by_its_name_whether_or_not_that_has_a_colon(
    text: str, expected: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    armed: list[tuple[str, int]] = []
    monkeypatch.setattr(failpoints, "arm", lambda name, _, *, after: armed.append((name, after)))
    failpoints.arm_to_exit(text)
    assert armed == [expected]


@pytest.mark.parametrize("text", ["", "unit", "unit.plain:", "unit.plain:x", "unit.flow:1", ":1"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        failpoints.arm_to_exit(text)
