"""Run the rules over a database."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.schema.introspect import Connection, qualified_names
from bulkhead.engine.schema.lint.rules import CATALOGUE_RULES, Category, Level, Rule
from bulkhead.engine.schema.lint.topology_rules import check_topology
from bulkhead.engine.schema.relations import read_relations
from bulkhead.engine.topology import Database

EXPOSED = ("public",)


class Part(StrEnum):
    """What rules look at; those of one part are asked by one statement."""

    TABLES = "tables"
    POLICIES = "policies"
    FUNCTIONS = "functions"
    ROLES = "roles"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that a rule found."""

    level: Level
    name: str
    object: str
    detail: str
    category: Category
    remediation: str

    @property
    def cache_key(self) -> str:
        """What to list in `muted` to accept it: `key_guessable:public.tickets.number`."""
        return f"{self.name}:{self.object}"


async def lint(
    connection: Connection,
    database: Database | None = None,
    *,
    exposed: Collection[str] = EXPOSED,
    muted: Collection[str] = (),
    parts: Iterable[Part] = tuple(Part),
) -> tuple[Finding, ...]:
    """What is wrong with the catalogue of `connection`, errors first.

    With `database` the catalogue is also held against its declaration. `exposed` are the schemas
    that an API shows; `muted` lists the cache keys of findings that were accepted. Who waits for
    one finding asks for the `parts` one by one: each costs the server tens of milliseconds.
    """
    async with qualified_names(connection):
        rules = {rule.name: rule for rule in CATALOGUE_RULES}
        findings = [
            _finding(rules[row["rule"]], row["object"], row["detail"])
            for part in parts
            for row in await connection.fetch(STATEMENTS[part], list(exposed))
        ]
        if database is not None:
            relations = await read_relations(connection)
            findings += [
                _finding(rule, name, detail)
                for rule, name, detail in check_topology(database, relations, exposed)
            ]
    order = list(Level)
    return tuple(
        sorted(
            (finding for finding in findings if finding.cache_key not in muted),
            key=lambda finding: (order.index(finding.level), finding),
        )
    )


def _finding(rule: Rule, name: str, detail: str) -> Finding:
    return Finding(rule.level, rule.name, name, detail, rule.category, rule.remediation)


def _render_statement(part: Part) -> str:
    """One statement for all rules of a part: one round trip, one look at the catalogue."""
    base = vars(load_queries(__package__, "base.sql"))["base"]
    parts = [
        f"select '{name}' as rule, q.object, q.detail from ({text}) as q (object, detail)"
        for name, text in vars(load_queries(__package__, f"{part}.sql")).items()
    ]
    return f"with {base}\n" + "\nunion all\n".join(parts)


# One for each part: asyncpg keeps a statement prepared up to 15 kB of text.
STATEMENTS = {part: _render_statement(part) for part in Part}
