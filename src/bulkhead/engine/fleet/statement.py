"""SQLAlchemy Core statements in the SQL of a tenant's server, compiled once and kept.

Compiling takes longer than a small query does. Statements of the same shape share what was
compiled, whatever their values are: values are always bound, never rendered. Without an engine of
SQLAlchemy's own in between, the driver's rows reach the caller untouched unless a type asks for
more.
"""
# SQLAlchemy offers its cache of compiled statements to its own engine only.
# ruff: noqa: SLF001

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from weakref import ref

from sqlalchemy import Float
from sqlalchemy.dialects.mysql import dialect as mysql_dialect
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.sql import ClauseElement, Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import LRUCache

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import Invalid

Values = Mapping[str, Any]
Row = Mapping[str, Any]
Converter = Callable[[Any], Any]

KEPT_MAX = 1000
"""Shapes of statements that are kept compiled, per dialect."""
_OID_FLOAT: Final = 701
_OID_NUMERIC: Final = 1700


class _PostgresDialect(PGDialect_asyncpg):
    """PostgreSQL's with casts of parameters; json arrives as text, as from every connection."""

    supports_statement_cache = True
    supports_native_json_deserialization = False


@dataclass(slots=True)
class Ready:
    """A statement with its values, ready to be sent."""

    sql: str
    args: Sequence[object]


