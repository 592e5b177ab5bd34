"""What the observer remembers: locks, actors, segments of an actor's life, order dependencies, waits."""

from __future__ import annotations

import itertools
import os
import sys
import sysconfig
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

_serials = itertools.count(1)
_STDLIB: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)})
_PACKAGES: Final = ("site-packages", "dist-packages")
_OWN: Final = str(Path(__file__).parent)
STACK_FRAMES_MAX: Final = 8
TRIED: Final = (0,)
"""The history of a lock that was taken within a time limit, or not waited for: nobody's way has to lead through it."""


_library: dict[str, bool] = {}


def is_library(filename: str) -> bool:
    """Is this a file of Python's standard library or of the observer itself?"""
    known = _library.get(filename)
    if known is None:
        known = filename.startswith(("<frozen", _OWN)) or (
            filename.startswith(_STDLIB) and not any(part in filename for part in _PACKAGES)
        )
        if len(_library) < 10_000:
            _library[filename] = known
    return known


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the source."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{short(self.file)}:{self.line} in {self.function}"


UNKNOWN: Final = Site("?", 0, "created before the watch began")


def short(file: str) -> str:
    """The last three parts of a path: enough to find the file, not more than a line can bear."""
    path = Path(file)
    return "/".join(path.parts[-3:]) if len(path.parts) > 3 else path.as_posix()


def user_frame(depth: int) -> FrameType | None:
    """The innermost frame that is neither of the standard library nor of the observer."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def stack_of(frame: FrameType | None) -> tuple[Site, ...]:
    """The user's frames from this one outwards, innermost first."""
    sites: list[Site] = []
    while frame is not None and len(sites) < STACK_FRAMES_MAX:
        if not is_library(frame.f_code.co_filename):
            sites.append(Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(sites)


class LockInfo:
    """A lock (or semaphore) under observation. `owner`: who holds it; semaphores count their `holders`.

    `history`, of a lock that is held within or around others: the serials of the locks that its owner took and gave
    back since (positive), and of those that the owner held when it took this one and gave back since (negative).
    """

    __slots__ = (
        "checked",
        "code",
        "epoch",
        "history",
        "holders",
        "kind",
        "lasti",
        "owner",
        "permits",
        "recorder",
        "serial",
        "site",
        "spans_await",
    )

    def __init__(self, recorder: Any, kind: str, site: Site, permits: int = 1) -> None:
        self.recorder = recorder
        self.serial = next(_serials)
        self.kind = kind
        self.site = site
        self.permits = permits
        self.owner: Actor | None = None
        self.holders: dict[Actor, int] = {}
        self.history: tuple[int, ...] = ()
        self.checked: object = None  # (actor, epoch) of the last look that found it free
        self.epoch = 0  # of the loop, when it was taken
        self.code: CodeType | None = None  # where it was taken
        self.lasti = 0
        self.spans_await = kind.startswith("threading")  # was it ever held while its task was suspended?

    @property
    def name(self) -> str:
        return f"{self.kind} #{self.serial} ({short(self.site.file)}:{self.site.line})"

    @property
    def taken_at(self) -> Site:
        """Where the present owner took it."""
        return place(self.code, self.lasti)


def place(code: CodeType | None, lasti: int) -> Site:
    """The source line of an instruction."""
    if code is None:
        return UNKNOWN
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= lasti < end and number is not None:
            line = number
            break
    return Site(code.co_filename, line, code.co_name)


@dataclass(slots=True)
class Wait:
    """What an actor waits for. `target`: a LockInfo, a TaskGroup, a future, or only a description of something else."""

    kind: str
    target: Any
    bounded: bool = False  # does it end by itself (a timeout)?

    def describe(self) -> str:
        if isinstance(self.target, LockInfo):
            return self.target.name
        return f"{self.kind} {self.target}" if isinstance(self.target, str) else self.kind


class Actor:
    """A task or a thread.

    `clock` divides its life by the starts and the ends of its children; `fork_time` and `end_time` are its own start
    and end on the clock of its parent, the end once the parent may know of it.
    """

    __slots__ = (
        "__weakref__",
        "awaited",
        "children",
        "clock",
        "deadlines",
        "end_time",
        "fork_time",
        "held",
        "kept",
        "kind",
        "known",
        "label",
        "listed",
        "parent",
        "patience",
        "recorder",
        "ref",
        "serial",
        "thread",
        "waiting",
    )

    def __init__(self, kind: str, ref: weakref.ref[Any] | None, label: str, thread: int, parent: Actor | None) -> None:
        self.serial = next(_serials)
        self.recorder: Any = None
        self.kind = kind
        self.ref = ref
        self.label = label
        self.thread = thread
        self.parent = parent
        self.held: list[LockInfo] = []
        self.waiting: Wait | LockInfo | None = None  # the bare lock where that says all
        self.deadlines = 0
        self.awaited = kind == "task"  # a thread: was it joined? A task that has ended counts as awaited by its maker
        self.clock = 0
        self.end_time: int | None = None
        self.known: set[Order] | frozenset[Order] = _NOTHING_KNOWN  # orders that were noted at the present time
        self.kept = 0  # dependencies of its own that are kept
        self.children: list[Actor] = _NO_CHILDREN  # those of which dependencies are kept, or of their descendants
        self.patience = 0  # children that may begin before the next look at those that are listed
        self.listed = False  # among those of its parent
        if parent is not None:
            if parent.children:  # some of them may have ended by now: what begins here comes after them
                parent.patience -= 1
                if parent.patience < 0:
                    parent.notice_ends()
            self.fork_time = parent.clock
            parent.advance()

    @property
    def name(self) -> str:
        return f"{self.kind} {self.label}"

    @property
    def task(self) -> Any:
        return self.ref() if self.ref is not None else None

    def finished(self) -> bool:
        """Has the task or thread ended (or gone altogether)?"""
        target = self.task
        if target is None:
            return self.ref is not None
        return bool(target.done()) if self.kind == "task" else not target.is_alive()

    def advance(self) -> None:
        """From here on, what it does may have other neighbours."""
        self.clock += 1
        self.known = _NOTHING_KNOWN

    def notice_ends(self) -> None:
        """Of the children that are listed: what follows comes after those that have ended."""
        ended = [child for child in self.children if child.awaited and child.finished()]
        if ended:
            self.advance()
            for child in ended:
                child.end(self.clock)
            self.children = [child for child in self.children if child.end_time is None]
        self.patience = len(self.children) // _CHILDREN_PER_LOOK

    def end(self, time: int) -> None:
        """It has ended, and so have those of its children that did not outlive it."""
        self.end_time = time
        for child in self.children:
            if child.awaited and child.finished():
                child.end(self.clock + 1)

    def keep(self) -> None:
        """A dependency of its own is kept: list it with its parent, and the parent with its own."""
        self.kept += 1
        child, parent = self, self.parent
        while parent is not None and not child.listed and child.end_time is None:
            child.listed = True
            if not parent.children:
                parent.children = []
            parent.children.append(child)
            child, parent = parent, parent.parent

    def give_up(self) -> None:
        """A dependency of its own is kept no more."""
        self.kept -= 1
        if not self.kept and not self.children and self.listed and self.parent is not None and self.end_time is None:
            self.listed = False
            self.parent.children.remove(self)


Order = tuple[object, ...]
_NOTHING_KNOWN: Final[frozenset[Order]] = frozenset()
_NO_CHILDREN: Final[list[Actor]] = []
_CHILDREN_PER_LOOK: Final = 64


class Dependency:
    """An actor took (or tried to take) `lock` while it held `held`, in the order in which they were taken.

    `suspended`: for each held lock, whether the actor was suspended between taking it and now. `time`: on the actor's
    clock. `passed`: pairs of a held lock and one that was taken and given back within; `inside`: pairs of a held lock
    and one that was held when it was taken, and is no more (pairs of serials).
    """

    __slots__ = ("actor", "held", "inside", "lock", "passed", "stack", "suspended", "taken_at", "time")

    def __init__(self, actor: Actor, lock: LockInfo, epoch: int, stack: tuple[Site, ...]) -> None:
        held = actor.held
        threads = actor.kind == "thread"
        self.actor = actor
        self.time = actor.clock
        self.lock = lock
        self.stack = stack
        self.held = tuple(held)
        self.suspended = tuple([threads or one.kind.startswith("threading") or one.epoch != epoch for one in held])
        self.taken_at = tuple([(one.code, one.lasti) for one in held])
        self.passed: frozenset[tuple[int, int]] = frozenset()
        self.inside: frozenset[tuple[int, int]] = frozenset()
        if any(one.history for one in held):
            self.inside = frozenset((one.serial, -other) for one in held for other in one.history if other < 0)
            self.passed = frozenset(
                (one.serial, other)
                for place, one in enumerate(held)
                for above in held[place:]
                for other in above.history
                if other > 0
            )

    def suspended_since(self, lock: LockInfo) -> bool:
        return self.suspended[self.held.index(lock)]

    def precedes(self, other: Dependency) -> bool:
        """Had this one ended before the other one began, by starts and joins?"""
        reached: dict[Actor, int] = {}
        actor = self.actor
        reached[actor] = self.time
        while actor.parent is not None and actor.end_time is not None:
            reached[actor.parent] = actor.end_time
            actor = actor.parent
        doer, began = other.actor, other.time
        while doer not in reached:
            if doer.parent is None:
                return False
            doer, began = doer.parent, doer.fork_time
        return reached[doer] <= began

    def excludes(self, other: Dependency) -> bool:
        """Does the way of this actor to its place lead through a lock that the other one keeps from there on?

        The other one took a lock M while it held Y, which it gave back since. This one holds Y now, so it took Y after
        that; and within Y it took M and gave it back, which the other one held.
        """
        if not self.passed or not other.inside:
            return False
        return any((y, m) in self.passed for m, y in other.inside)
