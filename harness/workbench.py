"""Everything that watches and disturbs one running server: archive, transcripts, faults, gates, snapshots.

The HTTP API, the pytest plugin, MQTT and the command line work through it. A server without one pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from emulator.events import ServiceStateChanged
from emulator.server import IS
from protocols.reply import Reply

from .faults.engine import Faults, Run
from .faults.striking import strike
from .gates import Gates
from .testing.archive import Archive, ObservedBackend
from .testing.transcripts import Transcript, Transcripts

if TYPE_CHECKING:
    from emulator.server import Server

_workbenches: WeakKeyDictionary[Any, Workbench] = WeakKeyDictionary()


class Workbench:
    """Made once for a server that runs: `Workbench.of(server)`. Fulfils `protocols.ports.Monitor`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.archive = Archive(server)
        self.transcripts = Transcripts()
        self.faults = Faults(server, self._find_gates)
        self.backend = self._observe()
        self._gates: Gates | None = None
        self.archive.load()
        server.services.monitor = self
        server.bus.on(ServiceStateChanged, self._service_changed)

    @classmethod
    def of(cls, server: Server) -> Workbench:
        """The server's workbench, made at the first call. The server must have been started."""
        found = _workbenches.get(server)
        if found is None:
            found = _workbenches[server] = cls(server)
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
            self.archive.clear()
            self.archive.load()
            self.server.services.monitor = self

    # --- protocols.ports.Monitor --------------------------------------------------------------------------------------

    def session_opened(self, session: Any) -> None:
        """Write the dialogue down."""
        transcript = self.transcripts.begin(session.protocol, session.actor, session.connection.peer)
        transcript.on_sent = self._sent
        transcript.on_closed = self._closed
        session.connection.tap = transcript
        self.archive.session_began(session.actor)
        self.faults.session_opened(session)

    def _sent(self, transcript: Transcript) -> None:
        self.archive.replied(transcript.actor)

    def _closed(self, transcript: Transcript) -> None:
        self.archive.session_ended(transcript.actor)
        self.faults.session_closed(transcript.actor)

    async def around(self, session: Any, command: str, arguments: Any, run: Run) -> Reply:
        """Let the faults strike that match."""
        if len(self.faults):
            struck = self.faults.matching(session, command, arguments)
            if struck:
                return await strike(self.faults, struck, session, run)
        reply: Reply = await run()
        return reply

    # --- gates --------------------------------------------------------------------------------------------------------

    def _find_gates(self) -> Gates:
        if self._gates is None or self.server.scheduler.hook is None:
            self._gates = Gates(self.server.scheduler)
        return self._gates

    @property
    def gates(self) -> Gates:
        """Hold actors at named points."""
        return self._find_gates()

    def close_gates(self) -> None:
        """Open all gates; points cost nothing again."""
        if self._gates is not None:
            self._gates.close()
            self._gates = None
