"""Services and their control, as in the real system (KB Q143380): states, dependencies, `stop pending`.

MSExchangeIS (the information store with POP3, IMAP4 and NNTP, which ran inside store.exe), and two that need it:
MSExchangeIMC (the Internet Mail Service) and MSExchangeINS (the Internet News Service: newsfeeds and expiry). Stopping
IS stops them first. A stop waits for work in progress and has no time-out of its own: under the defect it stays in
`stop pending`, which is reported, and only the end of the process frees it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from protocols.actor import Actor

from .events import Bus, ServiceStateChanged
from .scheduling import Scheduler, Waiter


class State(StrEnum):
    """Service states of Windows NT."""

    STOPPED = "stopped"
    START_PENDING = "start pending"
    RUNNING = "running"
    PAUSE_PENDING = "pause pending"
    PAUSED = "paused"
    CONTINUE_PENDING = "continue pending"
    STOP_PENDING = "stop pending"


class ServiceError(Exception):
    """A control request does not fit the service's state; the text names the fix."""


async def _nothing() -> None:
    """A step that a service does not need."""


@dataclass(slots=True)
class Steps:
    """What a service does at each control request."""

    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing
    pause: Callable[[], Awaitable[None]] = _nothing
    resume: Callable[[], Awaitable[None]] = _nothing


class Service:
    """One service: its state and who waits for it to change."""

    def __init__(self, name: str, title: str, steps: Steps, *, needs: tuple[str, ...] = ()) -> None:
        self.name = name
        self.title = title
        self.steps = steps
        self.needs = needs
        self.state = State.STOPPED
        self.since = 0.0
        """Monotonic seconds of the last change."""
        self.waiters: list[Waiter] = []


class ServiceControl:
    """The service control manager: start, stop, pause, continue, in the order of the dependencies."""

    def __init__(self, scheduler: Scheduler, bus: Bus) -> None:
        self._scheduler = scheduler
        self._bus = bus
        self.services: dict[str, Service] = {}

    def add(self, service: Service) -> None:
        """Services are added after those that they need."""
        assert all(name in self.services for name in service.needs)
        self.services[service.name] = service

    def find(self, name: str) -> Service:
        """By name in any case, or by its last letters (`IS`, `IMC`). Raises ServiceError."""
        for service in self.services.values():
            if name.lower() in (service.name.lower(), service.name.lower().removeprefix("msexchange")):
                return service
        raise ServiceError(f"no service {name!r}: there are {', '.join(self.services)}")

    def _set(self, service: Service, state: State, detail: str = "") -> None:
        service.state = state
        service.since = self._scheduler.now()
        self._bus.publish(ServiceStateChanged(service.name, state.value, detail))
        waiters, service.waiters = service.waiters, []
        for waiter in waiters:
            waiter.wake()

    async def start(self, name: str) -> None:
        """Start a service and those that it needs. Raises ServiceError while one of them is in a pending state."""
        service = self.find(name)
        if service.state is State.RUNNING:
            return
        if service.state is not State.STOPPED:
            raise ServiceError(f"{service.name} is {service.state}: only a stopped service starts")
        for needed in service.needs:
            await self.start(needed)
        self._set(service, State.START_PENDING)
        try:
            await service.steps.start()
        except BaseException as error:
            self._set(service, State.STOPPED, str(error))
            raise
        self._set(service, State.RUNNING)

    def request_stop(self, name: str) -> Any:
        """Ask a service, and those that need it, to stop; returns at once. The actor `service-control` does it."""
        service = self.find(name)
        actor = Actor("service-control", doing=f"stop {service.name}")
        return self._scheduler.spawn(actor, self.stop(name))

    async def stop(self, name: str) -> None:
        """Stop a service after those that need it; returns when it is stopped, which may be never."""
        service = self.find(name)
        for dependent in reversed(list(self.services.values())):
            if service.name in dependent.needs and dependent.state is not State.STOPPED:
                await self.stop(dependent.name)
        if service.state is State.STOPPED:
            return
        if service.state is State.STOP_PENDING:
            await self.wait_for(service, State.STOPPED)
            return
        self._set(service, State.STOP_PENDING)
        await service.steps.stop()
        self._set(service, State.STOPPED)

    def ended(self, name: str, detail: str) -> None:
        """The process of a service has ended by itself."""
        self._set(self.find(name), State.STOPPED, detail)

    async def pause(self, name: str) -> None:
        """Take no new work, keep what is there. Raises ServiceError unless it is running."""
        service = self.find(name)
        if service.state is not State.RUNNING:
            raise ServiceError(f"{service.name} is {service.state}: only a running service can be paused")
        self._set(service, State.PAUSE_PENDING)
        await service.steps.pause()
        self._set(service, State.PAUSED)

    async def resume(self, name: str) -> None:
        """The control request `continue`. Raises ServiceError unless it is paused."""
        service = self.find(name)
        if service.state is not State.PAUSED:
            raise ServiceError(f"{service.name} is {service.state}: only a paused service continues")
        self._set(service, State.CONTINUE_PENDING)
        await service.steps.resume()
        self._set(service, State.RUNNING)

    async def wait_for(self, service: Service, state: State) -> None:
        """Wait until the service is in that state."""
        while service.state is not state:
            waiter = self._scheduler.waiter()
            service.waiters.append(waiter)
            await waiter
