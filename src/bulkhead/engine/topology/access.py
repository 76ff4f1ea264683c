"""Who may do what with the rows of a table: the policy matrix, declared once.

The SQL policies are written by hand in the migrations; this declaration is what the generated
attack test holds against them, so that leaks and over-denials both fail.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """What a statement does to a row."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


class Actor(StrEnum):
    """Who runs a statement, seen from one row."""

    ANON = "anon"
    """Nobody is signed in."""
    OWNER = "owner"
    """The signed-in user to whom the row belongs."""
    STRANGER = "stranger"
    """A signed-in user to whom the row does not belong."""
    STAFF = "staff"
    """A signed-in user whose `app_metadata.role` is `staff` or `admin`."""
    SERVICE = "service"
    """The application itself, as `service_role`; it may do everything."""


NOTHING: frozenset[Verb] = frozenset()
EVERYTHING: frozenset[Verb] = frozenset(Verb)


@dataclass(frozen=True, slots=True)
class Access:
    """The verbs that each actor may use on the rows of a table.

    `owner` also bounds what a user may do with a row that names them as its owner; a row that
    names somebody else is always the stranger's case, for inserts too.
    """

    anon: frozenset[Verb] = NOTHING
    owner: frozenset[Verb] = NOTHING
    stranger: frozenset[Verb] = NOTHING
    staff: frozenset[Verb] = NOTHING

    @classmethod
    def of(
        cls, *, anon: str = "", owner: str = "", stranger: str = "", staff: str = ""
    ) -> "Access":
        """Build from space-separated verbs, `all` standing for all four.

        >>> Access.of(anon="select", staff="all").staff == EVERYTHING
        True
        """
        return cls(
            anon=_verbs(anon), owner=_verbs(owner), stranger=_verbs(stranger), staff=_verbs(staff)
        )

    def allows(self, actor: Actor, verb: Verb) -> bool:
        """Whether `actor` may use `verb`."""
        if actor is Actor.SERVICE:
            return True
        allowed: frozenset[Verb] = getattr(self, actor.value)
        return verb in allowed

    @property
    def public_read(self) -> bool:
        """Whether everybody, signed in or not, may read the rows."""
        return Verb.SELECT in self.anon


def _verbs(text: str) -> frozenset[Verb]:
    if text == "all":
        return EVERYTHING
    return frozenset(Verb(word) for word in text.split())
