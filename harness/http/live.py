"""What happens, as it happens: server-sent events (WHATWG HTML section 9.2).

A reader that comes back with `Last-Event-ID` is given the messages that came in meanwhile, each at least once; one that
comes back to another server (or a tenant that was reset) is told so by the event `reset`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from emulator.events import ServiceStateChanged
from harness.testing.archive import Entry
from harness.testing.snapshot_view import jam
from harness.testing.transcripts import Transcript
from harness.workbench import Workbench

from .endpoints import Endpoints
from .mailpit import summary

endpoints = Endpoints("live")
EVENTS_MAX = 2000
"""Events that wait for a slow reader; the oldest are dropped and counted."""
STATE_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0


class Stream:
    """The events of one reader."""

    def __init__(self, workbench: Workbench, last_event_id: str = "") -> None:
        self._workbench = workbench
        self._last_event_id = last_event_id
        self._events: deque[tuple[str, Any]] = deque()
        self._wake = asyncio.Event()
        self._sessions: set[int] = set()
        self._dropped = 0

    def _put(self, kind: str, value: Any) -> None:
        if len(self._events) >= EVENTS_MAX:
            self._events.popleft()
            self._dropped += 1
        self._events.append((kind, value))
        self._wake.set()

    def _message(self, what: str, entry: Entry) -> None:
        self._put(what, entry)

    def _session(self, transcript: Transcript) -> None:
        if transcript.number not in self._sessions:  # one line for a burst of changes
            self._sessions.add(transcript.number)
            self._put("session", transcript)

    def _service(self, event: ServiceStateChanged) -> None:
        self._put("service", {"service": event.service, "state": event.state, "detail": event.detail})

    def open(self) -> None:
        """Begin to listen."""
        self._workbench.archive.listeners.append(self._message)
        self._workbench.transcripts.listeners.append(self._session)
        self._workbench.server.bus.on(ServiceStateChanged, self._service)

    def _catch_up(self) -> None:
        """What came in since the reader was here."""
        if not self._last_event_id:
            return
        instance, _, number = self._last_event_id.partition("-")
        if instance != self._workbench.instance or not (number.isascii() and number.isdigit() and len(number) < 19):
            self._put("reset", {})
            return
        for entry in self._workbench.archive.since(int(number)):
            self._put("new", entry)

    def _event_id(self) -> str:
        """Up to which message everything was told."""
        archive = self._workbench.archive
        waiting = [value.number for kind, value in self._events if kind == "new"]
        number = min([*waiting, archive.lowest_hidden or archive.last_number + 1]) - 1
        return f"{self._workbench.instance}-{number}"

    def close(self) -> None:
        """Listen no more."""
        self._workbench.archive.listeners.remove(self._message)
        self._workbench.transcripts.listeners.remove(self._session)
        self._workbench.server.bus.off(ServiceStateChanged, self._service)

    async def _text(self, kind: str, value: Any) -> bytes:
        if isinstance(value, Entry):
            if kind == "gone" or not value.messages:
                kind, value = "gone", {"ID": value.name}
            else:
                value = {**summary(value, await self._workbench.archive.view(value)), "cursor": value.number}
        elif isinstance(value, Transcript):
            self._sessions.discard(value.number)
            value = value.summary()
        return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()

    async def read(self) -> AsyncIterator[bytes]:
        """Octets for the reader, until it goes away."""
        self.open()
        self._catch_up()
        last: dict[str, Any] | None = None
        quiet = 0.0
        try:
            yield b"retry: 1000\n\n"
            while not self._workbench.ended:
                pieces = []
                state = jam(self._workbench.server)
                if state != last:
                    last = state
                    pieces.append(await self._text("state", state))
                while self._events and len(pieces) < 100:
                    pieces.append(await self._text(*self._events.popleft()))
                if self._dropped:
                    pieces.append(await self._text("dropped", {"count": self._dropped}))
                    self._dropped = 0
                quiet = 0.0 if pieces else quiet + STATE_SECONDS
                if quiet >= KEEP_ALIVE_SECONDS:
                    quiet = 0.0
                    pieces.append(b": still here\n\n")
                if pieces:
                    pieces[-1] = f"id: {self._event_id()}\n".encode() + pieces[-1]
                    yield b"".join(pieces)
                await self._pause()
        finally:
            self.close()

    async def _pause(self) -> None:
        """Until something happened, at most STATE_SECONDS; then a moment more, so that a burst makes one piece."""
        if not self._events:
            self._wake.clear()
            try:
                async with asyncio.timeout(STATE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                return
        await asyncio.sleep(0.02)


@endpoints.add("GET", "/api/events", returns="text/event-stream")
async def events(workbench: Workbench, request: Request) -> Any:
    """Messages, sessions, services and the state of the system as they change; `Last-Event-ID` is understood."""
    last = request.headers.get("last-event-id", "")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(Stream(workbench, last).read(), media_type="text/event-stream", headers=headers)
