from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.gateway.claim_path import find_claim, parse_claim_path

CLAIMS: dict[str, Any] = {
    "role": "author",
    "app": {"roles": ["db_reader", "web", 5], "x-y": {"z": True}},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".role", "author"),
        ("role", "author"),
        ("$.role", "author"),
        (".app.roles[1]", "web"),
        (".app.roles[9]", None),
        ('.app."x-y".z', True),
        ('.app.roles[?(@ == "web")]', "web"),
        ('.app.roles[?(@ != "db_reader")]', "web"),
        ('.app.roles[?(@ ^== "db_")]', "db_reader"),
        ('.app.roles[?(@ ==^ "eb")]', "web"),
        ('.app.roles[?(@ *== "rea")]', "db_reader"),
        ('.app.roles[?(@ == "none")]', None),
        (".role[0]", None),
        (".role.x", None),
        (".app.roles.x", None),
        ('.role[?(@ == "author")]', None),
        (".missing.more", None),
    ],
)
def test_a_path_leads_to_a_claim_or_nowhere(path: str, found: object) -> None:
    assert find_claim(parse_claim_path(path), CLAIMS) == found


@pytest.mark.parametrize(
    "path", [".", ".a b", "[x]", '.a[?(@ = "b")]', '.a[?(@ == "b")].c', ".a[0", '."a']
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        parse_claim_path(path)


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_refused(path: str) -> None:
    try:
        steps = parse_claim_path(path)
    except ConfigurationInvalid:
        return
    find_claim(steps, CLAIMS)
