"""Event records and the in-process bus.

Records are frozen: what happened does not change. The bus never blocks a publisher: a subscriber is either a function
that is called at once, or a bounded queue whose overflow is counted, never waited for.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocols.actor import Actor

Callback = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class MessageAccepted:
    """SMTP said 250: the message is in `In`."""

    spool_name: str
    reverse_path: str
    recipients: tuple[str, ...]
    octets: int


@dataclass(frozen=True, slots=True)
class MessageDelivered:
    """Inbound conversion is done and the store has the message; `folders` name where it is."""

    spool_name: str
    folders: tuple[str, ...]
    messages: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class MessageRelayed:
    """The smart host took a message for some recipients."""

    spool_name: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MessageBad:
    """A message went to BAD (event 4116)."""

    spool_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SectionBlocked:
    """An actor has to wait for a section that another one holds."""

    actor: Actor
    section: Any


@dataclass(frozen=True, slots=True)
class OrderViolated:
    """An actor wanted a section of lower rank than one it holds: the global lock order was broken."""

    actor: Actor
    held: str
    wanted: str


@dataclass(frozen=True, slots=True)
class ServiceStateChanged:
    """A service moved to another state."""

    service: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServiceFailed:
    """A service ended or stopped itself because of an error; `number` is that of the event in the original's log."""

    service: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class DirectoryChanged:
    """A directory object was modified: the notification thread will rebuild what derives from it (KB Q268357)."""

    what: str


@dataclass(frozen=True, slots=True)
class SiteAddressingRebuilt:
    """The directory-notification thread has rebuilt the conversion stage's copy of what derives from the directory."""

    serial: int


class Subscription:
    """A bounded queue of events; `dropped` counts those that found it full."""

    def __init__(self, bus: Bus, kinds: tuple[type, ...], events_max: int, wake: Callable[[], None] | None) -> None:
        self._bus = bus
        self._kinds = kinds
        self._events: deque[Any] = deque()
        self._events_max = events_max
        self._wake = wake
        self.dropped = 0
        for kind in kinds:
            bus.on(kind, self._take)

    def _take(self, event: Any) -> None:
        if len(self._events) >= self._events_max:
            self.dropped += 1
            return
        self._events.append(event)
        if self._wake is not None:
            self._wake()

    def pop(self) -> Any | None:
        """The oldest event, or None."""
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Receive nothing more."""
        for kind in self._kinds:
            self._bus.off(kind, self._take)


class Bus:
    """Publish and subscribe by type of event. A subscription to `object` sees everything."""

    def __init__(self) -> None:
        self._callbacks: dict[type, list[Callback]] = defaultdict(list)
        self.failures = 0
        """Callbacks that raised; the publisher never sees it."""
        self.last_failure: BaseException | None = None

    def on(self, kind: type, callback: Callback) -> None:
        """Call `callback` at once for each event of exactly this kind (or of any, for `object`)."""
        self._callbacks[kind] = [*self._callbacks[kind], callback]

    def off(self, kind: type, callback: Callback) -> None:
        """Undo `on`."""
        self._callbacks[kind] = [kept for kept in self._callbacks[kind] if kept != callback]

    def wanted(self, kind: type) -> bool:
        """Whether anybody would see an event of this kind: saves building it on hot paths."""
        return bool(self._callbacks.get(kind) or self._callbacks.get(object))

    def publish(self, event: Any) -> None:
        """Hand the event to all who asked for it."""
        for kind in (type(event), object):
            callbacks = self._callbacks.get(kind)
            if callbacks:
                for callback in callbacks:
                    try:
                        callback(event)
                    except Exception as error:  # a subscriber's fault must not reach a mail session
                        self.failures += 1
                        self.last_failure = error

    def subscribe(self, *kinds: type, events_max: int = 10_000, wake: Callable[[], None] | None = None) -> Subscription:
        """A queue of at most `events_max` events; `wake` is called when one comes in."""
        return Subscription(self, kinds or (object,), events_max, wake)
