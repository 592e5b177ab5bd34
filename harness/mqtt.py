"""A running server on MQTT: events as they happen, states retained, a jam as a state.

    PREFIX/status                    `online`, `offline` (last will), retained
    PREFIX/state/services/NAME       retained, as are the following
    PREFIX/state/sections/NAME
    PREFIX/state/queues
    PREFIX/state/jam                 {"jammed": true, "cycles": […]}
    PREFIX/events/message            accepted, delivered, bad
    PREFIX/events/session            opened, closed
    PREFIX/events/service            every change of a state

All with QoS 1, which is at least once: after a broker's restart an event may come twice. Each has `instance` (of the
server) and `seq`, which counts events of all kinds from 1: whoever remembers the last one of an instance knows what is
a duplicate, and by a gap how many were lost. `Sequence` does it. While the broker is away events are kept, bounded, and
those that are lost are counted and told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from emulator.config import SettingsError
from emulator.events import MessageAccepted, MessageBad, MessageDelivered, SectionBlocked, ServiceStateChanged
from harness.testing.snapshot_view import jam
from protocols.actor import Actor
from protocols.ports import SessionClosed, SessionOpened

if TYPE_CHECKING:
    import aiomqtt

    from emulator.server import Server

EVENTS_MAX = 10_000
"""Events kept while the broker is away; the oldest go first."""
STATE_SECONDS = 0.25
RECONNECT_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
KEEP_ALIVE_SECONDS = 15
HOW_TO_INSTALL = "MQTT needs one more library: pip install 'mailjam[mqtt]'"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish: `mqtt://USER:PASSWORD@HOST:PORT/PREFIX`, or `mqtts:`."""

    host: str
    port: int
    prefix: str
    user: str | None = None
    password: str | None = None
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Raises SettingsError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise SettingsError(f"--mqtt {url!r}: write mqtt://HOST:1883/prefix")
        prefix = unquote(parts.path.strip("/")) or "mailjam"
        if any(character in "+#\0" for character in prefix):
            raise SettingsError(f"--mqtt {url!r}: a prefix has no + and no #")
        tls = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port or (8883 if tls else 1883), prefix, user, password, tls)

    @staticmethod
    def check_library() -> None:
        """Raises SettingsError, with how to install it, when the library is missing."""
        if find_spec("aiomqtt") is None:
            raise SettingsError(HOW_TO_INSTALL)

    def client(self, identifier: str, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
        """A client, not connected."""
        from aiomqtt import Client  # noqa: PLC0415  # an extra

        return Client(
            self.host,
            self.port,
            username=self.user,
            password=self.password,
            identifier=identifier,
            will=will,
            keepalive=KEEP_ALIVE_SECONDS,
            tls_context=ssl.create_default_context() if self.tls else None,
            timeout=10,
        )


def will_of(topic: str, text: str) -> aiomqtt.Will:
    """A last will, retained."""
    from aiomqtt import Will  # noqa: PLC0415  # an extra

    return Will(topic, text, qos=1, retain=True)


class Sequence:
    """What a reader of events remembers, so that each counts once."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self.duplicates = 0
        self.lost = 0
        """Events that were published by nobody: dropped while the broker was away, or before this reader came."""

    def is_new(self, event: Mapping[str, Any]) -> bool:
        """Whether the event was not here before. Raises KeyError, TypeError, ValueError for what is no event."""
        instance, number = str(event["instance"]), int(event["seq"])
        last = self._last.get(instance)
        if last is not None and number <= last:
            self.duplicates += 1
            return False
        if last is not None:
            self.lost += number - last - 1
        self._last[instance] = number
        return True


class Publisher:
    """Publishes one server until closed."""

    def __init__(self, server: Server, broker: Broker) -> None:
        broker.check_library()
        self._server = server
        self._broker = broker
        self._events: deque[tuple[str, dict[str, Any]]] = deque()
        self.instance = secrets.token_hex(4)
        self.published = 0
        """The number of the last event."""
        self._told: dict[str, str] = {}
        self._wake = asyncio.Event()
        self.dropped = 0
        """Events that were lost because the broker was away for too long."""
        self.connected = False
        self.connections = 0
        self._task: asyncio.Task[None] | None = None
        self._handlers = {
            MessageAccepted: lambda e: self._event(
                "message", what="accepted", spool=e.spool_name, sender=e.reverse_path, recipients=e.recipients
            ),
            MessageDelivered: lambda e: self._event("message", what="delivered", spool=e.spool_name, folders=e.folders),
            MessageBad: lambda e: self._event("message", what="bad", spool=e.spool_name, reason=e.reason),
            SessionOpened: lambda e: self._event("session", what="opened", actor=e.actor.name, peer=e.peer),
            SessionClosed: lambda e: self._event(
                "session", what="closed", actor=e.actor.name, user=e.actor.user, seconds=round(e.seconds, 3), how=e.how
            ),
            ServiceStateChanged: lambda e: self._event("service", service=e.service, state=e.state, detail=e.detail),
            SectionBlocked: lambda e: self._wake.set(),
        }

    def start(self) -> None:
        """Begin."""
        for kind, handler in self._handlers.items():
            self._server.bus.on(kind, handler)
        self._task = self._server.scheduler.spawn(Actor("mqtt", doing=self._broker.host), self._run())

    async def close(self) -> None:
        """Say `offline` and end."""
        for kind, handler in self._handlers.items():
            self._server.bus.off(kind, handler)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,), timeout=5)

    def _event(self, kind: str, **values: Any) -> None:
        if len(self._events) >= EVENTS_MAX:
            self._events.popleft()
            self.dropped += 1
        self.published += 1
        about = {"instance": self.instance, "seq": self.published, "time": self._server.clock.time()}
        self._events.append((kind, {**about, **values}))
        self._wake.set()

    async def _run(self) -> None:
        from aiomqtt import MqttError  # noqa: PLC0415  # an extra

        failures = 0
        while True:
            before = self.connections
            try:
                await self._connected()
            except (MqttError, OSError):
                pass
            self.connected = False
            failures = 0 if self.connections > before else failures + 1
            await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])

    async def _connected(self) -> None:
        from aiomqtt import MqttError  # noqa: PLC0415  # an extra

        status = f"{self._broker.prefix}/status"
        identifier = f"mailjam-{os.getpid()}-{id(self) & 0xFFFFFF:x}"
        async with self._broker.client(identifier, will_of(status, "offline")) as client:
            await client.publish(status, "online", qos=1, retain=True)
            self.connected = True
            self.connections += 1
            self._told.clear()  # the broker may have forgotten what it retained
            try:
                await self._publish(client)
            except asyncio.CancelledError:
                with contextlib.suppress(MqttError, TimeoutError):  # the broker may be away; we end all the same
                    async with asyncio.timeout(2):
                        await client.publish(status, "offline", qos=1, retain=True)
                raise

    async def _publish(self, client: aiomqtt.Client) -> None:
        while True:
            for topic, value in self._states().items():
                text = json.dumps(value)
                if self._told.get(topic) != text:
                    await client.publish(f"{self._broker.prefix}/state/{topic}", text, qos=1, retain=True)
                    self._told[topic] = text
            while self._events:
                kind, values = self._events[0]
                await client.publish(f"{self._broker.prefix}/events/{kind}", json.dumps(values), qos=1)
                if self._events and self._events[0][1] is values:
                    self._events.popleft()
            self._wake.clear()
            try:
                async with asyncio.timeout(STATE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _states(self) -> dict[str, Any]:
        state = jam(self._server)
        found: dict[str, Any] = {
            "queues": state["queues"],
            "jam": {"jammed": state["jammed"], "cycles": state["cycles"]},
            "events": {"dropped": self.dropped},
        }
        for service in state["services"]:
            found[f"services/{service['name']}"] = {"state": service["state"]}
        for section in state["sections"]:
            waiters = [waiter["actor"] for waiter in section["waiters"]]
            found[f"sections/{section['name']}"] = {"owner": section["owner"], "waiters": waiters}
        return found
