"""A server in a thread of its own, with its own event loop: blocking tests (smtplib, imaplib) need none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from emulator.config import Settings
from emulator.server import Server
from harness.workbench import Workbench

from .clock import AdvancingClock

T = TypeVar("T")
START_SECONDS_MAX = 30.0
CALL_SECONDS_MAX = 60.0


class Address(NamedTuple):
    """Where a protocol is served; unpacks as (host, port)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class RunningServer:
    """One server from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.server: Server
        self.workbench: Workbench
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mailjam", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def start(self) -> None:
        """Start thread and server. Raises SettingsError, UnknownBuild."""
        self._thread.start()
        try:
            self.call(self._start())
        except BaseException:
            self._end()
            raise

    async def _start(self) -> None:
        self.server = Server(self.settings, clock=AdvancingClock())
        await self.server.start()
        self.workbench = Workbench.of(self.server)

    async def restart(self) -> None:
        """Kill the server, jammed as it may be, and start a new one on the same ports. On the server's own loop."""
        ports = {f"{name}_port": port for name, (_, port) in self.server.addresses.items() if name != "http"}
        await self.server.kill()
        self.settings = replace(self.settings, **ports)  # type: ignore[arg-type]  # names of fields
        await self._start()

    def stop(self) -> None:
        """Kill the server and end the thread."""
        try:
            self.call(self.server.kill())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    # --- crossing over ------------------------------------------------------------------------------------------------

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T], seconds_max: float = CALL_SECONDS_MAX) -> T:
        """Run a coroutine on the server's loop and wait for it, blocking."""
        assert threading.current_thread() is not self._thread, "this would wait for itself"
        future = self.submit(coroutine)
        try:
            return future.result(seconds_max)
        except TimeoutError:
            if future.done():
                raise
            future.cancel()
            raise TimeoutError(f"the server did not answer within {seconds_max:g} s") from None

    async def acall(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop and await it from an asyncio or trio task."""
        future = self.submit(coroutine)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            import anyio.to_thread  # noqa: PLC0415  # under trio only

            return await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)
        return await asyncio.wrap_future(future)

    # --- addresses ----------------------------------------------------------------------------------------------------

    def address(self, protocol: str) -> Address:
        """Raises LookupError for one that is not served."""
        try:
            return Address(*self.server.addresses[protocol])
        except KeyError:
            served = ", ".join(self.server.addresses)
            raise LookupError(f"{protocol} is not served: there are {served}; override mailjam_settings") from None

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
