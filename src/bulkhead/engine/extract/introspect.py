"""Read what a database has into a `Catalogue`: with our own SQL, and every name a stranger's.

Names and expressions come from a server that somebody else may run. They are only ever compared,
or quoted by `engine.extract.names`; nothing here puts one into a statement.
"""

from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.extract.model import Catalogue
from bulkhead.engine.extract.mysql import read_mysql
from bulkhead.engine.extract.postgresql import read_postgresql

TIMEOUT_S = 30.0


async def introspect(connection: ServerConnection, *, timeout_s: float = TIMEOUT_S) -> Catalogue:
    """The tables of schema `public`, or of the connection's database, with all that is theirs.

    `connection` must not stand in a transaction. Nothing is changed. `timeout_s` is for each query.
    """
    if connection.dialect is Dialect.MYSQL:
        return await read_mysql(connection, timeout_s=timeout_s)
    return await read_postgresql(connection, timeout_s=timeout_s)
