"""Blocking objects for explored programs, with the behaviour of their asyncio and threading namesakes.

Each blocking method is an operation: `await lock.acquire()`, `async with lock:`. Names have to be unique within a
program, since they identify the object in every execution of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from harness.exploration.execution import Actor, actor_key
from harness.exploration.ops import ACQUIRE, READ, RELEASE, WAIT, WRITE, Op, Waiter, running, touch


class Lock:
    """A mutual-exclusion lock; not re-entrant: an owner that acquires it again waits for itself."""

    __slots__ = ("_acquire", "_release", "_try", "name", "owner")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = -1
        self._acquire = Op("acquire", name, accesses=((name, ACQUIRE),), enabled=self._free, act=self._take)
        self._release = Op("release", name, accesses=((name, RELEASE),), act=self._give)
        self._try = Op("try-acquire", name, accesses=((name, WRITE),), act=self._attempt)

    def _free(self) -> bool:
        return self.owner < 0

    def _take(self) -> bool:
        self.owner = running().current
        return True

    def _give(self) -> None:
        if self.owner < 0:
            raise RuntimeError(f"release of {self.name}, which nobody holds")
        self.owner = -1

    def _attempt(self) -> bool:
        if self.owner >= 0:
            return False
        return self._take()

    def acquire(self) -> Op:
        return self._acquire

    def release(self) -> Op:
        return self._release

    def try_acquire(self) -> Op:
        """An operation that never waits; gives True when the lock was taken."""
        return self._try

    async def __aenter__(self) -> None:
        await self._acquire

    async def __aexit__(self, *_exc: object) -> None:
        await self._release


class RLock:
    """A re-entrant lock: its owner may take it again, and has to give it back as often."""

    __slots__ = ("_release", "depth", "name", "owner")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = -1
        self.depth = 0
        self._release = Op("release", name, accesses=((name, RELEASE),), act=self._give)

    def acquire(self) -> Op:
        actor = running().current

        def free() -> bool:
            return self.owner in (-1, actor)

        def take() -> None:
            self.owner = actor
            self.depth += 1

        mode = WRITE if self.owner == actor else ACQUIRE
        return Op("acquire", self.name, accesses=((self.name, mode),), enabled=free, act=take, guarded=False)

    def _give(self) -> None:
        if self.owner != running().current:
            raise RuntimeError(f"release of {self.name} by an actor that does not hold it")
        self.depth -= 1
        if self.depth == 0:
            self.owner = -1

    def release(self) -> Op:
        return self._release

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_exc: object) -> None:
        await self._release


class RWLock:
    """Many readers or one writer. With `writer_first` a waiting writer keeps new readers out, as in Go's RWMutex."""

    __slots__ = ("_read", "_read_done", "_write", "_write_done", "name", "readers", "waiting", "writer", "writer_first")

    def __init__(self, name: str, *, writer_first: bool = False) -> None:
        self.name = name
        self.writer_first = writer_first
        self.readers = 0
        self.writer = False
        self.waiting = 0
        both = ((name, WRITE),)
        self._read = Op("read-acquire", name, accesses=both, enabled=self._may_read, act=self._take_read)
        self._read_done = Op("read-release", name, accesses=both, act=self._give_read)
        self._write = Op("write-acquire", name, accesses=both, enabled=self._may_write, act=self._take_write)
        self._write_done = Op("write-release", name, accesses=both, act=self._give_write)

    def _may_read(self) -> bool:
        return not self.writer and not (self.writer_first and self.waiting)

    def _take_read(self) -> None:
        self.readers += 1

    def _give_read(self) -> None:
        self.readers -= 1

    def _may_write(self) -> bool:
        return not self.writer and self.readers == 0

    def _announce(self) -> None:
        self.waiting += 1

    def _take_write(self) -> None:
        if self.writer_first:
            self.waiting -= 1
        self.writer = True

    def _give_write(self) -> None:
        self.writer = False

    def read_acquire(self) -> Op:
        return self._read

    def read_release(self) -> Op:
        return self._read_done

    async def write_acquire(self) -> None:
        """With `writer_first` the wish is an operation of its own: from then on new readers wait."""
        if self.writer_first:
            await Op("write-announce", self.name, accesses=((self.name, WRITE),), act=self._announce)
        await self._write

    def write_release(self) -> Op:
        return self._write_done


class Semaphore:
    """A counter of permits, `value` at the start."""

    __slots__ = ("_acquire", "_release", "name", "value")

    def __init__(self, name: str, value: int = 1) -> None:
        self.name = name
        self.value = value
        self._acquire = Op("acquire", name, accesses=((name, WRITE),), enabled=self._free, act=self._take)
        self._release = Op("release", name, accesses=((name, WRITE),), act=self._give)

    def _free(self) -> bool:
        return self.value > 0

    def _take(self) -> None:
        self.value -= 1

    def _give(self) -> None:
        self.value += 1

    def acquire(self) -> Op:
        return self._acquire

    def release(self) -> Op:
        return self._release

    async def __aenter__(self) -> None:
        await self._acquire

    async def __aexit__(self, *_exc: object) -> None:
        await self._release


