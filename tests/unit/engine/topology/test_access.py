import pytest

from bulkhead.engine.topology import Access, Actor, Verb
from bulkhead.engine.topology.access import EVERYTHING, NOTHING


def test_nobody_but_the_service_may_do_anything_unless_it_is_said() -> None:
    access = Access()
    allowed = {(actor, verb) for actor in Actor for verb in Verb if access.allows(actor, verb)}
    assert allowed == {(Actor.SERVICE, verb) for verb in Verb}


def test_verbs_are_listed_by_actor() -> None:
    access = Access.of(anon="select", owner="select update", staff="all")
    assert access.anon == {Verb.SELECT}
    assert access.owner == {Verb.SELECT, Verb.UPDATE}
    assert access.stranger == NOTHING
    assert access.staff == EVERYTHING
    assert access.allows(Actor.OWNER, Verb.UPDATE)
    assert not access.allows(Actor.OWNER, Verb.DELETE)


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(ValueError, match="truncate"):
        Access.of(staff="select truncate")


def test_a_table_is_public_when_nobody_in_particular_may_read_it() -> None:
    assert Access.of(anon="select").public_read
    assert not Access.of(owner="all", staff="all").public_read
