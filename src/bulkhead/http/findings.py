"""What pydantic has found wrong in a request, within bounds and without what was sent."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

FINDINGS_MAX: Final = 20
"""An answer is not to be larger than what made it necessary: a body may have an error in every
third byte."""
PATH_CHARACTERS_MAX: Final = 200


def path_of(place: Sequence[object]) -> str:
    """Where a finding is, such as `body.items.0.quantity`."""
    path = ".".join(map(str, place))
    return path if len(path) <= PATH_CHARACTERS_MAX else f"{path[:PATH_CHARACTERS_MAX]}..."


def findings(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The first of pydantic's `errors()`, each as `{"path": ..., "message": ...}`."""
    return [{"path": path_of(it["loc"]), "message": it["msg"]} for it in errors[:FINDINGS_MAX]]