@dataclass(slots=True, eq=False)
class Compiled:
    """A statement in the SQL of one dialect, whose values can be filled in again and again."""

    sql: str
    compiler: SQLCompiler
    slots: tuple[tuple[str, Converter | None], ...]
    """The parameters in the order of their placeholders, and what converts a value for them."""
    given: dict[str, Any]
    """The values that the statement itself holds, None where it holds none."""
    required: frozenset[str]
    defaults: tuple[tuple[str, Any], ...]
    """Columns whose value is made anew for each row, with what makes it."""
    expands: bool
    """Whether the SQL depends on the values: on how many there are in a list."""
    converters: dict[str, Converter]
    """What converts the columns of the result, where something must."""
    is_plain: bool = field(init=False)
    """Whether its parameters are exactly the values that must be given."""
    is_bare: bool = field(init=False)
    """Whether they are also sent as they are given."""

    def __post_init__(self) -> None:
        named = self.required == self.given.keys()
        self.is_plain = named and not self.defaults and not self.expands
        self.is_bare = self.is_plain and all(convert is None for _, convert in self.slots)

    def fill(self, values: Values) -> Ready:
        """Put `values` in; raises Invalid when some are missing or unknown."""
        if self.is_plain and values.keys() == self.required:
            if self.is_bare:
                return Ready(self.sql, [values[name] for name, _ in self.slots])
            return Ready(self.sql, [_converted(values[name], f) for name, f in self.slots])
        if missing := self.required - values.keys():
            raise Invalid(reason=f"the statement needs a value for {', '.join(sorted(missing))}")
        filled = {**self.given, **values, **self._make_defaults(values)}
        if len(filled) != len(self.given):
            unknown = ", ".join(sorted(filled.keys() - self.given.keys()))
            raise Invalid(reason=f"the statement has no parameter {unknown}")
        if self.expands:
            return self._expand(filled)
        return Ready(
            self.sql,
            [_converted(filled[name], convert) for name, convert in self.slots],
        )

    def convert(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows as the types of their columns want them."""
        if not self.converters:
            return rows
        converters = self.converters
        return [
            {
                name: converters[name](value) if name in converters else value
                for name, value in row.items()
            }
            for row in rows
        ]

    def _make_defaults(self, values: Values) -> Values:
        return {
            name: default.arg(None) if default.is_callable else default.arg
            for name, default in self.defaults
            if name not in values
        }

    def _expand(self, filled: dict[str, Any]) -> Ready:
        state = self.compiler.construct_expanded_state(filled, escape_names=False)
        processors = {**self.compiler._bind_processors, **state.processors}
        args = []
        for name in state.positiontup or ():
            convert = _single(processors.get(name))
            args.append(_converted(state.parameters[name], convert))
        return Ready(state.statement, args)


@dataclass(slots=True, eq=False)
class _Known:
    """A statement that was compiled, as long as somebody holds it."""

    statement: ref[Executable]
    is_dml: bool
    shapes: dict[tuple[str, ...], Compiled] = field(default_factory=dict)


class Compiler:
    """Compiles for one dialect and keeps what it compiled."""

    def __init__(self, dialect: Dialect) -> None:
        """Begin with nothing compiled."""
        self.dialect = dialect
        self.sql_dialect: SqlDialect = (
            _PostgresDialect()  # type: ignore[no-untyped-call]
            if dialect is Dialect.POSTGRESQL
            else mysql_dialect(paramstyle="format")
        )
        self._shapes: LRUCache[Any, Any] = LRUCache(KEPT_MAX)
        self._known: dict[int, _Known] = {}
        """By the identity of the statement, which is cheaper to look up than a weak key."""

    def compile(self, statement: Executable, values: Values | None = None) -> Compiled:
        """Compile `statement`; an INSERT or UPDATE without values of its own sets those given.

        Raises sqlalchemy.exc.CompileError for what the dialect cannot say.
        """
        known = self._known.get(id(statement))
        if known is None:
            known = self._known[id(statement)] = self._know(statement)
        # What a query is given does not change its text.
        columns = tuple(sorted(values)) if values and known.is_dml else ()
        if (found := known.shapes.get(columns)) is None:
            found = known.shapes[columns] = self._compile(statement, columns)
        return found

    def render(self, statement: ClauseElement) -> str:
        """Render a statement that has no parameters, such as CREATE TABLE."""
        return str(statement.compile(dialect=self.sql_dialect))

    def _know(self, statement: Executable) -> _Known:
        """A place for what is compiled of the statement, which goes when the statement does."""
        key, known = id(statement), self._known
        gone = ref(statement, lambda _: known.pop(key, None))
        return _Known(gone, is_dml=statement.is_dml)

    def _compile(self, statement: Executable, columns: tuple[str, ...]) -> Compiled:
        assert isinstance(statement, ClauseElement), "a statement is a clause"
        compiler, extracted, collected, _ = statement._compile_w_cache(
            self.sql_dialect, compiled_cache=self._shapes, column_keys=list(columns)
        )
        if not isinstance(compiler, SQLCompiler):
            raise Invalid(reason="this is no statement that can have parameters")
        given = compiler.construct_params(
            extracted_parameters=extracted,
            escape_names=False,
            _check=False,
            _collected_params=collected,
        )
        processors = compiler._bind_processors
        names = compiler.positiontup or ()
        return Compiled(
            sql=compiler.string,
            compiler=compiler,
            slots=tuple((name, _single(processors.get(name))) for name in names),
            given=dict(given),
            required=_required(compiler).difference(collected or ()),
            defaults=tuple(_defaults(compiler)),
            expands=bool(compiler.post_compile_params or compiler.literal_execute_params),
            converters=_converters(compiler, self.sql_dialect),
        )


@cache
def compiler_for(dialect: Dialect) -> Compiler:
    """The compiler of the process for `dialect`."""
    return Compiler(dialect)


def _converted(value: Any, convert: Converter | None) -> Any:  # noqa: ANN401
    return value if convert is None else convert(value)


def _single(processor: Any) -> Converter | None:  # noqa: ANN401
    return processor if callable(processor) else None


def _required(compiler: SQLCompiler) -> frozenset[str]:
    prefetched = {_key(column) for column in (*compiler.insert_prefetch, *compiler.update_prefetch)}
    return frozenset(
        name
        for bind, name in compiler.bind_names.items()
        if bind.required and name not in prefetched
    )


def _defaults(compiler: SQLCompiler) -> list[tuple[str, Any]]:
    found = [(_key(column), column.default) for column in compiler.insert_prefetch]
    found += [(_key(column), column.onupdate) for column in compiler.update_prefetch]
    for name, default in found:
        if default is None or not (default.is_callable or default.is_scalar):
            raise Invalid(
                reason=f"the default of column '{name}' is neither a value nor a function"
            )
    return found


def _key(column: Any) -> str:  # noqa: ANN401
    return str(column.key)


def _converters(compiler: SQLCompiler, dialect: SqlDialect) -> dict[str, Converter]:
    found: dict[str, Converter] = {}
    for column in compiler._result_columns:
        kind = _OID_FLOAT if isinstance(column.type, Float) else _OID_NUMERIC
        converter = column.type._cached_result_processor(dialect, kind)
        if converter is not None:
            found[column.keyname] = converter
    return found
