"""The recorder: who holds what, in which order locks were taken, who waits for whom, and who can go on no more."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from _thread import allocate_lock
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from harness.lockdep.findings import Finding, Participant
from harness.lockdep.model import (
    Actor,
    Dependency,
    LockInfo,
    Order,
    Site,
    Wait,
    is_library,
    place,
    stack_of,
)
from harness.lockdep.order import class_findings, order_findings

SAME_ORDER_MAX: Final = 8  # how many actors and times are remembered for one (held locks, wanted lock)
KNOWN_MAX: Final = 1_000  # combinations that an actor knows to be remembered
DEPENDENCIES_MAX: Final = 20_000
FINDINGS_MAX: Final = 200
HISTORY_MAX: Final = 16  # locks given back within one that stays held
_running_loop: Final = asyncio._get_running_loop


class _RunningLoops(dict[int, Any]):
    """The loops that run, by thread, asked of asyncio each time: where loops run that are not BaseEventLoop's."""

    def get(self, key: int, default: Any = None) -> Any:
        return _running_loop()

    def __getitem__(self, key: int) -> Any:
        return _running_loop()

    def __contains__(self, key: object) -> bool:
        return _running_loop() is not None


class _CurrentTasks(dict[Any, Any]):
    """The current tasks, by loop, for a Python that does not keep them in a dictionary (3.14 and later)."""

    def get(self, key: Any, default: Any = None) -> Any:
        return asyncio.current_task(key) if key is not None else None

    def __getitem__(self, key: Any) -> Any:
        return asyncio.current_task(key) if key is not None else None


# The functions for both cost more than all the rest of an acquire: until 3.11 asking for the running loop is a system
# call (getpid), and current_task() is written in Python.
current_tasks: Final[dict[Any, Any]] = getattr(asyncio.tasks, "_current_tasks", _CurrentTasks())
_ident: Final = threading.get_ident
_FOREIGN_LOOPS: Final = ("uvloop", "winloop", "rloop")
_Future: Final[Any] = asyncio.Future


