"""One mail system on an event loop that another thread runs: how tests reach it, and how it is exchanged for another.

Every test has a system of its own: services, sections, queues, directory, scheduler, faults and transcripts are new
objects for each. What the session put into the store before stays, by a snapshot; so do the ports.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from abc import abstractmethod
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from emulator.config import Settings, SettingsError
from emulator.server import Server
from harness.workbench import Workbench

from .clock import AdvancingClock
from .fork import fork

T = TypeVar("T")
CALL_SECONDS_MAX = 60.0
BASELINE = "mailjam baseline"


class Address(NamedTuple):
    """Where a protocol is served; unpacks as (host, port)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Addresses:
    """The addresses of what has `address(protocol)`."""

    @abstractmethod
    def address(self, protocol: str) -> Address:
        """Raises LookupError for one that is not served."""
        raise NotImplementedError

    @property
    def smtp(self) -> Address:
        """(host, port) of SMTP."""
        return self.address("smtp")

    @property
    def pop3(self) -> Address:
        """(host, port) of POP3."""
        return self.address("pop3")

    @property
    def imap(self) -> Address:
        """(host, port) of IMAP4."""
        return self.address("imap")

    @property
    def nntp(self) -> Address:
        """(host, port) of NNTP."""
        return self.address("nntp")


class Loop:
    """The event loop of another thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mailjam", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def end(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T], seconds_max: float = CALL_SECONDS_MAX) -> T:
        """Run a coroutine there and wait for it, blocking. Raises TimeoutError."""
        assert not self.is_here, "this would wait for itself"
        future = self.submit(coroutine)
        try:
            return future.result(seconds_max)
        except TimeoutError:
            if future.done():
                raise
            future.cancel()
            raise TimeoutError(f"the server did not answer within {seconds_max:g} s") from None

    async def acall(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and await it from an asyncio or trio task."""
        future = self.submit(coroutine)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            trio: Any = sys.modules.get("trio")  # whoever awaits without asyncio has it
            if trio is None:
                raise
            try:
                answer: T = await trio.to_thread.run_sync(future.result, abandon_on_cancel=True)
            finally:
                future.cancel()
            return answer
        return await asyncio.wrap_future(future)


class System(Addresses):
    """A server that is exchanged for a fresh one between tests."""

    def __init__(self, settings: Settings, loop: Loop) -> None:
        self.settings = settings
        self.loop = loop
        self._server: Server
        self._workbench: Workbench
        self.is_fork = False
        self._touched = False
        self._marked: tuple[Any, ...] | None = None
        """What was counted when the test began; None: there is no mark."""
        self._renewing: Future[None] | None = None

    @property
    def server(self) -> Server:
        """The server of this test: another one for each."""
        self.ready()
        self._touched = True
        return self._server

    @property
    def workbench(self) -> Workbench:
        """What watches and disturbs the server."""
        self.ready()
        self._touched = True
        return self._workbench

    def call(self, coroutine: Coroutine[Any, Any, T], seconds_max: float = CALL_SECONDS_MAX) -> T:
        """See `Loop.call`."""
        return self.loop.call(coroutine, seconds_max)

    async def acall(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """See `Loop.acall`."""
        return await self.loop.acall(coroutine)

    def address(self, protocol: str) -> Address:
        """Raises LookupError for one that is not served."""
        self.ready()
        addresses = self._server.addresses
        try:
            return Address(*addresses[protocol])
        except KeyError:
            served = ", ".join(addresses)
            raise LookupError(f"{protocol} is not served: there are {served}; override mailjam_settings") from None

    # --- from one test to the next ------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Start the first server. On the loop. Raises SettingsError, UnknownBuild."""
        self._server = Server(self.settings, clock=AdvancingClock())
        await self._server.start()
        self._workbench = Workbench.of(self._server)

    async def begin_as_fork(self, other: System) -> None:
        """Start with a copy of what another system's store has. On the loop."""
        self._server = await fork(other.server, clock=AdvancingClock())
        self._workbench = Workbench.of(self._server)
        self.is_fork = True

    async def mark(self) -> None:
        """Before a test: what is in the store now is what the test begins with. Raises NotPermitted."""
        self._workbench.snapshots.take(BASELINE)
        self._touched, self._marked = False, self._counted()

    def _counted(self) -> tuple[Any, ...]:
        """What is no longer the same when anything has happened: commits, sessions, accounts, tasks."""
        server, bench = self._server, self._workbench
        sessions = bench.transcripts.last_number
        return bench.backend.commits, sessions, server.directory.serial, server.scheduler.tasks

    @property
    def is_untouched(self) -> bool:
        """Whether nothing happened since `mark`: nobody connected, nobody laid hands on the server."""
        return self._renewing is None and not self._touched and self._marked == self._counted()

    def cursors(self) -> tuple[int, int, frozenset[Any]]:
        """What there is when a test begins: the last message, the last session, the tasks."""
        bench = self._workbench
        return bench.archive.last_number, bench.transcripts.last_number, self._server.scheduler.tasks

    def renew(self) -> None:
        """After a test: exchange the server. Does not wait: `ready` does."""
        self._marked = None
        self._renewing = self.loop.submit(self._renew())

    def ready(self) -> None:
        """Wait until the server was exchanged. Raises what went wrong."""
        renewing = self._renewing
        if renewing is not None and not self.loop.is_here:
            renewing.result(CALL_SECONDS_MAX)
            self._renewing = None

    def usable(self) -> bool:
        """Wait until the server was exchanged; whether that could be done."""
        try:
            self.ready()
        except Exception:  # whatever it was, another system does instead
            self._renewing = None
            return False
        return True

    async def _renew(self) -> None:
        old, bench = self._server, self._workbench
        ports = {f"{name}_port": port for name, (_, port) in old.addresses.items() if name != "http"}
        bench.forks.part()
        sockets = await old.kill_but_listen()
        if any(snapshot.name == BASELINE for snapshot in bench.snapshots):
            bench.snapshots.restore(BASELINE)
            bench.snapshots.drop(BASELINE)
        store = old.store
        store.backend, store.settings = bench.backend.inner, self.settings
        store.spool_done.clear()
        for folder in store.folders_by_id.values():
            folder.listeners = []
        for mailbox in store.mailboxes.values():
            mailbox.locked_by = None
        clock = AdvancingClock()
        store._now = clock.time
        try:
            same = replace(self.settings, **ports)  # type: ignore[arg-type]
            self._server = Server(same, clock=clock, store=store, sockets=sockets)
            await self._server.start()
        except SettingsError:  # somebody else was given one of the ports meanwhile
            self._server = Server(self.settings, clock=clock, store=store)
            await self._server.start()
        self._server.directory.take_over(old.directory)
        self._workbench = Workbench.of(self._server, bench)
        await self.mark()

    async def end(self) -> None:
        """Kill the server. On the loop."""
        server: Server | None = getattr(self, "_server", None)
        if server is not None:
            await server.kill()
