"""Every form of a private host, at every entry where a customer may name one."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from tests.unit.engine.egress.test_address import DANGEROUS
from tests.unit.engine.egress.test_spelling import STRANGE

from bulkhead.engine.egress import Egress, HostRefused, Service, Target, open_egress
from bulkhead.engine.egress.guard import HostUnreachable, PortRefused
from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.settings import Settings, load_settings

NAMES = {
    "public.example": ["93.184.216.34"],
    "both.example": ["93.184.216.34", "2606:4700::1111"],
    "inside.example": ["10.1.2.3"],
    "loopback.example": ["127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "mixed6.example": ["93.184.216.34", "fd00::1"],
    "zone.example": ["fe80::1%2"],
    "many.example": [f"93.184.216.{number}" for number in range(100)],
    "metadata.google.internal": ["169.254.169.254"],
    "localhost": ["::1", "127.0.0.1"],
}
REFUSED_NAMES = [name for name in NAMES if name not in {"public.example", "both.example"}]


async def resolve(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return NAMES[host]


Enter = Callable[[Egress, str], Awaitable[Target]]


async def enter_postgresql(egress: Egress, host: str) -> Target:
    return await egress.check(host, 5432, Service.POSTGRESQL)


async def enter_mysql(egress: Egress, host: str) -> Target:
    return await egress.check(host, 3306, Service.MYSQL)


async def enter_webhook(egress: Egress, host: str) -> Target:
    return await egress.check_url(f"https://{_in_url(host)}/hook?x=1")


async def enter_storage(egress: Egress, host: str) -> Target:
    return await egress.check_url(f"https://{_in_url(host)}:8443")


def _in_url(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and "[" not in host else host


ENTRIES = [enter_postgresql, enter_mysql, enter_webhook, enter_storage]


@pytest.mark.parametrize("enter", ENTRIES)
@pytest.mark.parametrize("host", [*DANGEROUS, *STRANGE, *REFUSED_NAMES, "no-such.example"])
async def test_a_host_that_is_not_public_is_refused_everywhere(host: str, enter: Enter) -> None:
    with pytest.raises(HostRefused):
        await enter(Egress(resolve=resolve), host)


@pytest.mark.parametrize("enter", ENTRIES)
async def test_a_public_host_is_pinned_to_all_of_its_addresses(enter: Enter) -> None:
    target = await enter(Egress(resolve=resolve), "Both.Example.")
    assert target.host == "both.example"
    assert target.address == "93.184.216.34"
    assert [str(each) for each in target.addresses] == ["93.184.216.34", "2606:4700::1111"]
    assert not target.is_inside


async def test_an_unknown_name_and_a_private_one_look_the_same() -> None:
    messages = set()
    for host in ("no-such.example", "inside.example"):
        with pytest.raises(HostRefused) as caught:
            await Egress(resolve=resolve).check(host, 5432, Service.POSTGRESQL)
        messages.add(caught.value.message.replace(host, "HOST"))
    assert len(messages) == 1


async def test_a_name_is_looked_up_once() -> None:
    asked = []

    async def once(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.216.34"]

    await Egress(resolve=once).check("public.example", 5432, Service.POSTGRESQL)
    assert asked == ["public.example"]


@pytest.mark.parametrize(
    "url",
    [
        "http://public.example/",
        "ftp://public.example/",
        "file:" + "///etc/passwd",
        "gopher://public.example/",
        "//public.example/",
        "public.example",
        "https://",
        "https:///x",
        "https://user@public.example/",
        "https://user:word@public.example/",
        "https://public.example@inside.example/",
        "https://inside.example\\@public.example/",
        "https://inside.example#@public.example/",
        "https://public.example:5432/",
        "https://public.example:99999/",
        "https://public.example:x/",
        "https://public.example/\r\nhost: x",
        "https://public.example/\tx",
        " https://public.example/",
        "https://[::1/",
        "https://[v1.x]/",
        "https://public.example/" + "x" * 5000,
    ],
)
async def test_a_url_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(HostRefused):
        await Egress(resolve=resolve).check_url(url)


@pytest.mark.parametrize("port", [0, -1, 22, 25, 80, 443, 2375, 6379, 10250, 11211, 65536])
async def test_a_database_at_another_port_is_refused(port: int) -> None:
    with pytest.raises(PortRefused):
        await Egress(resolve=resolve).check("public.example", port, Service.POSTGRESQL)


@pytest.mark.parametrize("port", [5432, 6432, 6543, 25060, 21699])
async def test_ports_of_hosted_databases_are_accepted(port: int) -> None:
    await Egress(resolve=resolve).check("public.example", port, Service.POSTGRESQL)


async def test_an_operator_may_allow_networks_and_ports(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "BULKHEAD_EGRESS_ALLOW=10.1.0.0/16, ::1\nBULKHEAD_EGRESS_PORTS=9443 7000-7002\n"
    )
    opened = open_egress(load_settings(tmp_path))
    egress = Egress(opened.allowed, opened.ports, resolve=resolve)
    assert (await egress.check("inside.example", 80, Service.MYSQL)).is_inside
    assert (await egress.check_url("http://inside.example/x")).port == 80
    assert not (await egress.check("public.example", 7001, Service.MYSQL)).is_inside
    for host in ("127.0.0.1", "loopback.example", "10.2.0.1"):
        with pytest.raises(HostRefused):
            await egress.check(host, 5432, Service.POSTGRESQL)
    assert egress.note == "Customers may name hosts in 10.1.0.0/16, ::1/128"


def test_loopback_is_allowed_in_development_only_and_said_so() -> None:
    note = open_egress(Settings()).note
    assert note is not None
    assert "127.0.0.0/8" in note
    assert "EGRESS_ALLOW=none" in note
    for settings in (
        Settings(host="0.0.0.0"),  # noqa: S104
        Settings(site_url="https://shop.example"),
        Settings(egress_allow=("none",)),
        Settings(egress_allow=()),
    ):
        assert open_egress(settings).allowed == ()
        assert open_egress(settings).note is None


@pytest.mark.parametrize("text", ["x", "0", "70000", "9-", "9-8", "-"])
def test_a_port_in_the_settings_must_be_one(text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="is no port"):
        open_egress(Settings(egress_ports=(text,)))


async def test_a_connection_goes_to_the_first_address_that_answers() -> None:
    arrived = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.2", 0)
    port = server.sockets[0].getsockname()[1]

    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.3", "127.0.0.2"]

    egress = Egress(open_egress(Settings()).allowed, resolve=two)
    target = await egress.check("db.example", port, Service.POSTGRESQL)
    async with server:
        with await target.connect(timeout_s=5) as wire:
            assert wire.getpeername() == ("127.0.0.2", port)
            await asyncio.wait_for(arrived.wait(), 5)
    with pytest.raises(HostUnreachable):
        await target.connect(timeout_s=5)