class Recorder:
    """All state of one watch. `on_jam` is called with the finding, before the wait that closes the circle begins."""

    def __init__(self, on_jam: Callable[[Finding], None] | None = None) -> None:
        self.on_jam = on_jam
        self.epoch = 1
        self.tasks: dict[int, Actor] = {}
        foreign = any(name in sys.modules for name in _FOREIGN_LOOPS)
        self.loops: dict[int, Any] = _RunningLoops() if foreign else {}
        self.foreign = foreign
        """The loop that runs in a thread, kept by the patches of BaseEventLoop."""
        self.only_loop: Any = None  # the loop that runs, if no other thread runs one
        self.local = threading.local()
        self.threads: dict[int, Actor] = {}
        self.blocked: dict[int, Actor] = {}
        self.orphans: list[Actor] = []
        self.in_flight = 0  # work of thread pools that has not ended
        self.orders: dict[Order, list[Dependency]] = {}
        self.kept = 0  # dependencies in `orders`
        self.jams: list[tuple[Finding, list[tuple[Actor, Any]]]] = []  # with what each actor waited for
        self.leaks: list[Finding] = []
        self.dropped = 0
        self.guard = allocate_lock()

    # Actors

    def enter_loop(self, loop: Any) -> None:
        """This thread runs a loop (None: no more)."""
        loops = self.loops
        if loop is None:
            loops.pop(_ident(), None)
        else:
            loops[_ident()] = loop
        self.only_loop = next(iter(loops.values())) if len(loops) == 1 and not self.foreign else None

    def actor(self) -> Actor:
        """The running task, or the thread where no task runs."""
        loop = self.loops.get(_ident())
        if loop is not None:
            task = current_tasks.get(loop)
            if task is not None:
                actor = self.tasks.get(id(task))
                return actor if actor is not None else self.add_task(task, None)
        try:
            return self.local.actor  # type: ignore[no-any-return]
        except AttributeError:
            return self.add_thread()

    def add_task(self, task: Any, parent: Actor | None) -> Actor:
        """Begin to observe a task."""
        key = id(task)
        actor = self.tasks[key] = Actor("task", weakref.ref(task, partial(self._gone, key)), "", _ident(), parent)
        return actor

    def _gone(self, key: int, reference: weakref.ref[Any]) -> None:
        """A task was collected."""
        actor = self.tasks.get(key)
        if actor is not None and actor.ref is reference:
            del self.tasks[key]
            if actor.held:
                self.orphans.append(actor)

    def add_thread(self) -> Actor:
        """Begin to observe the running thread."""
        ident = threading.get_ident()
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        if thread is None:  # not registered yet, or not one of Python's: current_thread() would make up another one
            return Actor("thread", None, f"with the number {ident}", ident, None)
        actor: Actor | None = getattr(thread, "_lockdep_actor", None)
        if actor is None or actor.recorder is not self:
            actor = Actor("thread", weakref.ref(thread), thread.name, ident, None)
            actor.recorder = self
            thread._lockdep_actor = actor
        actor.thread = ident
        self.local.actor = actor
        self.threads[actor.thread] = actor
        return actor

    # Order

    @property
    def dependencies(self) -> list[Dependency]:
        """Those that are kept."""
        return [dependency for kept in list(self.orders.values()) for dependency in list(kept)]

    def note_order(self, actor: Actor, info: LockInfo, frame: Any) -> None:
        """An actor that holds locks takes another one: remember the order, once per combination and time.

        `frame` is the one that asked for it.
        """
        epoch = self.epoch
        held = actor.held
        if len(held) == 1:
            lock = held[0]
            key: Order = (info.serial, lock.serial if lock.epoch == epoch else -lock.serial, lock.history)
        else:
            orders = [lock.serial if lock.epoch == epoch else -lock.serial for lock in held]
            key = (info.serial, *orders, *[lock.history for lock in held])
        if key not in actor.known:
            self._new_order(key, actor, info, frame)

    def _new_order(self, key: Order, actor: Actor, info: LockInfo, frame: Any) -> None:
        if info in actor.held:
            return
        with self.guard:
            if actor.children:
                actor.notice_ends()
            known = actor.known
            if len(known) >= KNOWN_MAX or not isinstance(known, set):
                known = actor.known = set()
            known.add(key)
            kept = self.orders.get(key)
            if kept is None:
                if len(self.orders) >= DEPENDENCIES_MAX:
                    self.dropped += 1
                    return
                kept = self.orders[key] = []
            if len(kept) < SAME_ORDER_MAX:
                if self.kept >= DEPENDENCIES_MAX:
                    self.dropped += 1
                    return
                self.kept += 1
                stack = stack_of(frame)
            else:  # the latest takes the last place
                latest = kept.pop()
                latest.actor.give_up()
                while is_library(frame.f_code.co_filename) and frame.f_back is not None:
                    frame = frame.f_back
                top = latest.stack[0] if latest.stack else None
                same = top is not None and top.line == frame.f_lineno and top.file == frame.f_code.co_filename
                stack = latest.stack if same else stack_of(frame)
            label_actor(actor)
            kept.append(Dependency(actor, info, self.epoch, stack))
            actor.keep()

    def taken(self, actor: Actor, info: LockInfo, frame: Any) -> None:
        """A mutex was taken; `frame` is the one that asked for it (frames of the standard library are passed over)."""
        code = frame.f_code
        while is_library(code.co_filename) and frame.f_back is not None:
            frame = frame.f_back
            code = frame.f_code
        info.owner = actor
        info.epoch = self.epoch
        info.code = code
        info.lasti = frame.f_lasti
        actor.held.append(info)

    def released(self, info: LockInfo) -> None:
        """A mutex was given back, by whomever."""
        owner = info.owner
        if owner is None:
            return
        if info.epoch != self.epoch:
            info.spans_await = True
        info.owner = None
        held = owner.held
        if info not in held:
            return
        place = held.index(info)
        del held[place]
        if held:
            self.keep_history(held, place, info)
        info.history = ()

    def keep_history(self, held: list[LockInfo], place: int, info: LockInfo) -> None:
        """A lock was given back while others stay held: those taken before it have passed it, the others lay within.

        `place`: its index among the held locks, before it was taken out.
        """
        if info.history and not info.history[0]:  # it was only tried
            return
        for lock in held[place:]:
            if len(lock.history) < HISTORY_MAX and -info.serial not in lock.history:
                lock.history += (-info.serial,)
        if place:
            around = held[place - 1]
            passed = [serial for serial in info.history if serial > 0]
            for serial in (*passed, info.serial):
                if len(around.history) < HISTORY_MAX and serial not in around.history:
                    around.history += (serial,)

    # Waits

    def begin_wait(self, actor: Actor, kind: str, target: Any, *, bounded: bool = False) -> Wait | LockInfo | None:
        """An actor is about to wait; gives what it waited for before (a wait can lie within another one)."""
        before = actor.waiting
        actor.waiting = Wait(kind, target, bounded or actor.deadlines > 0)
        if kind != "future" or not isinstance(target, str):
            try:
                self.check(actor)
            except BaseException:
                actor.waiting = before
                raise
        return before

    def begin_lock_wait(self, actor: Actor, info: LockInfo) -> None:
        """An actor is about to wait for a lock or semaphore; looks closely only if no holder evidently runs free."""
        actor.waiting = info
        target: LockInfo | Wait | None = info
        for _ in range(8):
            if not isinstance(target, LockInfo):
                break
            owner = target.owner if target.permits == 1 else next(iter(target.holders), None)
            if owner is None:
                return
            target = owner.waiting
            if target is None:
                if self._runs_free(owner):
                    return
                break
        try:
            self.check(actor)
        except BaseException:
            actor.waiting = None
            raise

    def check(self, actor: Actor) -> None:
        """Is the wait that begins here the last one of a circle?"""
        stuck = self.stuck_set([actor])
        if actor in stuck:
            self.jammed([member for member in stuck if self.wait_of(member) is not None])

    def _runs_free(self, actor: Actor) -> bool:
        """Does an actor without a noted wait neither await tasks nor stand on a blocked thread?"""
        if self.blocked:
            return False
        reference = actor.ref
        target = reference() if reference is not None else None
        if target is None:
            return False
        if actor.kind == "thread":
            return bool(target.is_alive())
        future = getattr(target, "_fut_waiter", None)
        if future is None:
            return not target.done()
        return future.__class__ is _Future

    def jammed(self, members: list[Actor]) -> None:
        """Keep the finding, once for each set of actors, and tell it."""
        finding = self.describe_jam(members)
        if any(known.signature == finding.signature for known, _ in self.jams):
            return
        if len(self.jams) < FINDINGS_MAX:
            waits = [(member, self.wait_of(member)) for member in members]
            self.jams.append((finding, [(member, wait.target) for member, wait in waits if wait is not None]))
        if self.on_jam is not None:
            self.on_jam(finding)

    def stuck_set(self, starts: Iterable[Actor]) -> set[Actor]:
        """Those of the actors (and of all they wait for) that can never go on, judged by what is certain only.

        Certain are owners of locks, holders of permits, tasks that have to end. An actor is stuck when for one of its
        ways all who could help are stuck themselves; the largest set for which that holds is taken.
        """
        needs: dict[Actor, list[list[Actor]]] = {}
        waiting = list(starts)
        while waiting:
            actor = waiting.pop()
            if actor not in needs:
                needs[actor] = self._needs(actor)
                waiting.extend(other for group in needs[actor] for other in group)
        stuck = set(needs)
        changed = True
        while changed:
            changed = False
            for actor in list(stuck):
                if not any(all(other in stuck for other in group) for group in needs[actor]):
                    stuck.discard(actor)
                    changed = True
        return stuck

    def _needs(self, actor: Actor) -> list[list[Actor]]:
        """Groups of actors: if all of one group are stuck, so is this one. An empty group: stuck in any case."""
        if actor.finished():
            return [[]]
        groups: list[list[Actor]] = []
        blocker = self._blocker(actor)
        if blocker is not None:
            groups.append([blocker])
        wait = self.wait_of(actor)
        if wait is None or wait.bounded:
            return groups
        target = wait.target
        if wait.kind == "hopeless":
            groups.append([])
        elif isinstance(target, asyncio.AbstractEventLoop):  # a thread waits for something that this loop has to run
            stopped = self.blocked.get(getattr(target, "_thread_id", None) or 0)
            if stopped is not None:
                groups.append([stopped])
        elif isinstance(target, LockInfo):
            if target.permits > 1:
                if sum(target.holders.values()) >= target.permits:
                    groups.append([holder for holder, count in target.holders.items() if count > 0])
            elif target.owner is not None:
                groups.append([target.owner])
        else:
            groups.extend([other] for other in self._joined(target))
        return groups

    def _joined(self, target: Any) -> Iterable[Actor]:
        """The actors of the tasks that all have to end before a join of this target goes on."""
        tasks: Iterable[Any]
        if isinstance(target, Actor):  # a thread
            if not target.finished():
                yield target
            return
        if isinstance(target, asyncio.TaskGroup):
            tasks = list(target._tasks)
        elif isinstance(target, asyncio.Task):
            tasks = [target]
        else:
            tasks = [child for child in getattr(target, "_children", ()) if isinstance(child, asyncio.Task)]
        for task in tasks:
            if not task.done():
                actor = self.tasks.get(id(task))
                yield actor if actor is not None else self.add_task(task, None)

    def wait_of(self, actor: Actor) -> Wait | None:
        """What it waits for: as noted, or as seen from outside (a task that awaits a task or a gather)."""
        waiting = actor.waiting
        if isinstance(waiting, LockInfo):
            return Wait("lock" if waiting.permits == 1 else "semaphore", waiting, actor.deadlines > 0)
        if waiting is not None or actor.kind != "task":
            return waiting
        task = actor.task
        future = getattr(task, "_fut_waiter", None) if task is not None else None
        if future is None or future.done():
            return None
        if isinstance(future, asyncio.Task):
            return Wait("join of task", future, actor.deadlines > 0)
        if getattr(future, "_children", None):
            return Wait("gather", future, actor.deadlines > 0)
        return Wait(_asyncio_wait(task.get_coro()) or "future", future, actor.deadlines > 0)

    def _blocker(self, actor: Actor) -> Actor | None:
        """Who stands in a blocking wait on this task's thread, and so keeps the task from running."""
        if actor.kind != "task":
            return None
        blocker = self.blocked.get(actor.thread)
        return blocker if blocker is not actor else None

    def block_thread(self, actor: Actor | None) -> None:
        """Note that the running thread itself stands still inside this actor (None: no more)."""
        if actor is None:
            self.blocked.pop(threading.get_ident(), None)
        else:
            self.blocked[threading.get_ident()] = actor

    # Findings

    def describe_jam(self, members: list[Actor]) -> Finding:
        """The wait-for graph of actors of which none can go on."""
        members = sorted(members, key=lambda member: member.serial)
        participants = tuple(self.participant(member) for member in members)
        parts = []
        for member in members:
            wait = self.wait_of(member)
            assert wait is not None
            by = ""
            if isinstance(wait.target, LockInfo) and wait.target.owner is not None:
                owner = wait.target.owner
                by = " held by itself" if owner is member else f" held by {describe_actor(owner)}"
                by += ", which has ended" if owner.finished() else ""
            parts.append(f"{describe_actor(member)} waits for {wait.describe()}{by}")
        signature = ("jam", *sorted(member.serial for member in members))
        locks = tuple(sorted({name for participant in participants for name, _ in participant.holds}))
        return Finding("jam", "stuck", "; ".join(parts), participants, locks, signature=signature)

    def participant(self, actor: Actor) -> Participant:
        """An actor with its locks, its wait and its stack."""
        wait = self.wait_of(actor)
        holds = tuple((lock.name, lock.taken_at) for lock in actor.held)
        return Participant(describe_actor(actor), holds, wait.describe() if wait else "", actor_stack(actor))

    def _find_leaks(self) -> None:
        """Actors that have ended and still own a lock: nobody gave it back since."""
        ended = [actor for actor in self.tasks.values() if actor.held and actor.finished()]
        for actor in [*self.orphans, *ended]:
            for lock in actor.held:
                if len(self.leaks) < FINDINGS_MAX:
                    summary = f"{describe_actor(actor)} ended while it held {lock.name}"
                    held = Participant(describe_actor(actor), ((lock.name, lock.taken_at),), "", ())
                    self.leaks.append(Finding("leak", "leaked", summary, (held,), (lock.name,)))
            actor.held.clear()

    def _still_waits(self, actor: Actor, target: Any) -> bool:
        wait = None if actor.finished() else self.wait_of(actor)
        return wait is not None and wait.target is target

    def findings(self) -> list[Finding]:
        """Jams, leaks, then orders that could jam."""
        for finding, members in self.jams:
            if self.on_jam is None and not any(self._still_waits(*waiting) for waiting in members):
                finding.verdict = "resolved"
                finding.evidence = "a timeout, a cancellation or somebody else broke it"
        self._find_leaks()
        dependencies = list(self.dependencies)
        jammed = [set(finding.locks) for finding, _ in self.jams]
        orders = [order for order in order_findings(dependencies) if not any(set(order.locks) <= j for j in jammed)]
        return [finding for finding, _ in self.jams] + self.leaks + orders + class_findings(dependencies, orders)


def label_actor(actor: Actor) -> None:
    """Keep the name of a task and of what it runs for later: the task itself may be gone by then."""
    task = actor.task
    if task is not None and actor.kind == "task":
        coroutine = task.get_coro()
        actor.label = f"task {task.get_name()} ({getattr(coroutine, '__qualname__', type(coroutine).__name__)})"


def describe_actor(actor: Actor) -> str:
    """Kind, name and what it runs."""
    if actor.kind != "task":
        return actor.name
    label_actor(actor)
    return actor.label or f"task #{actor.serial}"


def actor_stack(actor: Actor) -> tuple[Site, ...]:
    """Where an actor stands, innermost first, without frames of the standard library."""
    task = actor.task
    if actor.kind != "task" or task is None:
        frame = sys._current_frames().get(actor.thread)
        sites = []
        while frame is not None:
            if not is_library(frame.f_code.co_filename):
                sites.append(Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
            frame = frame.f_back
        return tuple(sites[:8])
    return coroutine_stack(task.get_coro())


def coroutine_stack(coroutine: Any) -> tuple[Site, ...]:
    """The await chain of a suspended coroutine, innermost first."""
    sites: list[Site] = []
    while coroutine is not None and len(sites) < 64:
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if code is None or frame is None:
            break
        if not is_library(code.co_filename):
            sites.append(place(code, frame.f_lasti))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return tuple(reversed(sites))[:8]


def _asyncio_wait(coroutine: Any) -> str:
    """Which of asyncio's waits a suspended coroutine stands in, such as `Queue.get`; empty when in none."""
    found = ""
    for _ in range(64):
        code = getattr(coroutine, "cr_code", None)
        if code is None:
            break
        if is_library(code.co_filename):
            found = found or str(code.co_qualname)
        coroutine = getattr(coroutine, "cr_await", None)
    return found
