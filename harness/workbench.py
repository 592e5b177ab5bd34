"""Everything that watches and disturbs one running server: archive, transcripts, faults, gates, snapshots.

The HTTP API, the pytest plugin, MQTT and the command line work through it. A server without one pays nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from emulator.builds import Build
from emulator.events import ServiceStateChanged
from emulator.folder import Folder
from emulator.server import IS
from protocols.reply import Reply

from .faults.engine import Faults, Run
from .faults.striking import strike
from .faults.vocabulary import check_point
from .gates import Gate, Gates
from .testing.archive import Archive, ObservedBackend
from .testing.fork import Forks
from .testing.jamming import Jamming
from .testing.snapshots import Snapshots
from .testing.tenants import Tenants
from .testing.transcripts import Transcript, Transcripts
from .testing.tricks import Tricks

if TYPE_CHECKING:
    from emulator.server import Server

_workbenches: WeakKeyDictionary[Any, Workbench] = WeakKeyDictionary()


class Workbench:
    """Made once for a server that runs: `Workbench.of(server)`. Fulfils `protocols.ports.Monitor`."""

    def __init__(self, server: Server, before: Workbench | None = None) -> None:
        self.server = server
        self.began = server.clock.monotonic()
        """Monotonic seconds when watching began."""
        self.archive: Archive = Archive(server) if before is None else before.archive
        self.transcripts = Transcripts()
        self.faults = Faults(server, self._find_gates)
        self.backend = self._observe()
        self.tricks = Tricks(self)
        self.jamming = Jamming(self)
        self.tenants = Tenants(server)
        self.instance = secrets.token_hex(4)
        """Tells the events of one server from those of another."""
        self.ended = False
        """Whether the server was exchanged or ended: whoever follows it stops."""
        self.named_gates: dict[str, Gate] = {}
        """Gates that were set by name, over HTTP."""
        self._gates: Gates | None = None
        self._gates_are_ours = True
        self._gate_numbers = count(1)
        self.forks = Forks(self)
        """Copies of the store that still look at this one."""
        self._sessions: dict[int, Any] = {}
        """Open sessions by the number of their transcript."""
        self.snapshots = Snapshots(server, self.backend, self.archive, self.forks)
        if before is None:
            self.archive.load()
        else:
            self.archive.move(server)
            self.snapshots.take_over(before.snapshots)
        server.services.monitor = self
        server.bus.on(ServiceStateChanged, self._service_changed)

    @classmethod
    def of(cls, server: Server, before: Workbench | None = None) -> Workbench:
        """The server's workbench, made at the first call. The server must have been started.

        `before`: that of an ended server whose store this one goes on with: archive and snapshots go on too.
        """
        found = _workbenches.get(server)
        if found is None:
            found = _workbenches[server] = cls(server, before)
        return found

    def _observe(self) -> ObservedBackend:
        backend = ObservedBackend(self.server.store.backend)
        backend.after.append(self.archive.committed)
        self.server.store.backend = backend
        return backend

    def _service_changed(self, event: ServiceStateChanged) -> None:
        """A restart of the information store may have brought another store or backend."""
        if event.service == IS and event.state == "running" and self.server.store.backend is not self.backend:
            observers = self.backend
            self.backend = self._observe()
            self.backend.before, self.backend.after = observers.before, observers.after
            self.snapshots = Snapshots(self.server, self.backend, self.archive, self.forks)
            self.archive.clear()
            self.archive.load()
            self.server.services.monitor = self

    # --- protocols.ports.Monitor --------------------------------------------------------------------------------------

    def session_opened(self, session: Any) -> None:
        """Write the dialogue down."""
        transcript = self.transcripts.begin(session.protocol, session.actor, session.connection.peer)
        transcript.on_sent = self._sent
        transcript.on_closed = self._closed
        session.connection.watch(transcript)
        self._sessions[transcript.number] = session
        self.archive.session_began(session.actor, session.connection.peer)
        self.faults.session_opened(session)

    def _sent(self, transcript: Transcript) -> None:
        self.archive.replied(transcript.actor)

    def break_session(self, number: int) -> bool:
        """Break the connection of a session; whether it was open."""
        session = self._sessions.get(number)
        if session is not None:
            session.connection.abort()
        return session is not None

    def _closed(self, transcript: Transcript) -> None:
        self._sessions.pop(transcript.number, None)
        self.archive.session_ended(transcript.actor)
        self.faults.session_closed(transcript.actor)

    def before_handshake(self, protocol: str, peer: str) -> Awaitable[None] | None:
        """Let a fault stall the handshake."""
        return self.faults.stalled_handshake(protocol) if len(self.faults) else None

    async def around(self, session: Any, command: str, arguments: Any, run: Run) -> Reply:
        """Let the faults strike that match."""
        if len(self.faults):
            struck = self.faults.matching(session, command, arguments)
            if struck:
                return await strike(self.faults, struck, session, run)
        reply: Reply = await run()
        return reply

    # --- the system ---------------------------------------------------------------------------------------------------

    def set_build(self, text: str) -> Build:
        """Exchange the build: paths that begin from now on enter sections in its order. Raises UnknownBuild.

        Defects that were switched on by name stay on, whatever the build.
        """
        server = self.server
        build = replace(server.settings, build=text).find_build()
        server.build = server.converter.build = build
        front_end = replace(server.settings.front_end, build=build.number)
        server.settings = replace(server.settings, build=build.number, front_end=front_end)
        server.services.settings = front_end
        return build

    def find_folder(self, place: str) -> Folder:
        """`alice`, `alice/Sent` or a newsgroup's name. Raises LookupError."""
        store = self.server.store
        if place in store.newsgroups:
            return store.newsgroups[place]
        user, _, name = place.partition("/")
        mailbox = store.mailboxes.get(self.server.directory.find(user) or "")
        folder = mailbox.folders.get(name or "INBOX") if mailbox is not None else None
        if folder is None:
            raise LookupError(f"no folder {place!r}: name it as alice, alice/Sent, or by its newsgroup")
        return folder

    async def folder(self, place: str) -> Folder:
        """As `find_folder`; a mailbox and a folder of it are made when they are not there. Raises PortError."""
        try:
            return self.find_folder(place)
        except LookupError:
            user, _, name = place.partition("/")
            mailbox = await self.server.directory.recipient(user)
            return await self.server.store.create_folder(mailbox, name) if name else mailbox.inbox

    # --- gates --------------------------------------------------------------------------------------------------------

    def _find_gates(self) -> Gates:
        hook = self.server.scheduler.hook
        if self._gates is None or hook is None:
            standing = getattr(hook, "__self__", None)
            # Somebody else's gates (a scenario that is armed) stay: there is one hook for all.
            self._gates_are_ours = not isinstance(standing, Gates)
            self._gates = Gates(self.server.scheduler) if self._gates_are_ours else standing
        assert self._gates is not None
        return self._gates

    @property
    def gates(self) -> Gates:
        """Hold actors at named points."""
        return self._find_gates()

    def add_gate(self, point: str, actor: str, count_max: int | None) -> str:
        """A gate that is known by a name: the name. Raises FaultError for a point that no actor reaches."""
        check_point(point)
        name = f"g{next(self._gate_numbers)}"
        self.named_gates[name] = self.gates.hold(point, actor=actor, count=count_max)
        return name

    def close_gates(self) -> None:
        """Open all gates; points cost nothing again."""
        for gate in self.named_gates.values():
            gate.release()
        self.named_gates.clear()
        if self._gates is not None and self._gates_are_ours:
            self._gates.close()
        self._gates = None
