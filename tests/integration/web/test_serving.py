"""The server in the event loop of its workers: starts, drains and stops."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

import httpx
import pytest
from tests.integration.web.sample_api import MOUNT
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.engine.settings import Settings
from bulkhead.web.server import create_app
from bulkhead.web.serving import (
    AddressUnusable,
    Serving,
    find_connections_max,
    find_port,
    open_socket,
    serve,
    serving,
)

APP = create_app([MOUNT], Settings())

PROGRAM = """
import asyncio
from bulkhead.engine.settings import Settings
from bulkhead.web.logs import configure_logs
from bulkhead.web.server import create_app
from bulkhead.web.serving import serving, stop_on_signals
from tests.integration.web.sample_api import MOUNT

async def work(done):
    await done.wait()
    print("the worker ended", flush=True)

async def main():
    done = asyncio.Event()
    async with stop_on_signals() as stop, asyncio.TaskGroup() as group:
        group.create_task(work(done))
        async with serving(create_app([MOUNT], Settings()), drain_s=5.0) as running:
            print(running.url, flush=True)
            await stop.wait()
        done.set()

configure_logs(Settings(log_format="json"))
asyncio.run(main())
"""


async def test_the_server_answers_from_the_loop_of_its_caller() -> None:
    loops: list[object] = []

    async def app(scope: object, receive: object, send: object) -> None:
        loops.append(asyncio.get_running_loop())
        await APP(scope, receive, send)  # type: ignore[arg-type]

    async with serving(app) as running, httpx.AsyncClient(verify=TRUSTS_NOBODY) as client:
        assert (await client.get(f"{running.url}/livez")).status_code == 200
    assert loops == [asyncio.get_running_loop()]


async def test_requests_in_flight_are_answered_before_the_server_stops() -> None:
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as client:
        async with serving(APP) as running:
            asking = asyncio.create_task(client.get(f"{running.url}/sample/slow"))
            await begun(running)
        answer = await asking
        assert answer.json() == {"ended": True}
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{running.url}/livez")


async def test_a_request_that_does_not_end_is_given_up_with_an_answer() -> None:
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as client:
        async with serving(APP, drain_s=0.2) as running:
            asking = asyncio.create_task(client.get(f"{running.url}/sample/forever"))
            await begun(running)
        answer = await asking
    assert (answer.status_code, answer.json()["code"]) == (503, "server_stopping")


async def test_an_idle_client_does_not_keep_the_server_from_stopping() -> None:
    async with serving(APP, drain_s=30.0) as running:
        reader, writer = await asyncio.open_connection(running.host, running.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_serve_ends_when_it_is_told_to() -> None:
    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(5):
        await serve(APP, "127.0.0.1", 0, stop)


async def test_a_port_that_is_taken_is_refused_even_by_our_own_server() -> None:
    async with serving(APP) as running:
        with pytest.raises(AddressUnusable):
            await serve(APP, running.host, running.port, asyncio.Event())


async def test_a_port_can_be_taken_again_right_after_it_was_used() -> None:
    async with serving(APP) as running, httpx.AsyncClient(verify=TRUSTS_NOBODY) as client:
        await client.get(f"{running.url}/livez")
    async with (
        serving(APP, running.host, running.port) as again,
        httpx.AsyncClient(verify=TRUSTS_NOBODY) as client,
    ):
        assert (await client.get(f"{again.url}/livez")).status_code == 200


async def test_a_port_can_be_known_before_it_is_served() -> None:
    port = find_port("127.0.0.1", 0)
    async with serving(APP, port=port) as running:
        assert running.port == port
        with pytest.raises(AddressUnusable):
            find_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(AddressUnusable, match=host):
        open_socket(host, 0)


def test_a_url_brackets_ipv6_addresses() -> None:
    assert Serving("::1", 80).url == "http://[::1]:80"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_server_and_workers_and_ends_the_process(
    number: signal.Signals,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as client:
        asking = asyncio.create_task(client.get(f"{url}/sample/slow"))
        await begun(Serving("127.0.0.1", int(url.rpartition(":")[2])))
        process.send_signal(number)
        assert (await asking).json() == {"ended": True}
    async with asyncio.timeout(10):
        out, err = await process.communicate()
    assert (process.returncode, out.decode().strip()) == (0, "the worker ended"), err.decode()


async def test_clients_that_send_nothing_do_not_keep_others_waiting() -> None:
    silent_clients = 1_100
    if find_connections_max() <= silent_clients:
        pytest.skip("this machine allows too few open files")
    async with serving(APP, header_timeout_s=30.0) as running:
        writers = []
        for _ in range(silent_clients):
            _, writer = await asyncio.open_connection(running.host, running.port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            writers.append(writer)
        async with httpx.AsyncClient(timeout=10.0, verify=TRUSTS_NOBODY) as client:
            assert (await client.get(f"{running.url}/livez")).status_code == 200
        for writer in writers:
            writer.close()


async def begun(running: Serving) -> None:
    """Wait until the server has begun with a request that takes its time."""
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, timeout=20.0) as client:
        assert (await client.get(f"{running.url}/sample/underway")).status_code == 200