class Event:
    """A flag that actors wait for."""

    __slots__ = ("_clear", "_set", "_wait", "flag", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.flag = False
        self._set = Op("set", name, accesses=((name, WRITE),), act=self._raise)
        self._clear = Op("clear", name, accesses=((name, WRITE),), act=self._lower)
        self._wait = Op("wait", name, accesses=((name, READ),), enabled=self.is_set)

    def is_set(self) -> bool:
        return self.flag

    def _raise(self) -> None:
        self.flag = True

    def _lower(self) -> None:
        self.flag = False

    def set(self) -> Op:
        return self._set

    def clear(self) -> Op:
        return self._clear

    def wait(self) -> Op:
        return self._wait


class Condition:
    """A condition variable over a Lock: `wait` gives the lock back, sleeps until notified, and takes it again."""

    __slots__ = ("lock", "name", "sleepers")

    def __init__(self, name: str, lock: Lock) -> None:
        self.name = name
        self.lock = lock
        self.sleepers: deque[Waiter] = deque()

    async def wait(self) -> None:
        """Raises RuntimeError when the caller does not hold the lock."""
        if self.lock.owner != running().current:
            raise RuntimeError(f"wait on {self.name} without its lock")
        waiter = Waiter(f"{self.name}.sleeper")

        def sleep() -> None:
            self.sleepers.append(waiter)
            self.lock.owner = -1

        accesses = ((self.name, WRITE), (self.lock.name, RELEASE))
        await Op("wait-release", self.name, accesses=accesses, act=sleep)
        await waiter
        await self.lock.acquire()

    def notify(self, count: int = 1) -> Op:
        """Wake the `count` actors that have slept longest; a notification that finds nobody asleep is lost."""

        def wake() -> None:
            for _ in range(min(count, len(self.sleepers))):
                self.sleepers.popleft().wake()

        return Op("notify", self.name, accesses=((self.name, WRITE),), act=wake)

    def notify_all(self) -> Op:
        return self.notify(1 << 30)


class Queue:
    """A first-in first-out queue of at most `size` items (0: unbounded), with `join` and `task_done`."""

    __slots__ = ("items", "name", "size", "unfinished")

    def __init__(self, name: str, size: int = 0) -> None:
        self.name = name
        self.size = size
        self.items: deque[Any] = deque()
        self.unfinished = 0

    def _op(self, kind: str, enabled: Callable[[], bool] | None, act: Callable[[], Any] | None) -> Op:
        return Op(kind, self.name, accesses=((self.name, WRITE),), enabled=enabled, act=act)

    def put(self, item: Any) -> Op:
        def add() -> None:
            self.items.append(item)
            self.unfinished += 1

        return self._op("put", (lambda: len(self.items) < self.size) if self.size else None, add)

    def get(self) -> Op:
        return self._op("get", lambda: bool(self.items), self.items.popleft)

    def task_done(self) -> Op:
        def done() -> None:
            if self.unfinished == 0:
                raise ValueError("task_done() called more often than items were put")
            self.unfinished -= 1

        return self._op("task-done", None, done)

    def join(self) -> Op:
        return self._op("join", lambda: self.unfinished == 0, None)


class Cell:
    """A shared variable; reading and writing it are operations."""

    __slots__ = ("_read", "name", "value")

    def __init__(self, name: str, value: Any = None) -> None:
        self.name = name
        self.value = value
        self._read = Op("read", name, accesses=((name, READ),), act=self._get)

    def _get(self) -> Any:
        return self.value

    def read(self) -> Op:
        return self._read

    def write(self, value: Any) -> Op:
        def put() -> None:
            self.value = value

        return Op("write", self.name, accesses=((self.name, WRITE),), act=put)


class Handle:
    """A spawned actor: `await handle.join()` waits for its end and gives its result."""

    __slots__ = ("index", "name")

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index

    def join(self) -> Op:
        execution = running()

        def finished() -> bool:
            return execution.finished(self.index)

        def result() -> Any:
            return execution.results[self.index]

        key = actor_key(self.index)
        return Op("join", self.name, accesses=((key, WAIT),), enabled=finished, act=result)

    def __await__(self) -> Generator[Op, Any, Any]:
        return (yield self.join())


class Spawn(Op):
    """`handle = await Spawn("name", coroutine)`: start another actor."""

    __slots__ = ()

    def __init__(self, name: str, coroutine: Coroutine[Op, Any, Any]) -> None:
        def start() -> Handle:
            execution = running()
            parent = execution.current
            index = execution.add(Actor(name, coroutine))
            execution.current = parent
            touch(actor_key(index), WRITE)
            return Handle(name, index)

        super().__init__("spawn", name, accesses=(), act=start)
