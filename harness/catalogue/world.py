"""The two worlds a catalogue program runs in: asyncio's objects, and the same behaviour under the explorer.

The explorer's objects follow asyncio's code to the step: a free lock is taken without giving the processor away, a
release wakes the first waiter, who takes the lock when it runs. Only `pause()` and blocking are points of choice.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol

from harness.exploration import Spawn, Waiter, point, touch
from harness.exploration.ops import running


class World(Protocol):
    """What a program may use; asyncio's names and meanings."""

    def lock(self, name: str) -> Any: ...
    def semaphore(self, name: str, value: int) -> Any: ...
    def event(self, name: str) -> Any: ...
    def condition(self, name: str, lock: Any) -> Any: ...
    def queue(self, name: str, size: int = 0) -> Any: ...
    def waiter(self) -> Any: ...
    def pause(self) -> Awaitable[Any]: ...
    async def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]: ...


# asyncio


class _Future:
    """A one-shot with the interface of the explorer's Waiter."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def woken(self) -> bool:
        return self.future.done()

    def wake(self, value: Any = None) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def __await__(self) -> Any:
        return self.future.__await__()


class AsyncioWorld:
    """asyncio's own objects; `pause` yields to the loop a random number of times."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a repeatable choice, not a secret

    def lock(self, _name: str) -> asyncio.Lock:
        return asyncio.Lock()

    def semaphore(self, _name: str, value: int) -> asyncio.Semaphore:
        return asyncio.Semaphore(value)

    def event(self, _name: str) -> asyncio.Event:
        return asyncio.Event()

    def condition(self, _name: str, lock: asyncio.Lock) -> asyncio.Condition:
        return asyncio.Condition(lock)

    def queue(self, _name: str, size: int = 0) -> asyncio.Queue[Any]:
        return asyncio.Queue(size)

    def waiter(self) -> _Future:
        return _Future()

    async def pause(self) -> None:
        for _ in range(self._random.randrange(1, 6)):
            await asyncio.sleep(0)

    async def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        return asyncio.get_running_loop().create_task(coroutine, name=name)


# The explorer


class _Lock:
    def __init__(self, name: str) -> None:
        self.name = name
        self.taken = False
        self.waiters: deque[Waiter] = deque()

    def locked(self) -> bool:
        touch(self.name)
        return self.taken

    async def acquire(self) -> bool:
        touch(self.name)
        if self.taken or self.waiters:
            waiter = Waiter(self.name)
            self.waiters.append(waiter)
            await waiter
            touch(self.name)
            self.waiters.remove(waiter)
        self.taken = True
        return True

    def release(self) -> None:
        touch(self.name)
        if not self.taken:
            raise RuntimeError("Lock is not acquired.")
        self.taken = False
        if self.waiters:
            self.waiters[0].wake()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_exc: object) -> None:
        if running_now():
            self.release()


def running_now() -> bool:
    """False while an abandoned execution is closed: its `finally` blocks have no effect then."""
    try:
        running()
    except RuntimeError:
        return False
    return True


class _Semaphore(_Lock):
    def __init__(self, name: str, value: int) -> None:
        super().__init__(name)
        self.value = value

    async def acquire(self) -> bool:
        touch(self.name)
        if self.value > 0 and not self.waiters:
            self.value -= 1
            return True
        waiter = Waiter(self.name)
        self.waiters.append(waiter)
        await waiter
        return True

    def release(self) -> None:
        touch(self.name)
        if self.waiters:
            self.waiters.popleft().wake()
        else:
            self.value += 1


class _Event:
    def __init__(self, name: str) -> None:
        self.name = name
        self.flag = False
        self.waiters: list[Waiter] = []

    def is_set(self) -> bool:
        touch(self.name)
        return self.flag

    def set(self) -> None:
        touch(self.name)
        self.flag = True
        for waiter in self.waiters:
            waiter.wake()
        self.waiters.clear()

    def clear(self) -> None:
        touch(self.name)
        self.flag = False

    async def wait(self) -> bool:
        touch(self.name)
        if not self.flag:
            waiter = Waiter(self.name)
            self.waiters.append(waiter)
            await waiter
        return True


class _Condition:
    def __init__(self, name: str, lock: _Lock) -> None:
        self.name = name
        self._lock = lock
        self.sleepers: deque[Waiter] = deque()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *exc: object) -> None:
        await self._lock.__aexit__(*exc)

    async def wait(self) -> bool:
        touch(self.name)
        waiter = Waiter(self.name)
        self.sleepers.append(waiter)
        self._lock.release()
        await waiter
        await self._lock.acquire()
        return True

    def notify(self, count: int = 1) -> None:
        touch(self.name)
        for _ in range(min(count, len(self.sleepers))):
            self.sleepers.popleft().wake()

    def notify_all(self) -> None:
        self.notify(1 << 30)


class _Queue:
    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.items: deque[Any] = deque()
        self.getters: deque[Waiter] = deque()
        self.putters: deque[Waiter] = deque()
        self.unfinished = 0
        self.joiners: list[Waiter] = []

    async def put(self, item: Any) -> None:
        touch(self.name)
        while self.size and len(self.items) >= self.size:
            waiter = Waiter(self.name)
            self.putters.append(waiter)
            await waiter
            touch(self.name)
        self.items.append(item)
        self.unfinished += 1
        if self.getters:
            self.getters.popleft().wake()

    async def get(self) -> Any:
        touch(self.name)
        while not self.items:
            waiter = Waiter(self.name)
            self.getters.append(waiter)
            await waiter
            touch(self.name)
        if self.putters:
            self.putters.popleft().wake()
        return self.items.popleft()

    def task_done(self) -> None:
        touch(self.name)
        self.unfinished -= 1
        if self.unfinished == 0:
            for waiter in self.joiners:
                waiter.wake()

    async def join(self) -> None:
        touch(self.name)
        if self.unfinished:
            waiter = Waiter(self.name)
            self.joiners.append(waiter)
            await waiter


class ModelWorld:
    """The same behaviour under the explorer."""

    def lock(self, name: str) -> _Lock:
        return _Lock(name)

    def semaphore(self, name: str, value: int) -> _Semaphore:
        return _Semaphore(name, value)

    def event(self, name: str) -> _Event:
        return _Event(name)

    def condition(self, name: str, lock: _Lock) -> _Condition:
        return _Condition(name, lock)

    def queue(self, name: str, size: int = 0) -> _Queue:
        return _Queue(name, size)

    def waiter(self) -> Waiter:
        return Waiter()

    def pause(self) -> Awaitable[Any]:
        return point("pause")

    async def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        handle: Awaitable[Any] = await Spawn(name, coroutine)
        return handle


class RWLock:
    """A readers-writer lock in which a waiting writer keeps new readers out (`writer_first`), in either world."""

    def __init__(self, world: World, name: str, *, writer_first: bool = True) -> None:
        self._condition = world.condition(f"{name}.changed", world.lock(f"{name}.lock"))
        self._writer_first = writer_first
        self._readers = self._waiting = 0
        self._writing = False

    async def read(self) -> None:
        async with self._condition:
            while self._writing or (self._writer_first and self._waiting):
                await self._condition.wait()
            self._readers += 1

    async def read_done(self) -> None:
        async with self._condition:
            self._readers -= 1
            self._condition.notify_all()

    async def write(self) -> None:
        async with self._condition:
            self._waiting += 1
            while self._writing or self._readers:
                await self._condition.wait()
            self._waiting -= 1
            self._writing = True

    async def write_done(self) -> None:
        async with self._condition:
            self._writing = False
            self._condition.notify_all()
