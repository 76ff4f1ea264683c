"""The errors of servers and statements, translated once from asyncpg's.

A translated error carries names (constraint, table, column) and the SQLSTATE, but neither SQL text
nor values: PostgreSQL's detail of a violated constraint shows the row, which may be another user's.
What a function of our own says with RAISE is meant for the caller and is kept. The original stands
in `__cause__`.
"""

from collections.abc import Iterator

import asyncpg

from bulkhead.engine.drivers.foreign_text import bounded
from bulkhead.engine.drivers.pooler import Word, pooler_word
from bulkhead.engine.errors import BulkheadError, Unavailable


class ServerUnreachable(Unavailable):
    """The server {server} cannot be reached: {reason}."""

    code = "server_unreachable"
    hint = "Check that it runs and that host and port are right: bulkhead doctor."


class ServerStarting(ServerUnreachable):
    """The server {server} is starting up, recovering or shutting down."""

    code = "server_starting"
    hint = "Wait a moment and try again."


class ConnectionLost(Unavailable):
    """The connection to the server was lost; the transaction did not take effect."""

    code = "connection_lost"
    hint = "Repeat the request."


class CommitUnknown(Unavailable):
    """The connection to database '{database}' was lost while it committed.

    The change may or may not have taken effect; asking again with the same key settles it.
    """

    code = "commit_unknown"
    hint = "Repeat the request with the same Idempotency-Key, or read before you write again."


class ServerOverloaded(Unavailable):
    """The server has run out of {resource}."""

    code = "server_overloaded"
    retry_after_s = 5
    hint = "Free some on the server; nothing was changed."


class TooManyConnections(Unavailable):
    """The server does not accept any more connections."""

    code = "too_many_connections"
    retry_after_s = 2
    hint = "Lower BULKHEAD_SERVER_CONNECTIONS or raise the server's max_connections."


class LoginRefused(BulkheadError):
    """The server {server} refuses role '{role}' for database '{database}'."""

    code = "login_refused"
    status = 503
    hint = "Check user, password and the server's rules; our own passwords follow from secret.key."


class DatabaseMissing(BulkheadError):
    """There is no database '{database}' on the server {server}."""

    code = "database_missing"
    status = 503
    hint = "Correct the name, or create the database; bulkhead up creates those of applications."


class TlsRequired(BulkheadError):
    """There is no trustworthy TLS connection to the server {server}: {reason}."""

    code = "tls_required"
    status = 503
    hint = "Give it a certificate for its name, and name its CA: caPem, --ca-file or sslrootcert."


class CapabilityMissing(BulkheadError):
    """The server {server} lacks what is needed: {capability}."""

    code = "capability_missing"
    hint = "{remedy}"


class DatabaseForeign(BulkheadError):
    """Database '{database}' on the server {server} is not ours: {reason}."""

    code = "database_foreign"
    status = 409
    hint = "Rename or drop it yourself, or use another server; it was not touched."


class RoleForeign(BulkheadError):
    """Role '{role}' on the server {server} is not ours: {reason}."""

    code = "role_foreign"
    status = 409
    hint = "Use the secret.key it was made with, another server, or drop the role yourself."


class TemplateUnusable(BulkheadError):
    """Database '{database}' cannot be made from template '{template}': {reason}."""

    code = "template_unusable"
    status = 409
    hint = "Close all connections to the template, or seal it, and try again."


class PoolerExhausted(Unavailable):
    """The pooler in front of the server gave no connection in time.

    Its pool is full, or it does not reach the server. Nothing was sent on.
    """

    code = "pooler_exhausted"
    retry_after_s = 1
    hint = "Repeat the request. Raise the pooler's default_pool_size, or look for what holds it."


class PoolerUndeclared(BulkheadError):
    """A pooler stands in front of the server {server} and takes no settings for a session."""

    code = "pooler_undeclared"
    status = 422
    hint = 'Say that there is one ("pooled": true), or name the server itself.'


class PoolerInBetween(BulkheadError):
    """A pooler in transaction mode stands in front of the server {server}.

    Migrations, LISTEN and dumps need sessions that stay what they are.
    """

    code = "pooler_in_between"
    hint = (
        "Name the server itself, and its pooler beside it: the one in the variable that ends in "
        "_DIRECT_URL, the other in _URL. For bulkhead server add: --host and --pooler."
    )


class SqlError(BulkheadError):
    """The server refused a statement (SQLSTATE {sqlstate})."""

    code = "sql_error"

    @property
    def message(self) -> str:
        """What a function of the database said, else what the class says."""
        return self.reason or super().message

    @property
    def sqlstate(self) -> str:
        """The five characters of the SQL standard and of PostgreSQL's appendix A."""
        return str(self.details.get("sqlstate", ""))

    @property
    def constraint(self) -> str | None:
        """The violated constraint, where there is one."""
        return self._name("constraint")

    @property
    def table(self) -> str | None:
        """The table the error is about, where there is one."""
        return self._name("table")

    @property
    def column(self) -> str | None:
        """The column the error is about, where there is one."""
        return self._name("column")

    @property
    def reason(self) -> str | None:
        """What a function of the database said when it raised the error itself."""
        return self._name("reason")

    def _name(self, key: str) -> str | None:
        value = self.details.get(key)
        return value if isinstance(value, str) else None


class UniqueViolated(SqlError):
    """There is one like this already."""

    code = "unique_violated"
    status = 409


class ForeignKeyViolated(SqlError):
    """What this refers to is not there, or something still refers to it."""

    code = "foreign_key_violated"
    status = 409


class ExclusionViolated(SqlError):
    """This overlaps with what is there already."""

    code = "exclusion_violated"
    status = 409


class CheckViolated(SqlError):
    """A value breaks a rule of the data."""

    code = "check_violated"
    status = 422


class NotNullViolated(SqlError):
    """A value is missing."""

    code = "not_null_violated"
    status = 422
    hint = "Give the column a value."


class ValueInvalid(SqlError):
    """A value has the wrong form, type or size."""

    code = "value_invalid"
    status = 422


class PermissionDenied(SqlError):
    """This is not allowed for the role of the transaction."""

    code = "permission_denied"
    status = 403


class ReadOnlyViolated(SqlError):
    """The transaction may only read."""

    code = "read_only_violated"
    status = 405


class SerializationFailed(SqlError):
    """Another transaction changed the same rows at the same time."""

    code = "serialization_failed"
    status = 503
    retry_after_s = 1
    hint = "Repeat the request; nothing was changed."


class DeadlockDetected(SerializationFailed):
    """Two transactions waited for each other; this one gave way."""

    code = "deadlock_detected"


class LockTimeout(SerializationFailed):
    """Another transaction holds the rows for too long."""

    code = "lock_timeout"


class StatementTimeout(SqlError):
    """The statement took too long and was stopped."""

    code = "statement_timeout"
    status = 504
    hint = "Ask for less at once, or add the index the statement needs: bulkhead doctor."


class RaisedBySql(SqlError):
    """A function of the database raised an error."""

    code = "raised_by_sql"
    status = 400


BY_SQLSTATE: dict[str, type[BulkheadError]] = {
    "23505": UniqueViolated,
    "23503": ForeignKeyViolated,
    "23001": ForeignKeyViolated,
    "23P01": ExclusionViolated,
    "23514": CheckViolated,
    "23502": NotNullViolated,
    "22": ValueInvalid,
    "42501": PermissionDenied,
    "25006": ReadOnlyViolated,
    "40001": SerializationFailed,
    "40P01": DeadlockDetected,
    "55P03": LockTimeout,
    "57014": StatementTimeout,
    "25P03": ConnectionLost,
    "25P04": ConnectionLost,
    "28": LoginRefused,
    "3D000": DatabaseMissing,
    "53300": TooManyConnections,
    "53": ServerOverloaded,
    "08": ConnectionLost,
    "57P": ConnectionLost,
    "P0001": RaisedBySql,
}
"""By SQLSTATE or its beginning; the longest match counts."""

FAILURES = (
    OSError,
    EOFError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Whatever a connection may raise, asyncpg's time-outs included."""

_CATALOGUE_WRITERS = {"simple_heap_update", "simple_heap_delete"}
_RESOURCES = {"53100": "disk space", "53200": "memory"}
_LOST: tuple[type[BaseException], ...] = (
    ConnectionLost,
    PoolerExhausted,
    ServerUnreachable,
    CommitUnknown,
    ConnectionError,
    TimeoutError,
    EOFError,
    asyncpg.PostgresConnectionError,
    # "cannot switch to state 15": how asyncpg 0.32 reports a quarter of the sessions that were
    # ended while they were idle. Whatever else it is, the connection is of no use any more.
    asyncpg.InternalClientError,
)
_LOST_STATES = ("57P", "25P03", "25P04", "08")


def translate(error: BaseException) -> BulkheadError:
    """Render any error of a statement as one of this module's; a BulkheadError stays itself."""
    if isinstance(error, BulkheadError):
        return error
    if pooler_word(error) in {Word.WAITED, Word.FAILING}:
        return PoolerExhausted()
    if isinstance(error, asyncpg.PostgresError):
        return _translate_server_error(error)
    if isinstance(error, asyncpg.DataError | asyncpg.UnsupportedClientFeatureError):
        return ValueInvalid(sqlstate="22000")
    if isinstance(error, TimeoutError):
        return StatementTimeout(sqlstate="57014")
    if is_connection_loss(error):
        return ConnectionLost()
    return SqlError(sqlstate="XX000", error=type(error).__name__)


def is_connection_loss(error: BaseException) -> bool:
    """Whether it is unknown what the server did, because its answer did not arrive."""
    for link in _chain(error):
        if isinstance(link, _LOST):
            return True
        if isinstance(link, asyncpg.PostgresError) and str(link.sqlstate).startswith(_LOST_STATES):
            return True
        if isinstance(link, asyncpg.InterfaceError) and "closed" in str(link):
            return True
    return False


def kind_of(sqlstate: str) -> type[BulkheadError] | None:
    """The class for an SQLSTATE, None where there is none of its own."""
    for length in (5, 3, 2):
        if kind := BY_SQLSTATE.get(sqlstate[:length]):
            return kind
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was translated from."""
    yield error
    if isinstance(error, BulkheadError) and error.__cause__ is not None:
        yield error.__cause__


def _translate_server_error(error: asyncpg.PostgresError) -> BulkheadError:
    state = str(error.sqlstate or "XX000")
    raised = error.server_source_function == "exec_stmt_raise"
    kind = kind_of(state)
    if state == "XX000" and error.server_source_function in _CATALOGUE_WRITERS:
        kind = SerializationFailed  # Two changes of the catalogue met.
    if kind is None:
        kind = RaisedBySql if raised else SqlError
    if not issubclass(kind, SqlError):
        return kind(sqlstate=state, resource=_RESOURCES.get(state, "resources"))
    details: dict[str, object] = {
        "sqlstate": state,
        "constraint": error.constraint_name,
        "table": error.table_name,
        "column": error.column_name,
    }
    if raised:
        details |= {"reason": bounded(error.message), "raised_hint": bounded(error.hint)}
    return kind(**{key: value for key, value in details.items() if value is not None})
