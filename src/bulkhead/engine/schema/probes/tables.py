"""Generate the probes of one declared table: every actor x every verb x every column."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.schema.probes.actors import ACTORS, ALICE, BOB, IMPOSTORS, ProbeActor
from bulkhead.engine.schema.probes.probe import Probe, ProbeVerb
from bulkhead.engine.schema.probes.rows import Columns, SampleBook, SampleRow, Target
from bulkhead.engine.schema.probes.samples import Case
from bulkhead.engine.topology import Access, Actor, Verb


@dataclass(frozen=True, slots=True)
class TableCase:
    """One table with a row in one state: what its probes are made from."""

    target: Target
    case: Case
    row: SampleRow
    book: SampleBook

    @property
    def access(self) -> Access:
        """Who may do what with the row."""
        return self.case.access or self.target.table.access

    @property
    def where(self) -> str:
        """The condition that finds the row, or the user's rows in a view."""
        owner = self.target.owner
        if not self.row.values:
            return f"{identifier(owner.column)} = {literal(ALICE)}" if owner else "true"
        columns = [name for name in self.target.table.key if name in self.row.values]
        return " and ".join(
            f"{identifier(name)} = {self.target.typed(name, self.row.values[name])}"
            for name in columns
        )

    @property
    def actors(self) -> Iterator[ProbeActor]:
        """Everybody who tries; rows without an owner have none."""
        for actor in (*ACTORS, *IMPOSTORS):
            if actor.counts_as is not Actor.OWNER or self.target.table.owner is not None:
                yield actor

    def may(self, actor: ProbeActor, *verbs: Verb) -> bool:
        """Whether the declaration lets `actor` use all of `verbs` on the row."""
        refused = self.case.refused
        if actor.counts_as is not Actor.SERVICE:
            refused |= self.case.refused_to_clients
        return all(
            verb not in refused and self.access.allows(actor.counts_as, verb) for verb in verbs
        )

    def may_write(self, actor: ProbeActor, columns: frozenset[str], verb: Verb) -> bool:
        """Whether the declaration lets `actor` give all of `columns` in `verb`."""
        limit = (
            self.target.table.insert_columns
            if verb is Verb.INSERT
            else self.target.table.update_columns
        )
        if actor.counts_as is Actor.SERVICE or limit is None:
            return True
        return columns <= limit

    def probe(
        self,
        actor: ProbeActor,
        verb: ProbeVerb,
        sql: str,
        *,
        allowed: bool,
        column: str | None = None,
        writes: Columns | None = None,
    ) -> Probe:
        """Build a probe of this row."""
        label = self.target.relation.label
        return Probe(actor, verb, label, sql, allowed, self.case.name, column, writes or {})


def generate_table_probes(table_case: TableCase) -> Iterator[Probe]:
    """Every probe of one table and case; an impostor's only where something is forbidden."""
    for actor in table_case.actors:
        generators = [_reads(table_case, actor), _deletes(table_case, actor)]
        if table_case.target.relation.is_table:
            generators += [
                _inserts(table_case, actor),
                _upserts(table_case, actor),
                _truncates(table_case, actor),
            ]
        generators.append(_updates(table_case, actor))
        for generator in generators:
            for probe in generator:
                if not (actor.impostor and probe.allowed):
                    yield probe


