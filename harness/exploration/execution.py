"""One execution: actors that stand in front of their next operation, and the step that carries one of them out."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from harness.exploration.ops import WRITE, Access, Op, set_running


class ProgramError(Exception):
    """The program under exploration breaks a rule of the engine (awaits something foreign, names an actor twice)."""


class DivergedError(Exception):
    """A schedule could not be followed: the program did something else than when the schedule was recorded."""


@dataclass(slots=True)
class Actor:
    """A named coroutine that awaits operations only. `context`: each of its steps is run in this context."""

    name: str
    coroutine: Coroutine[Op, Any, Any]
    context: contextvars.Context | None = None


@dataclass(slots=True)
class Program:
    """A fresh instance of a program. `observe` gives the state of the shared data at the end, as a hashable value.

    `release` is called once, when the execution has ended and its actors are closed: what they ran on may be used anew.
    """

    actors: Sequence[Actor]
    observe: Callable[[], Hashable] | None = None
    release: Callable[[], None] | None = None


Factory = Callable[[], "Program | Sequence[Actor]"]

# What explored code may end with and thereby fail its actor; KeyboardInterrupt and SystemExit belong to the caller.
_ACTOR_ERRORS: Final = (Exception, asyncio.CancelledError)


@dataclass(frozen=True, slots=True)
class Blocked:
    """Where an actor stands at the end of an execution that jammed."""

    actor: str
    operation: str
    steps_done: int


@dataclass(slots=True)
class Outcome:
    """How an execution ended: `kind` is "done", "jam", "failed" (an actor raised) or "cut" (the step limit).

    `order` has the index of the actor of each step (an index into `names`), `performed` the operation of that step,
    `started` the actors' indices in the order in which this execution started them.
    """

    kind: str
    order: list[int]
    names: list[str]
    performed: list[Op]
    blocked: tuple[Blocked, ...] = ()
    error: BaseException | None = None
    state: Hashable = None
    results: dict[str, Any] = field(default_factory=dict)
    started: list[int] = field(default_factory=list)

    @property
    def operations(self) -> list[str]:
        """What each step was, in words."""
        return [str(op) for op in self.performed]

    @property
    def context_switches(self) -> int:
        """How often the actor changed from one step to the next."""
        return sum(1 for one, two in zip(self.order, self.order[1:], strict=False) if one != two)

    @property
    def end_state(self) -> Hashable:
        """What makes two executions differ for an observer: the ending, where each actor stands, the shared data."""
        if self.kind == "done":
            return ("done", (), None, self.state)
        standing = tuple(sorted((b.actor, b.operation, b.steps_done) for b in self.blocked))
        return (self.kind, standing, repr(self.error) if self.error else None, self.state)


class Execution:
    """Runs a fresh program step by step. Actor indices are positions in `names`, which grows when actors are spawned.

    `names` may be shared by all executions of one exploration: an actor then has the same index in each of them, even
    when another order of spawning comes up. Raises ProgramError for a program that breaks the rules of the engine.
    """

    __slots__ = (
        "coroutines",
        "counters",
        "current",
        "error",
        "names",
        "observe",
        "order",
        "pending",
        "performed",
        "release",
        "results",
        "sends",
        "spawned",
        "started",
        "touched",
    )

    def __init__(self, factory: Factory, names: dict[str, int] | None = None) -> None:
        set_running(None)
        program = factory()
        if not isinstance(program, Program):
            program = Program(program)
        self.names: dict[str, int] = {} if names is None else names
        self.observe = program.observe
        self.release = program.release
        self.pending: list[Op | None] = [None] * len(self.names)
        self.coroutines: list[Coroutine[Op, Any, Any] | None] = [None] * len(self.names)
        self.sends: list[Callable[[Any], Op]] = [_not_started] * len(self.names)
        self.results: dict[int, Any] = {}
        self.counters: dict[int, int] = {}
        self.touched: list[Access] = []
        self.spawned: list[int] = []
        self.started: list[int] = []
        self.order: list[int] = []
        self.performed: list[Op] = []
        self.current = -1
        self.error: BaseException | None = None
        set_running(self)
        try:
            for actor in program.actors:
                self.add(actor)
        except ProgramError:
            self.close()
            for actor in program.actors:
                actor.coroutine.close()
            raise

    def add(self, actor: Actor) -> int:
        """Start an actor: its code runs up to its first operation. Returns its index."""
        index = self.names.setdefault(actor.name, len(self.names))
        while len(self.pending) < len(self.names):
            self.pending.append(None)
            self.coroutines.append(None)
            self.sends.append(_not_started)
        if self.coroutines[index] is not None:
            raise ProgramError(f"two actors are named {actor.name!r}")
        self.spawned.append(index)
        self.started.append(index)
        coroutine = self.coroutines[index] = actor.coroutine
        if actor.context is None:
            self.sends[index] = coroutine.send
        else:
            self.sends[index] = partial(actor.context.run, coroutine.send)  # type: ignore[call-arg]
        self._start(index)
        return index

    def step(self, index: int) -> None:
        """Carry out the pending operation of an enabled actor and run its code up to the next one."""
        op = self.pending[index]
        assert op is not None
        if self.touched:
            self.touched.clear()
        if self.spawned:
            self.spawned.clear()
        self.order.append(index)
        self.performed.append(op)
        self.current = index
        act = op.act
        try:
            if act is None:
                following = self.sends[index](None)
            else:
                try:
                    value = act()
                except ProgramError:
                    raise
                except _ACTOR_ERRORS as error:
                    following = self._throw(index, error)
                else:
                    following = self.sends[index](value)
            if not isinstance(following, Op):
                raise ProgramError(self._foreign(index, following))
            self.pending[index] = following
        except StopIteration as stop:
            self._finish(index, stop.value)
        except ProgramError:
            raise
        except _ACTOR_ERRORS as error:
            self._fail(index, error)

    def _start(self, index: int) -> None:
        """Run a new actor's code up to its first operation."""
        outer = self.current
        self.current = index
        try:
            following = self.sends[index](None)
            if not isinstance(following, Op):
                raise ProgramError(self._foreign(index, following))
            self.pending[index] = following
        except StopIteration as stop:
            self._finish(index, stop.value)
        except ProgramError:
            raise
        except _ACTOR_ERRORS as error:
            self._fail(index, error)
        finally:
            self.current = outer

    def _foreign(self, index: int, op: object) -> str:
        return f"{self.name_of(index)} awaits {op!r}; explored actors await operations only"

    def _fail(self, index: int, error: BaseException) -> None:
        self._finish(index, None)
        if self.error is None:
            self.error = error

    def _throw(self, index: int, error: BaseException) -> Op:
        coroutine = self.coroutines[index]
        assert coroutine is not None
        return coroutine.throw(error)

    def _finish(self, index: int, value: Any) -> None:
        self.pending[index] = None
        self.results[index] = value
        self.touched.append((actor_key(index), WRITE))

    def name_of(self, index: int) -> str:
        """The name of an actor by its index."""
        return list(self.names)[index]

    def finished(self, index: int) -> bool:
        """Has this actor been started and come to its end?"""
        return index < len(self.pending) and self.pending[index] is None and self.coroutines[index] is not None

    def new_key(self, name: str) -> Hashable:
        """A key that is equal in every execution in which the running actor has the same past."""
        count = self.counters.get(self.current, 0)
        self.counters[self.current] = count + 1
        return (name, self.current, count)

    def enabled(self) -> list[int]:
        """The actors that may be chosen now, in index order."""
        found = []
        for index, op in enumerate(self.pending):
            if op is not None and ((may := op.enabled) is None or may()):
                found.append(index)
        return found

    def enabled_set(self) -> int:
        """The actors that may be chosen now, as a bit set."""
        found = 0
        for index, op in enumerate(self.pending):
            if op is not None and ((may := op.enabled) is None or may()):
                found |= 1 << index
        return found

    def accesses(self) -> tuple[Access, ...]:
        """All that the last step touched: declared by its operation and noted while it ran."""
        static = self.performed[-1].accesses
        return static + tuple(self.touched) if self.touched else static

    def outcome(self, *, cut: bool = False) -> Outcome:
        """The ending in its present state; call it when no actor is enabled, or with `cut` at the step limit."""
        set_running(None)
        names = list(self.names)
        blocked: tuple[Blocked, ...] = ()
        if any(self.pending):
            blocked = tuple(
                Blocked(names[index], str(op), self.order.count(index))
                for index, op in enumerate(self.pending)
                if op is not None
            )
        kind = "cut" if cut else "failed" if self.error is not None else "jam" if blocked else "done"
        outcome = Outcome(
            kind,
            self.order,
            names,
            self.performed,
            blocked,
            self.error,
            self.observe() if self.observe is not None else None,
            {names[index]: value for index, value in self.results.items()},
            self.started,
        )
        if not blocked:
            self._release()
        return outcome

    def close(self) -> None:
        """Close the coroutines that did not finish, so that their `finally` blocks run now and not at collection."""
        set_running(None)
        for index, op in enumerate(self.pending):
            coroutine = self.coroutines[index]
            if op is not None and coroutine is not None:
                try:
                    coroutine.close()
                except Exception:  # noqa: S110 - an awaiting `finally` or an error of an abandoned execution
                    pass
        self._release()

    def _release(self) -> None:
        release, self.release = self.release, None
        if release is not None:
            release()


def actor_key(index: int) -> Hashable:
    """The object key of an actor's life: written by its last step, waited for by a join."""
    return ("actor", index)


def _not_started(_value: Any) -> Op:
    raise ProgramError("this actor was not started in this execution")
