"""Liveness from outside: four protocols, six ways to fail, slow servers that are well, and a stop that never ends."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from emulator.builds import DEFAULT_BUILD
from harness.jam import arm
from harness.scenarios.stage import OTHER, PASSWORD, READER, Stage, mail
from harness.watch import PROTOCOLS, Finding, Watcher, WatchSettings, add_parser, exit_code, process_alive, take_stacks

GREETING = {"smtp": "220 ready", "pop3": "+OK ready", "imap": "* OK ready", "nntp": "200 ready"}
DEADLINE = 0.4


class FakeServer:
    """Speaks just enough of a protocol, and fails in the way that `mode` says."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.mode = "healthy"
        self.delay = 0.0
        self.sessions = 0
        self.mail: list[str] = []
        self.freeze_until = 0
        self.server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.greeting = GREETING[protocol]

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.sessions += 1
        number = self.sessions
        try:
            if self.mode in ("no banner", "all frozen"):
                await asyncio.Event().wait()
            await asyncio.sleep(self.delay)
            writer.write(self.greeting.encode() + b"\r\n")
            while line := await reader.readline():
                if self.mode in ("no reply", "all frozen") or (
                    self.mode == "one frozen" and number <= self.freeze_until
                ):
                    await asyncio.Event().wait()
                await asyncio.sleep(self.delay)
                writer.write(self._reply(line.decode().rstrip(), reader))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _reply(self, line: str, reader: asyncio.StreamReader) -> bytes:
        if self.protocol == "imap":
            return f"{line.split(maxsplit=1)[0]} OK done\r\n".encode()
        if self.protocol == "pop3":
            return b"+OK\r\nTOP\r\n.\r\n" if line == "CAPA" else b"+OK\r\n"
        return b"250 fine\r\n" if self.protocol == "smtp" else b"111 20261124060000\r\n"

    async def fail(self, mode: str) -> None:
        self.mode = mode
        self.freeze_until = self.sessions
        assert self.server is not None
        if mode == "no accept":
            for sock in self.server.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
        elif mode == "stop stuck":
            self.server.close()

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@asynccontextmanager
async def watched(protocol: str, **settings: float) -> AsyncIterator[tuple[FakeServer, Watcher]]:
    server = FakeServer(protocol)
    await server.start()
    options = {"deadline_seconds": DEADLINE, "slow_seconds": 10.0} | settings
    watcher = Watcher(WatchSettings({protocol: ("127.0.0.1", server.port)}, **options))  # type: ignore[arg-type]
    try:
        yield server, watcher
    finally:
        watcher.close()
        await server.stop()


