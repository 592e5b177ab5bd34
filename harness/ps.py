"""`mailjam ps`: ask a running server what it is doing, jammed or not.

Each `mailjam serve` listens on a Unix socket of its own, DIR/mailjam-UID/PID.sock below the temporary folder (only its
user may enter), and answers a connection with its state as JSON. It needs no HTTP and no session: a jam of the
conversion stage does not keep it from answering. `--http URL` asks the HTTP API instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import stat
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.explain import snapshot, text_lines

if TYPE_CHECKING:
    from emulator.server import Server

ANSWER_SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 64 << 20


class NoAnswer(Exception):
    """No server could be asked; the text says why."""


def control_folder() -> Path:
    """Where the sockets of this user's servers are. Raises NoAnswer when somebody else owns it."""
    folder = Path(tempfile.gettempdir()) / f"mailjam-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NoAnswer(f"{folder} is not a folder of yours alone: remove it")
    return folder


@asynccontextmanager
async def control_socket(server: Server) -> AsyncIterator[Path | None]:
    """Answer `mailjam ps` for as long as the context lasts; None where sockets cannot be made."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(json.dumps(snapshot(server)).encode() + b"\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    try:
        path = control_folder() / f"{os.getpid()}.sock"
        path.unlink(missing_ok=True)
        listener = await asyncio.start_unix_server(answer, path)
    except (OSError, NoAnswer):
        yield None
        return
    try:
        yield path
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def ask_socket(path: Path) -> dict[str, Any]:
    """The state of the server behind a socket. Raises NoAnswer; removes a socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS_MAX)
        pieces, size = [], 0
        try:
            connection.connect(str(path))
            while piece := connection.recv(1 << 16):
                pieces.append(piece)
                size += len(piece)
                if size > ANSWER_BYTES_MAX:
                    raise NoAnswer(f"{path}: the answer is too long")
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            raise NoAnswer(f"{path}: the server has ended") from None
        except TimeoutError:
            raise NoAnswer(f"{path}: no answer within {ANSWER_SECONDS_MAX:g} s: its event loop is blocked") from None
        except OSError as error:
            raise NoAnswer(f"{path}: {error.strerror or error}") from error
    return _state(b"".join(pieces), str(path))


def ask_http(url: str) -> dict[str, Any]:
    """The state of a server by its HTTP API. Raises NoAnswer."""
    if not url.startswith(("http://", "https://")):
        url = f"http://{url}"
    if not url.rstrip("/").endswith("/api/jam"):
        url = url.rstrip("/") + "/api/jam"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:  # noqa: S310 - http or https, above
            return _state(answer.read(ANSWER_BYTES_MAX), url)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise NoAnswer(f"{url}: {getattr(error, 'reason', error)}") from error


def _state(octets: bytes, where: str) -> dict[str, Any]:
    try:
        state = json.loads(octets)
    except ValueError:
        state = None
    if not isinstance(state, dict) or "sections" not in state:
        raise NoAnswer(f"{where}: that is no answer of a mailjam server")
    for key in ("actors", "works", "halts", "frees", "services", "waits", "cycles"):
        state.setdefault(key, [])
    state.setdefault("queues", {})
    state.setdefault("build", "?")
    return state


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam ps`."""
    parser = subparsers.add_parser("ps", help="ask a running server who holds what and who waits for whom")
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="of the server (default: all of yours)")
    parser.add_argument("--http", metavar="URL", help="ask by HTTP, as in http://127.0.0.1:8025")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-stacks", action="store_true", help="leave the await stacks out")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0: nobody is jammed; 1: somebody is; 2: no server answers."""
    try:
        states = [(where, state) for where, state in _ask(arguments)]
    except NoAnswer as error:
        print(f"mailjam: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps([{"server": where, **state} for where, state in states], indent=2))
    else:
        for where, state in states:
            print("\n".join([f"{where}:", *text_lines(state, stacks=not arguments.no_stacks)]))
    return 1 if any(state["jammed"] or state["waits"] for _, state in states) else 0


def _ask(arguments: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    if arguments.http:
        return [(arguments.http, ask_http(arguments.http))]
    folder = control_folder()
    if arguments.pid is not None:
        return [(f"process {arguments.pid}", ask_socket(folder / f"{arguments.pid}.sock"))]
    found = []
    for path in sorted(folder.glob("*.sock")):
        with contextlib.suppress(NoAnswer):
            found.append((f"process {path.stem}", ask_socket(path)))
    if not found:
        raise NoAnswer(f"no server of yours runs (no socket in {folder}); --http URL asks by HTTP")
    return found
