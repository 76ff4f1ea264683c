"""Generate the probes of what is not a declared table: functions, schemas, everything else."""

from collections.abc import Iterator, Mapping

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.schema.introspect import Connection
from bulkhead.engine.schema.probes.actors import ACTORS, ProbeActor
from bulkhead.engine.schema.probes.probe import Probe, ProbeVerb
from bulkhead.engine.schema.probes.rows import Target
from bulkhead.engine.schema.probes.samples import Samples
from bulkhead.engine.schema.relations import Name, Relation
from bulkhead.engine.topology import Actor

QUERIES = load_queries(__package__, "surface.sql")

_EVERYBODY = frozenset({"anon", "authenticated"})
CLAIM_READERS = {f"auth.{name}": _EVERYBODY for name in ("uid", "jwt", "role", "email")}
"""What the driver puts into every database for policies."""

ENGINE_SCHEMAS = ("bulkhead", "supabase_migrations")


async def generate_surface_probes(
    connection: Connection,
    samples: Samples,
    targets: Mapping[str, Target],
    relations: Mapping[Name, Relation],
) -> list[Probe]:
    """Probes of functions, of relations that nobody declared, of sequences and of schemas."""
    probes = [*_functions(await connection.fetch(QUERIES.functions), samples)]
    declared = {(target.table.schema, target.table.name) for target in targets.values()}
    for name, relation in relations.items():
        if name not in declared:
            probes += _undeclared(relation)
    for row in await connection.fetch(QUERIES.sequences):
        probes += _sequence(row["schema"], row["name"])
    schemas = [row["name"] for row in await connection.fetch(QUERIES.schemas)]
    return [*probes, *_creations(schemas)]


def _clients() -> Iterator[ProbeActor]:
    """One actor for each role that is not the service's: rights know no claims."""
    seen: set[str] = set()
    for actor in ACTORS:
        if actor.counts_as is not Actor.SERVICE and actor.role not in seen:
            seen.add(actor.role)
            yield actor


def _functions(rows: list[Mapping[str, object]], samples: Samples) -> Iterator[Probe]:
    for row in rows:
        name = f"{row['schema']}.{row['name']}"
        label = f"{name}({row['arguments']})"
        callers = samples.callers.get(name, CLAIM_READERS.get(name, frozenset()))
        for actor in ACTORS:
            is_service = actor.counts_as is Actor.SERVICE
            if is_service and row["schema"] in ENGINE_SCHEMAS:
                continue
            if not is_service and actor not in tuple(_clients()):
                continue
            sql = (
                f"select 1 where has_function_privilege({row['oid']}::oid, 'execute') "
                f"and has_schema_privilege({literal(row['schema'])}, 'usage')"
            )
            allowed = is_service or actor.role in callers
            yield Probe(actor, ProbeVerb.CALL, label, sql, allowed)


def _undeclared(relation: Relation) -> Iterator[Probe]:
    name = f"{identifier(relation.schema)}.{identifier(relation.name)}"
    column = identifier(next(iter(relation.columns), "ctid"))
    statements = {
        ProbeVerb.SELECT: f"select 1 from {name} limit 1",
        ProbeVerb.INSERT_OTHER: f"insert into {name} default values",
        ProbeVerb.UPDATE_COLUMN: f"update {name} set {column} = {column}",
        ProbeVerb.DELETE: f"delete from {name}",
    }
    for actor in _clients():
        for verb, sql in statements.items():
            yield Probe(actor, verb, relation.label, sql, allowed=False, reachable=False)


def _sequence(schema: str, name: str) -> Iterator[Probe]:
    target = literal(f"{identifier(schema)}.{identifier(name)}")
    for actor in _clients():
        for call in (f"nextval({target})", f"setval({target}, 1)"):
            sql = f"select {call}"
            yield Probe(actor, ProbeVerb.USE, f"{schema}.{name}", sql, allowed=False)


def _creations(schemas: list[str]) -> Iterator[Probe]:
    for actor in _clients():
        for schema in schemas:
            sql = f"create table {identifier(schema)}.probe_of_rights (id integer)"
            yield Probe(actor, ProbeVerb.CREATE, schema, sql, allowed=False, reachable=False)
        sql = "create temporary table probe_of_rights (id integer)"
        yield Probe(actor, ProbeVerb.CREATE, "pg_temp", sql, allowed=False, reachable=False)
