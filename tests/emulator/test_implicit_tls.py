from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from emulator.server import Server
from harness.workbench import Workbench

StartServer = Callable[..., Awaitable[Server]]
PORTS = {"smtps_port": 0, "pop3s_port": 0, "imaps_port": 0, "nntps_port": 0}
GREETINGS = {"smtps": b"220 ", "pop3s": b"+OK ", "imaps": b"* OK ", "nntps": b"200 "}
QUIT = {"smtps": b"QUIT", "pop3s": b"QUIT", "imaps": b"a LOGOUT", "nntps": b"QUIT"}


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("name", GREETINGS)
async def test_a_dialogue_and_its_end(start_server: StartServer, name: str) -> None:
    server = await start_server(**PORTS)
    reader, writer = await asyncio.open_connection(*server.addresses[name], ssl=trusting())
    async with asyncio.timeout(10):
        if name == "smtps":  # there who speaks first is sent away
            assert (await reader.readline()).startswith(GREETINGS[name])
        writer.write(QUIT[name] + b"\r\n")  # it may come in one packet with the end of the handshake
        assert (await reader.readline()).startswith((GREETINGS[name], b"221 "))
        await reader.read()
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_who_speaks_no_tls_is_dropped(start_server: StartServer) -> None:
    server = await start_server(**PORTS)
    reader, writer = await asyncio.open_connection(*server.addresses["imaps"])
    writer.write(b"a CAPABILITY\r\n")
    async with asyncio.timeout(10):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readuntil(b"OK")
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert not server.front_ends["imap"].connections


async def test_a_slow_handshake_has_a_deadline_and_ends_with_the_server(start_server: StartServer) -> None:
    server = await start_server(**PORTS, tls_handshake_seconds_max=0.1)
    reader, writer = await asyncio.open_connection(*server.addresses["imaps"])
    async with asyncio.timeout(10):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    _, writer = await asyncio.open_connection(*server.addresses["imaps"])
    await server.kill()
    assert not server.scheduler.tasks
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("name", GREETINGS)
async def test_a_stalled_handshake(start_server: StartServer, name: str) -> None:
    server = await start_server(**PORTS)
    faults = Workbench.of(server).faults
    fault = faults.add(f"stall-tls protocol={name[:-1]} command=CONNECT")
    connecting = asyncio.ensure_future(asyncio.open_connection(*server.addresses[name], ssl=trusting()))
    async with asyncio.timeout(10):
        while not fault.holding:
            await asyncio.sleep(0.001)
    assert not connecting.done()
    fault.release()
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await asyncio.wait_for(connecting, 10)
    reader, writer = await asyncio.open_connection(*server.addresses[name], ssl=trusting())  # it has healed
    assert (await reader.readline()).startswith(GREETINGS[name])
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert [strike.session for strike in faults.strikes()] == [1]


async def test_the_peer_gives_up_at_a_stalled_handshake(start_server: StartServer) -> None:
    server = await start_server(**PORTS)
    fault = Workbench.of(server).faults.add("stall-tls protocol=imap command=CONNECT")
    reader, writer = await asyncio.open_connection(*server.addresses["imaps"])
    writer.write(b"\x16\x03\x01\x00\x05hello")
    async with asyncio.timeout(10):
        while not fault.holding:
            await asyncio.sleep(0.001)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        while fault.holding:
            await asyncio.sleep(0.001)
    del reader


async def test_handshakes_count_as_connections(start_server: StartServer) -> None:
    server = await start_server(**PORTS, connections_max=3)
    silent = [await asyncio.open_connection(*server.addresses["imaps"]) for _ in range(3)]
    async with asyncio.timeout(10):
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.open_connection(*server.addresses["imaps"], ssl=trusting())
        for _, writer in silent:
            writer.transport.abort()
        while server.admission.count:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*server.addresses["imaps"], ssl=trusting())
        assert (await reader.readline()).startswith(GREETINGS["imaps"])
        assert server.admission.count == 1
        writer.transport.abort()
        while server.admission.count:
            await asyncio.sleep(0.01)
