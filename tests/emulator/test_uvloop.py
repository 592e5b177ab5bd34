"""The servers on uvloop, where many suites run: its transports are not asyncio's, and read in spite of a pause."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from emulator import certificates
from emulator.config import Settings, parse_account
from emulator.server import Server
from harness.reproduce import run_once

uvloop: Any = pytest.importorskip("uvloop", reason="needs uvloop (pip install uvloop), which Windows lacks")

SETTINGS = Settings(
    accounts=(parse_account("alice:secret"),),
    groups=("misc.test",),
    smtps_port=0,
    pop3s_port=0,
    imaps_port=0,
    nntps_port=0,
    lmtp_port=0,
)
PROXY = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 25\r\n"
SECONDS_MAX = 30


class Dialogue(NamedTuple):
    """What is said, and how each answer ends."""

    greeting: bytes
    starttls: tuple[bytes, bytes]
    lines: tuple[tuple[bytes, bytes], ...]


DIALOGUES = {
    "smtp": Dialogue(
        b"220 ",
        (b"STARTTLS", b"220 "),
        (
            (b"EHLO client.example.com\r\nMAIL FROM:<bob@example.com>\r\nRCPT TO:<alice@example.com>\r\nDATA", b"354 "),
            (b"Subject: hello\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 20_000 + b".", b"250 "),
            (b"QUIT", b"221 "),
        ),
    ),
    "pop3": Dialogue(
        b"+OK", (b"STLS", b"+OK"), ((b"USER alice\r\nPASS secret\r\nSTAT", b"+OK 0 0"), (b"QUIT", b"+OK"))
    ),
    "imap": Dialogue(
        b"* OK",
        (b"s STARTTLS", b"s OK"),
        ((b"a LOGIN alice secret", b"a OK"), (b"b SELECT INBOX", b"b OK"), (b"c LOGOUT", b"c OK")),
    ),
    "nntp": Dialogue(
        b"200 ",
        (b"STARTTLS", b"382 "),
        (
            (b"GROUP misc.test", b"211 "),
            (b"POST", b"340 "),
            (b"Subject: no group\r\n\r\n.", b"441 "),
            (b"QUIT", b"205"),
        ),
    ),
}
NO_PIPELINE = b"EHLO client.example.com"


def on_uvloop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on a loop of its own, with a deadline; whatever the loop complains of is an error."""
    complaints: list[str] = []

    async def within() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(str(context)))
        async with asyncio.timeout(SECONDS_MAX):
            await work()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(within())
    assert not complaints


class Wire:
    """A client on a blocking socket in threads, so that nothing of uvloop is shared with the server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket: socket.socket = socket.create_connection(address, SECONDS_MAX)

    async def tls(self) -> None:
        context = certificates.authority(None).client_context()
        self.socket = await asyncio.to_thread(context.wrap_socket, self.socket, server_hostname="localhost")

    async def say(self, octets: bytes) -> None:
        await asyncio.to_thread(self.socket.sendall, octets)

    async def hear(self, start: bytes) -> None:
        """Read up to the end of a line that starts so."""
        heard = b""
        while not (heard.endswith(b"\r\n") and (heard.startswith(start) or b"\r\n" + start in heard)):
            octets = await asyncio.to_thread(self.socket.recv, 65536)
            assert octets, f"{heard!r}, and then the end"
            heard += octets

    async def end(self) -> bytes:
        """What comes until the end."""
        rest = b""
        while octets := await asyncio.to_thread(self.socket.recv, 65536):
            rest += octets
        return rest


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize("mode", ["plain", "starttls", "tls"])
@pytest.mark.parametrize("protocol", DIALOGUES)
def test_a_dialogue(protocol: str, mode: str, proxied: bool) -> None:
    dialogue = DIALOGUES[protocol]

    async def work() -> None:
        async with Server(replace(SETTINGS, proxy_protocol=proxied)) as server:
            wire = Wire(server.addresses[protocol + "s" if mode == "tls" else protocol])
            if proxied:
                await wire.say(PROXY)
            if mode == "tls":
                await wire.tls()
            await wire.hear(dialogue.greeting)
            if mode == "starttls":
                command, answer = dialogue.starttls
                if protocol == "smtp":
                    await wire.say(NO_PIPELINE + b"\r\n")
                    await wire.hear(b"250 ")
                await wire.say(command + b"\r\n")
                await wire.hear(answer)
                await wire.tls()
            for line, answer in dialogue.lines:
                await wire.say(line + b"\r\n")
                await wire.hear(answer)
            assert await wire.end() == b""
            wire.socket.close()
            if protocol == "smtp":
                await server.inbound.settled()
                assert server.inbound.delivered_count == 1

    on_uvloop(work)


def test_what_comes_before_tls_is_ready_is_for_tls() -> None:
    async def work() -> None:
        async with Server(replace(SETTINGS, tls_handshake_seconds_max=0.2)) as server:
            wires = [Wire(server.addresses["imaps"]) for _ in range(20)]
            await asyncio.gather(*(wire.tls() for wire in wires))
            await asyncio.gather(*(wire.hear(b"* OK") for wire in wires))
            wires += [Wire(server.addresses["pop3s"]), Wire(server.addresses["smtps"])]
            await wires[-2].say(b"CAPA\r\n")  # no TLS; and the last one says nothing
            for wire in wires[-2:]:
                try:
                    assert not (await wire.end()).startswith((b"+OK", b"220"))
                except ConnectionError:
                    pass
            for wire in wires:
                wire.socket.close()

    on_uvloop(work)


def test_lmtp_on_a_unix_socket_and_a_half_closed_connection(tmp_path: Path) -> None:
    path = tmp_path / "lmtp"

    async def work() -> None:
        async with Server(replace(SETTINGS, lmtp_socket=path)):
            reader, writer = await asyncio.open_unix_connection(path)
            assert (await reader.readline()).startswith(b"220 ")
            writer.write(b"LHLO client\r\nQUIT\r\n")
            writer.write_eof()
            assert (await reader.read()).splitlines()[-1].startswith(b"221 ")
            writer.close()
            await writer.wait_closed()

    on_uvloop(work)


def test_a_peer_that_resets_and_a_server_that_is_killed() -> None:
    async def work() -> None:
        server = Server(SETTINGS)
        await server.start()
        wires = [Wire(server.addresses[name]) for name in ("smtp", "pop3", "imap", "nntp", "imaps")]
        wires[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wires[0].socket.close()
        for wire, start in zip(wires[1:4], (b"+OK", b"* OK", b"200 "), strict=True):
            await wire.hear(start)
        await server.kill()
        for wire in wires[1:4]:
            assert await wire.end() == b""
        for wire in wires:
            wire.socket.close()

    on_uvloop(work)


@pytest.mark.parametrize(("build", "jams"), [("5.5.2653.23", True), ("5.5.2654.29", False)])
def test_the_jam(build: str, jams: bool) -> None:
    async def work() -> None:
        outcome = await run_once(build, "smtp", "imap")
        assert (outcome.jam is not None) == jams

    on_uvloop(work)
