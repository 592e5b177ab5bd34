"""Tenants: systems of their own beside a running server, for several suites or people.

A tenant shares the process and nothing else: it has its own ports, users, newsgroups, messages, sections, queues,
services, faults, transcripts and clock. So a tenant that is jammed keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emulator.config import Settings, SettingsError, parse_account
from emulator.server import Server
from protocols.actor import Actor
from protocols.ports import AlreadyExists, NoSuchMailbox, NotPermitted

from .clock import AdvancingClock
from .fork import fork, settings_beside

if TYPE_CHECKING:
    from harness.workbench import Workbench

TENANTS_MAX = 200
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def check_name(name: str) -> str:
    """A tenant's name, lower case. Raises ValueError."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"tenant {name!r}: use letters, digits, dots and hyphens, as in --tenant shop")
    return name.lower()


class Tenant:
    """One of them, from `start` to `end`."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.workbench: Workbench
        self._alive: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """(host, port) of each protocol."""
        return self.workbench.server.addresses

    async def start(self, main: Server, forked_from: Server | None = None) -> None:
        """Start; it ends with the main server. Raises SettingsError, UnknownBuild."""
        if forked_from is None:
            await self._use(self.settings)
        else:
            self._watch(await fork(forked_from, settings=self.settings, clock=AdvancingClock()))
        self._alive = main.scheduler.spawn(Actor("tenant", doing=self.name), self._live())

    async def _use(self, settings: Settings, sockets: Mapping[str, socket.socket] | None = None) -> None:
        server = Server(settings, clock=AdvancingClock(), sockets=sockets)
        await server.start()
        self._watch(server)

    def _watch(self, server: Server) -> None:
        from harness.workbench import Workbench  # noqa: PLC0415  # it has our registry

        self.workbench = Workbench.of(server)

    async def _live(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.workbench.ended = True
            await self.workbench.server.kill()

    async def reset(self) -> None:
        """Exchange the system for a fresh one on the same ports, jammed as it may be. Raises SettingsError."""
        self.workbench.ended = True
        ports = {name: port for name, (_, port) in self.addresses.items() if name != "http"}
        sockets = await self.workbench.server.kill_but_listen()
        same: dict[str, Any] = {f"{name}_port": port for name, port in ports.items()}
        try:
            await self._use(replace(self.settings, **same), sockets)
        except SettingsError:  # somebody else was given one of the ports meanwhile
            await self._use(self.settings)

    async def end(self) -> None:
        """End it now."""
        if self._alive is not None:
            self._alive.cancel()
            await asyncio.wait((self._alive,))


class Tenants:
    """The tenants of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._all: dict[str, Tenant] = {}

    def __iter__(self) -> Iterator[Tenant]:
        return iter(tuple(self._all.values()))

    def get(self, name: str) -> Tenant:
        """Raises NoSuchMailbox."""
        found = self._all.get(name.lower())
        if found is None:
            raise NoSuchMailbox(f"no tenant {name[:80]!r}: make it with mailjam tenant add {name[:80]}")
        return found

    async def create(
        self,
        name: str,
        *,
        build: str = "",
        users: Sequence[str] = (),
        groups: Sequence[str] = (),
        ports: Mapping[str, int] | None = None,
        fork_of: Server | None = None,
    ) -> Tenant:
        """Start a tenant; `users` as `NAME:PASSWORD`. Raises ValueError, SettingsError, UnknownBuild, AlreadyExists.

        `fork_of`: begin with a copy of what that server has.
        """
        name = check_name(name)
        if name in self._all:
            raise AlreadyExists(f"tenant {name} exists")
        if len(self._all) >= TENANTS_MAX:
            raise NotPermitted(f"no more than {TENANTS_MAX} tenants: remove one")
        settings = settings_beside(self._server.settings, ports)
        accounts = tuple(parse_account(text) for text in users)
        settings = replace(settings, accounts=accounts, groups=tuple(groups))
        if build:
            settings = replace(settings, build=build, defects=frozenset())
        tenant = self._all[name] = Tenant(name, settings)
        try:
            await tenant.start(self._server, fork_of)
        except BaseException:
            del self._all[name]
            raise
        return tenant

    async def remove(self, name: str) -> None:
        """End a tenant. Raises NoSuchMailbox."""
        tenant = self.get(name)
        del self._all[tenant.name]
        await tenant.end()
