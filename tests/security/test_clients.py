"""Our own programs as clients of a server that means them no good."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from emulator.relay import Host, relay
from emulator.spool import Envelope
from harness.cli import main
from harness.probes import SESSIONS, StageError


@asynccontextmanager
async def saying(*replies: bytes, heard: list[bytes]) -> AsyncIterator[int]:
    """A server that says one thing after another, a line of the client's between them: its port."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(replies[0])
            for reply in replies[1:]:
                await reader.readline()
                writer.write(reply)
            heard.append(await reader.read(65536))
        finally:
            writer.transport.abort()
            ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.wait_for(ended.wait(), 30)


@pytest.mark.parametrize(
    ("protocol", "greeting", "hello", "begin"),
    [
        ("smtp", b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"),
        ("pop3", b"+OK x\r\n", b"+OK\r\nSTLS\r\n.\r\n", b"+OK go\r\n+OK injected\r\n"),
        ("imap", b"* OK x\r\n", b"* CAPABILITY IMAP4rev1\r\np0 OK\r\n", b"p0 OK go\r\n* CAPABILITY X\r\n"),
        ("nntp", b"200 x\r\n", b"111 20260101000000\r\n", b"382 go\r\n111 injected\r\n"),
    ],
)
async def test_a_probe_takes_nothing_in_plain_behind_starttls(
    protocol: str, greeting: bytes, hello: bytes, begin: bytes
) -> None:
    async with saying(greeting, hello, begin, heard=[]) as port:
        probe = SESSIONS[protocol]("127.0.0.1", port, 10.0, start_tls=ssl.create_default_context())
        with pytest.raises(StageError, match="injected"):
            await probe.open()
        probe.close()


async def test_the_relay_takes_nothing_in_plain_behind_starttls() -> None:
    """The extensions that count are those of the EHLO under TLS, and there is none: nothing is sent."""
    heard: list[bytes] = []
    injected = b"220 go\r\n" + b"250 injected\r\n" * 5
    async with saying(b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", injected, heard=heard) as port:
        host = Host("127.0.0.1", port, "", "", False)
        envelope = Envelope("a@b.test", ("c@d.test",))
        attempt = await relay(host, "x.test", envelope, b"Subject: x\r\n\r\nx\r\n", seconds_max=2.0)
    assert attempt.outcomes == []
    assert attempt.waiting == ["c@d.test"]
    assert heard[0].startswith(b"\x16\x03"), "the client's hello of TLS, and no command"


class _Traversing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"messages": [{"ID": "../outside"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_dump_writes_only_into_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "dump"
    server = HTTPServer(("127.0.0.1", 0), _Traversing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        code = main(["dump", "--http", f"http://127.0.0.1:{server.server_port}", str(folder)])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert code == 2
    assert "../outside" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == []
