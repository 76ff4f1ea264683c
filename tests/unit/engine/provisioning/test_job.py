from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.drivers.errors import LoginRefused
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.errors import Invalid
from bulkhead.engine.extract.model import Key, Kind
from bulkhead.engine.fleet.model import ConnectionConfig, SecretText, ServerKind, TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import JobMode, JobState, ProvisioningRequest
from bulkhead.engine.provisioning.runner import HINTS
from bulkhead.engine.provisioning.spares import physical_name
from bulkhead.engine.provisioning.steps import STEPS
from bulkhead.engine.provisioning.tables import part_of

TENANT = TenantId(UUID(int=1))
CONFIG = ConnectionConfig(
    ServerKind.POSTGRESQL, "db.example", 5432, "shop", "owner", SecretText("hush")
)
REQUEST = ProvisioningRequest(TENANT, "store", "A shop", config=CONFIG)


def test_a_request_is_known_by_all_but_its_secrets() -> None:
    other_password = replace(REQUEST, config=replace(CONFIG, password=SecretText("other")))
    assert other_password.hash == REQUEST.hash
    others = [
        replace(REQUEST, label="Another shop"),
        replace(REQUEST, config=None),
        replace(REQUEST, config=replace(CONFIG, host="db2.example")),
        replace(REQUEST, config=replace(CONFIG, database="shop2")),
        replace(REQUEST, labels={"region": "eu"}),
    ]
    assert len({REQUEST.hash, *(other.hash for other in others)}) == len(others) + 1


def test_a_request_without_a_connection_has_a_database_made() -> None:
    assert REQUEST.mode is JobMode.CONNECT
    for kind in ServerKind:
        assert replace(REQUEST, config=None, kind=kind).mode is JobMode.CREATE


def test_a_request_refuses_a_connection_of_another_kind() -> None:
    with pytest.raises(Invalid, match="another kind"):
        replace(REQUEST, kind=ServerKind.MYSQL)


def test_three_states_are_the_end() -> None:
    ended = {state for state in JobState if state.has_ended}
    assert ended == {JobState.ACTIVE, JobState.FAILED, JobState.CANCELLED}


def test_progress_grows_from_step_to_step() -> None:
    shares = [step.share for step in STEPS]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 100


@given(st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True).filter(lambda n: n[:3] != "pg_"))
def test_a_physical_name_is_usable_on_every_server(fleet: str) -> None:
    try:
        DatabaseSpec(fleet)
    except Invalid:
        return
    name = physical_name(fleet, new_id())
    assert len(DatabaseSpec(name, login_prefix=name).name) + len("_service") <= 32


def test_physical_names_of_two_jobs_differ() -> None:
    assert len({physical_name("store", new_id()) for _ in range(1000)}) == 1000


@given(*[st.tuples(st.sampled_from(Kind), st.text(), st.text())] * 2)
def test_two_objects_are_noted_differently(
    one: tuple[Kind, str, str], other: tuple[Kind, str, str]
) -> None:
    assert (part_of(Key(*one)) == part_of(Key(*other))) == (one == other)


def test_a_hint_for_an_owner_does_not_speak_of_the_operators_files() -> None:
    assert "secret.key" in LoginRefused.hint
    assert all("secret.key" not in hint and "bulkhead" not in hint for hint in HINTS.values())