def _reads(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    name, where = it.target.name, it.where
    yield it.probe(
        actor,
        ProbeVerb.SELECT,
        f"select 1 from {name} where {where}",
        allowed=it.may(actor, Verb.SELECT),
    )
    yield from _reads_of_columns(it, actor)
    if it.target.relation.is_table:
        # A row that a trigger keeps from changing can still be locked.
        may_lock = all(
            it.access.allows(actor.counts_as, verb) for verb in (Verb.SELECT, Verb.UPDATE)
        )
        sql = f"select 1 from {name} where {where} for update"
        yield it.probe(actor, ProbeVerb.LOCK, sql, allowed=may_lock)


def _reads_of_columns(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    if actor.impostor:
        return
    hidden = it.book.samples.hidden.get(it.target.table.name, frozenset())
    for name in it.target.relation.columns:
        is_shown = name not in hidden or actor.counts_as is Actor.SERVICE
        yield it.probe(
            actor,
            ProbeVerb.SELECT_COLUMN,
            f"select {identifier(name)} from {it.target.name} where {it.where}",
            allowed=is_shown and it.may(actor, Verb.SELECT),
            column=name,
        )


def _deletes(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    sql = f"delete from {it.target.name} where {it.where}"
    yield it.probe(actor, ProbeVerb.DELETE, sql, allowed=it.may(actor, Verb.DELETE))


def _inserts(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    verb = ProbeVerb.INSERT_OWN if actor.counts_as is Actor.OWNER else ProbeVerb.INSERT_OTHER
    columns = _fresh_row(it, actor)
    if columns is None:
        return
    allowed = it.may(actor, Verb.INSERT)
    sql = _insert(it.target, columns)
    yield it.probe(actor, verb, sql, allowed=allowed, writes=columns)
    if actor.impostor or actor.counts_as is Actor.SERVICE:
        return
    yield from _insert_columns(it, actor, columns)
    if actor.counts_as is Actor.OWNER:
        yield from _insert_elsewhere(
            it, actor, ProbeVerb.INSERT_UNDER_OTHER, hidden_only=True, allowed=False
        )
    elif actor.counts_as is Actor.STRANGER:
        yield from _insert_elsewhere(
            it, actor, ProbeVerb.INSERT_FOR_OTHER, hidden_only=False, allowed=allowed
        )


def _insert_columns(it: TableCase, actor: ProbeActor, columns: Columns) -> Iterator[Probe]:
    for name, facts in it.target.relation.columns.items():
        if name in columns or facts.is_generated:
            continue
        value = it.book.value_for(it.target, name, it.row)
        fresh = _fresh_row(it, actor) or columns
        allowed = it.may(actor, Verb.INSERT) and it.may_write(actor, frozenset({name}), Verb.INSERT)
        row = {**fresh, name: value}
        sql = _insert(it.target, row)
        yield it.probe(
            actor, ProbeVerb.INSERT_COLUMN, sql, allowed=allowed, column=name, writes=row
        )


def _insert_elsewhere(
    it: TableCase, actor: ProbeActor, verb: ProbeVerb, *, hidden_only: bool, allowed: bool
) -> Iterator[Probe]:
    """A row that names Alice but hangs on rows of Bob.

    Alice must not hang rows on what Bob does not show, nor may Bob do it in her name.
    """
    owner = it.target.owner
    parents = [
        it.book.targets[key.target[1]].table
        for key in it.target.relation.foreign_keys
        if key.target[1] in it.book.targets
        and key.target[1] != it.target.table.name
        and key.target[1] not in it.case.foreign
        and not (owner is not None and owner.first_column in key.columns)
    ]
    owned = [
        table
        for table in parents
        if table.owner is not None
        and not (hidden_only and table.access.allows(Actor.STRANGER, Verb.SELECT))
    ]
    usual = _fresh_row(it, actor)
    strange = _fresh_row(it, actor, under_another=True)
    if owned and usual is not None and strange is not None:
        # Without a difference in the columns given there is nothing to try.
        given = {c for key in it.target.relation.foreign_keys for c in key.columns}
        if any(usual.get(column) != strange.get(column) for column in given):
            sql = _insert(it.target, strange)
            yield it.probe(actor, verb, sql, allowed=allowed, writes=strange)


def _fresh_row(
    it: TableCase, actor: ProbeActor, *, under_another: bool = False
) -> dict[str, str] | None:
    """The columns of one more row that names Alice as its owner; None where it cannot be given."""
    columns = it.book.columns_of_another(
        it.target, it.case, it.row.user, parents_of=BOB if under_another else None
    )
    limit = it.target.table.insert_columns
    if actor.counts_as is Actor.SERVICE or limit is None:
        return columns
    owner = it.target.owner
    if owner is not None and owner.first_column not in limit and actor.counts_as is not Actor.OWNER:
        return None  # The owner is whoever inserts, so that nobody can name another.
    is_first = it.case == it.book.samples.cases_of(it.target.table.name)[0]
    if not is_first and not it.case.values.keys() <= limit:
        return None  # Clients cannot make a row in this state; the first case covers the rest.
    return {name: value for name, value in columns.items() if name in limit}


def _insert(target: Target, columns: Mapping[str, str]) -> str:
    if not columns:
        return f"insert into {target.name} default values"
    names = ", ".join(identifier(name) for name in columns)
    return f"insert into {target.name} ({names}) values ({', '.join(columns.values())})"


def _updates(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    limit = it.target.table.update_columns
    columns = [name for name, facts in it.target.relation.columns.items() if not facts.is_generated]
    if actor.impostor:
        columns = [name for name in columns if limit is None or name in limit][:1] or columns[:1]
    for name in columns:
        value = identifier(name)
        if name in it.row.values:
            # Not `c = c`: that would need the right to read it too.
            value = it.target.typed(name, it.row.values[name])
        allowed = it.may(actor, Verb.UPDATE) and it.may_write(actor, frozenset({name}), Verb.UPDATE)
        sql = f"update {it.target.name} set {identifier(name)} = {value} where {it.where}"
        yield it.probe(
            actor, ProbeVerb.UPDATE_COLUMN, sql, allowed=allowed, column=name, writes={name: value}
        )
    if not actor.impostor and it.target.relation.is_table:
        yield from _changes_of_owner(it, actor)


def _changes_of_owner(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    """Give Alice's row to Bob, who as the stranger takes it."""
    owner = it.target.owner
    value = it.book.owner_value(it.target, BOB)
    if owner is None or value is None or actor.counts_as is Actor.SERVICE:
        return
    column = owner.first_column
    allowed = (
        it.may(actor, Verb.UPDATE)
        and it.may_write(actor, frozenset({column}), Verb.UPDATE)
        and (actor.counts_as is Actor.STAFF or it.access.allows(Actor.STRANGER, Verb.UPDATE))
    )
    sql = f"update {it.target.name} set {identifier(column)} = {value}"
    if actor.counts_as is not Actor.OWNER:
        # An owner leaves WHERE out: with it, the new row would have to pass the policy to read too.
        sql += f" where {it.where}"
    yield it.probe(
        actor, ProbeVerb.UPDATE_OWNER, sql, allowed=allowed, column=column, writes={column: value}
    )


def _upserts(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    columns = it.book.columns_of_another(it.target, it.case, it.row.user)
    limit = it.target.table.insert_columns
    if limit is not None and actor.counts_as is not Actor.SERVICE:
        columns = {name: value for name, value in columns.items() if name in limit}
    # The same values again: what is tried is the right to write, not the rules of the data.
    columns = {name: it.target.typed(name, it.row.values[name]) for name in columns}
    for name in it.target.table.key:
        columns[name] = it.target.typed(name, it.row.values[name])
    changed = _column_to_change(it, columns)
    if changed is None or any(
        it.target.relation.columns[name].is_generated for name in it.target.table.key
    ):
        return
    allowed = (
        it.may(actor, Verb.SELECT, Verb.INSERT, Verb.UPDATE)
        and it.may_write(actor, frozenset(columns), Verb.INSERT)
        and it.may_write(actor, frozenset({changed}), Verb.UPDATE)
    )
    key = ", ".join(identifier(name) for name in it.target.table.key)
    sql = (
        f"{_insert(it.target, columns)} on conflict ({key}) "
        f"do update set {identifier(changed)} = excluded.{identifier(changed)}"
    )
    yield it.probe(actor, ProbeVerb.UPSERT, sql, allowed=allowed)


def _column_to_change(it: TableCase, columns: Mapping[str, str]) -> str | None:
    """A column that the insert gives and that, best of all, may be updated."""
    limit = it.target.table.update_columns
    given = [name for name in columns if name not in it.target.table.key]
    allowed = [name for name in given if limit is None or name in limit]
    return next(iter(allowed or given), None)


def _truncates(it: TableCase, actor: ProbeActor) -> Iterator[Probe]:
    # The service may, and emptying the table each time would tell nothing more.
    if actor.counts_as is not Actor.SERVICE and not actor.impostor:
        sql = f"truncate {it.target.name}"
        yield it.probe(actor, ProbeVerb.TRUNCATE, sql, allowed=False)
