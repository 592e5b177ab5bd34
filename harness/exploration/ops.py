"""Operations: what an actor yields to the engine, and what each one touches.

An operation is a *preemption point followed by an effect*: the actor stops in front of it, the engine chooses who goes
on, and only then is the effect carried out and the actor's own code run up to its next operation. All that a transition
(the effect and the code behind it) touches has to be declared, since the reduction reorders whatever it believes to be
independent: statically in `Op.accesses`, or while the code runs with `touch()`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from harness.exploration.execution import Execution

# Access modes. Odd = changes the object. Two accesses of one object are dependent unless neither changes it.
READ: Final = 0  #: looks at the object
WRITE: Final = 1  #: changes the object; possible in every state
WAIT: Final = 2  #: goes on only after somebody's WRITE: that order can never be reversed
ACQUIRE: Final = 3  #: takes an object with exactly one owner, possible only while it is free
RELEASE: Final = 5  #: gives such an object back: no acquire of it can stand before this

Access = tuple[Hashable, int]

_MODE_NAMES: Final = {READ: "read", WRITE: "write", WAIT: "wait", ACQUIRE: "acquire", RELEASE: "release"}


class Op:
    """One operation of an actor; `await op` hands it to the engine and returns what `act` returned.

    `enabled`  callback without effect: may this operation be carried out in the present state? None: always.
    `act`      the effect, run at the moment the engine grants the operation. What it raises is raised at the `await`.
    `accesses` (object key, mode) pairs: what effect, guard and the code behind them touch. Keys have to be equal in
               every re-creation of the program: use names, not identities.
    An operation with a guard that is not a plain ACQUIRE or WAIT is treated with more caution by the reduction
    (`guarded`): more orders are tried, never fewer.
    """

    __slots__ = ("accesses", "act", "enabled", "guarded", "kind", "obj")

    def __init__(
        self,
        kind: str,
        obj: Hashable = None,
        *,
        accesses: Iterable[Access] | None = None,
        enabled: Callable[[], bool] | None = None,
        act: Callable[[], Any] | None = None,
        guarded: bool | None = None,
    ) -> None:
        self.kind = kind
        self.obj = obj
        if accesses is None:
            mode = {"acquire": ACQUIRE, "release": RELEASE, "read": READ, "point": READ}.get(kind, WRITE)
            accesses = () if obj is None or kind == "point" else ((obj, mode),)
        self.accesses: tuple[Access, ...] = tuple(accesses)
        self.enabled = enabled
        self.act = act
        if guarded is None:
            guarded = enabled is not None and any(mode not in (ACQUIRE, WAIT) for _, mode in self.accesses)
        self.guarded = guarded

    def __await__(self) -> Generator[Op, Any, Any]:
        return (yield self)

    def __str__(self) -> str:
        return self.kind if self.obj is None else f"{self.kind} {self.obj}"

    def __repr__(self) -> str:
        touched = ", ".join(f"{_MODE_NAMES.get(mode, mode)} {key}" for key, mode in self.accesses)
        return f"<Op {self} [{touched}]>"


def point(name: str, footprint: Iterable[Hashable | Access] = ()) -> Op:
    """A named preemption point. The footprint names what the code behind it touches; a bare key counts as WRITE."""
    return Op("point", name, accesses=tuple(as_access(item) for item in footprint))


def as_access(item: Hashable | Access) -> Access:
    """`(key, mode)` as it is; any other value is the key of a WRITE."""
    if isinstance(item, tuple) and len(item) == 2 and type(item[1]) is int and item[1] in _MODE_NAMES:
        return item
    return (item, WRITE)


# The execution that is under way. A step never gives the thread away, so a plain global is exact.
_running: Execution | None = None


def set_running(execution: Execution | None) -> None:
    """The engine marks here which execution is under way."""
    global _running  # noqa: PLW0603 - one interpreter thread runs one step at a time
    _running = execution


def running() -> Execution:
    """The execution that is under way; RuntimeError outside of one."""
    if _running is None:
        raise RuntimeError("no exploration is running: this has to be called from the code of an actor")
    return _running


def touch(key: Hashable, mode: int = WRITE) -> None:
    """Declare, while a step runs, that it touches an object. Outside of an exploration this does nothing."""
    if _running is not None:
        _running.touched.append((key, mode))


class Waiter:
    """An awaitable one-shot: `await waiter` goes on once somebody called `wake()`; the base of every blocking thing.

    The key is the creating actor and its count of waiters, so it is the same in every execution with that prefix.
    """

    __slots__ = ("key", "op", "value", "woken")

    def __init__(self, name: str = "waiter") -> None:
        self.key: Hashable = _running.new_key(name) if _running is not None else (name, "set-up")
        self.woken = False
        self.value: Any = None
        self.op = Op("wait", self.key, accesses=((self.key, WAIT),), enabled=self._enabled, act=self._act)

    def _enabled(self) -> bool:
        return self.woken

    def _act(self) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    def done(self) -> bool:
        """Was it woken? Counts as a READ of the waiter."""
        touch(self.key, READ)
        return self.woken

    def wake(self, value: Any = None) -> None:
        """Let the waiting actor go on; an exception given is raised at its `await`. A second call changes nothing."""
        touch(self.key, WRITE)
        if not self.woken:
            self.woken = True
            self.value = value

    def __await__(self) -> Generator[Op, Any, Any]:
        return (yield self.op)


class Port:
    """The scheduler port of a system whose blocking operations all go through `waiter()` and `point()`."""

    def waiter(self, name: str = "waiter") -> Waiter:
        return Waiter(name)

    def point(self, name: str, footprint: Iterable[Hashable | Access] = ()) -> Op:
        return point(name, footprint)
