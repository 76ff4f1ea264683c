"""Databases of tests, cloned and dropped over a connection that stays open.

A driver asks each time, over a new connection, which roles and rights there are. Here the template
has been made by the driver, and its clones have its roles, so that none of that can be missing:
a clone takes a third of the time.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from bulkhead.engine.drivers.bootstrap import DatabaseState, plan_database, quote_name
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_home import SUPERUSER
from bulkhead.engine.drivers.endpoint import Endpoint, open_connection
from bulkhead.engine.drivers.errors import FAILURES, translate
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.drivers.secret import Secret

CONNECT_TIMEOUT_S = 10.0


@dataclass(slots=True, eq=False)
class Clones:
    """Makes and drops clones of sealed templates on one server."""

    driver: EmbeddedDriver
    _admin: Any = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def create(self, template: DatabaseSpec, name: str) -> DatabaseSpec:
        """Clone `template` as `name`, with the roles of the template."""
        spec = replace(template, name=name, template=template.name, role_prefix=template.name)
        around = plan_database(spec, DatabaseState(spec.owner), self._secret())
        async with self._turn:
            admin = await self._connected()
            await admin.execute(
                f"create database {quote_name(name)} owner {quote_name(spec.owner)}"
                f" template {quote_name(template.name)} strategy file_copy"
            )
            await admin.execute(";".join(around))
        return spec

    async def drop(self, spec: DatabaseSpec) -> None:
        """Drop a clone, whoever is connected to it; its roles are the template's.

        Raises ConnectionLost when the server ends meanwhile.
        """
        async with self._turn:
            admin = await self._connected()
            try:
                await admin.execute(f"drop database if exists {quote_name(spec.name)} with (force)")
            except FAILURES as error:
                raise translate(error) from error

    def close(self) -> None:
        """Close the connection."""
        if self._admin is not None:
            self._admin.terminate()

    async def _connected(self) -> Any:  # noqa: ANN401
        """The connection, made anew when a test has ended the server."""
        if self._admin is None or self._admin.is_closed():
            await self.driver.start()
            address = self.driver.home.find_address()
            assert address is not None, "a server that runs has an address"
            password = self._secret().password(SUPERUSER)
            endpoint = Endpoint(address.socket, address.port, SUPERUSER, password)
            self._admin = await open_connection(
                endpoint, endpoint.administrator(), timeout_s=CONNECT_TIMEOUT_S
            )
        return self._admin

    def _secret(self) -> Secret:
        secret = Secret.load(self.driver.home.secret)
        assert secret is not None, "a server that runs has its secret"
        return secret