EXPECTED = {
    "no accept": ("hung", "accept"),
    "no banner": ("hung", "greeting"),
    "no reply": ("hung", "all sessions"),
    "one frozen": ("hung", "session"),
    "all frozen": ("hung", "all sessions"),
    "stop stuck": ("hung", "stop"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mode", EXPECTED)
async def test_each_failure_is_told_for_each_protocol(protocol: str, mode: str) -> None:
    async with watched(protocol) as (server, watcher):
        (first,) = await watcher.round()
        assert (first.status, first.where) == ("alive", "")
        await server.fail(mode)
        start = asyncio.get_running_loop().time()
        (finding,) = await watcher.round()
        assert asyncio.get_running_loop().time() - start < 3
        assert (finding.status, finding.where) == EXPECTED[mode]
        assert exit_code([finding]) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_without_an_earlier_round_the_stage_is_told(protocol: str) -> None:
    for mode, where in (("no accept", "accept"), ("no banner", "greeting"), ("no reply", "hello")):
        async with watched(protocol) as (server, watcher):
            await server.fail(mode)
            (finding,) = await watcher.round()
            assert (finding.status, finding.where) == ("hung", where)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_slow_but_alive_is_never_hung(protocol: str) -> None:
    async with watched(protocol, slow_seconds=0.02, deadline_seconds=5.0) as (server, watcher):
        server.delay = 0.05
        for _ in range(5):
            (finding,) = await watcher.round()
            assert finding.status == "slow"
            assert exit_code([finding]) == 1


async def test_down_and_refusing() -> None:
    async with watched("smtp") as (server, watcher):
        server.greeting = "554 not today"
        (finding,) = await watcher.round()
        assert (finding.status, finding.where, finding.detail) == ("refusing", "greeting", "554 not today")
        await server.stop()
        (finding,) = await watcher.round()
        assert (finding.status, finding.where) == ("down", "connect")


async def test_a_closed_session_among_healthy_ones_is_no_illness() -> None:
    async with watched("pop3") as (server, watcher):
        await watcher.round()
        for task in list(server.tasks):
            task.cancel()
        assert [finding.status for finding in await watcher.round()] == ["alive"]
        assert [finding.status for finding in await watcher.round()] == ["alive"]


async def test_a_stop_that_never_ends_is_told_with_stacks() -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: None); print('up', flush=True); time.sleep(60)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"up\n"
    try:
        from harness.watch import watch_stop

        watcher = Watcher(WatchSettings({}))
        findings, stacks = await watch_stop(watcher, f"kill -TERM {process.pid}", process.pid, 0.5)
        assert (findings[0].status, findings[0].where) == ("hung", "stop")
        assert stacks
        ended, stacks = await watch_stop(watcher, f"kill -KILL {process.pid}", process.pid, 5)
        assert (ended[0].status, stacks) == ("alive", "")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert not process_alive(process.pid)
    assert "cannot be looked into" in take_stacks(process.pid)


TLS_PORTS: dict[str, Any] = {"smtps_port": 0, "pop3s_port": 0, "imaps_port": 0, "nntps_port": 0}


def of_stage(stage: Stage, *names: str, **options: Any) -> Watcher:
    targets = {name: stage.server.addresses[name] for name in names}
    settings = {"deadline_seconds": 20.0, "slow_seconds": 30.0, "delivery_seconds": 30.0} | options
    return Watcher(WatchSettings(targets, **settings))


async def rounds_of(watcher: Watcher, count: int = 1) -> dict[str, Finding]:
    try:
        for _ in range(count):
            found = await watcher.round()
    finally:
        watcher.close()
    return {finding.service: finding for finding in found}


async def test_tls_from_the_first_octet_and_by_command() -> None:
    async with Stage(DEFAULT_BUILD, tls=True, **TLS_PORTS) as stage:
        login = {"user": READER, "password": PASSWORD, "recipient": f"{READER}@example.com"}
        for names, start_tls in ((PROTOCOLS, True), (tuple(f"{name}s" for name in PROTOCOLS), False)):
            found = await rounds_of(of_stage(stage, *names, start_tls=start_tls, **login), 2)
            assert {finding.status for finding in found.values()} == {"alive"}, [
                finding.line() for finding in found.values()
            ]
            assert set(found) == {*names, "delivery"}
            assert all("tls" in found[name].seconds for name in names)


async def test_where_tls_fails_is_told(tmp_path: Path) -> None:
    async with Stage(DEFAULT_BUILD, tls=True, **TLS_PORTS) as stage:
        authority = tmp_path / "authority.pem"
        authority.write_text(await asyncio.to_thread(some_authority))
        found = await rounds_of(of_stage(stage, "imaps", ca_file=str(authority)))
        assert (found["imaps"].status, found["imaps"].where) == ("refusing", "tls")
        assert "certificate" in found["imaps"].detail
    async with Stage(DEFAULT_BUILD) as stage:
        found = await rounds_of(of_stage(stage, "smtp", "pop3", start_tls=True))
        assert {(finding.status, finding.where) for finding in found.values()} == {("refusing", "tls")}
    async with watched("imap") as (server, watcher):
        kept = Watcher(WatchSettings({"imaps": ("127.0.0.1", server.port)}, deadline_seconds=DEADLINE))
        found = await rounds_of(kept)
        assert (found["imaps"].status, found["imaps"].where) in (("hung", "tls"), ("down", "tls"))
        assert not watcher.kept


def some_authority() -> str:
    """The certificate of an authority that has signed nothing here."""
    return trustme.CA().cert_pem.bytes().decode()


async def test_a_jammed_mailjam_is_backing_up() -> None:
    """From outside every protocol answers; only mail does not arrive. That is what the administrators saw in 2000."""
    async with Stage("5.5.2653.23") as stage:
        await stage.prepare_reader()
        stage.server.converter.forget_converted()
        trap = arm(stage.server)
        reader = await stage.pop3(OTHER)
        reader.write(b"RETR 1\r\n")
        await stage.send(mail("the one that jams"))
        async with asyncio.timeout(20):
            await trap.closed.wait()
        login = {"user": READER, "password": PASSWORD, "recipient": f"{READER}@example.com"}
        found = await rounds_of(of_stage(stage, *PROTOCOLS, **login, delivery_seconds=1.0))
        assert {name: finding.status for name, finding in found.items()} == {
            **dict.fromkeys(PROTOCOLS, "alive"),
            "delivery": "backing up",
        }
        assert stage.server.sections.cycles()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    parser = "import argparse, sys; from harness.watch import add_parser; p = argparse.ArgumentParser(); "
    script = parser + f"add_parser(p.add_subparsers()); a=p.parse_args({['watch', *arguments]!r});sys.exit(a.run(a))"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)


def test_the_command_prints_lines_and_has_exit_codes() -> None:
    done = command("--smtp", "127.0.0.1:1", "--once", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["status"] == "down"
    assert command().returncode == 3
    assert "belong together" in command("--stop-command", "true").stderr
    assert "is not HOST:PORT" in command("--smtp", "nowhere").stderr
    unknown = command("--imaps", "127.0.0.1:1", "--ca", "nowhere.pem")
    assert (unknown.returncode, unknown.stderr) == (3, "mailjam watch: --ca nowhere.pem: No such file or directory\n")


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(ValueError, match="'ldap' cannot be watched"):
        WatchSettings({"ldap": ("127.0.0.1", 389)})


def test_findings_are_one_line() -> None:
    finding = Finding("imap", "hung", "accept", "why", {"connect": 0.1, "greeting": 2.5})
    assert finding.line() == "imap      hung at accept  slowest stage greeting: 2.50 s  why"
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    assert parser.parse_args(["watch", "--imap", "[::1]:143"]).imap == ("::1", 143)
    assert shlex.split("a b") == ["a", "b"]
