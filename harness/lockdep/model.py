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


def site_here(depth: int = 2) -> Site:
    """Where the user's code is that led to this call."""
    frame = user_frame(depth)
    if frame is None:
        frame = sys._getframe(depth)
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def stack_here(depth: int = 2) -> tuple[Site, ...]:
    """The user's frames that led to this call, innermost first."""
    sites: list[Site] = []
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and len(sites) < STACK_FRAMES_MAX:
        if not is_library(frame.f_code.co_filename):
            sites.append(Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(sites)


class LockInfo:
    """A lock (or semaphore) under observation. `owner`: who holds it; semaphores count their `holders`."""

    __slots__ = (
        "checked",
        "code",
        "epoch",
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


class Segment:
    """A stretch of an actor's life between two starts or joins; `before` are the segments that ended before it."""

    __slots__ = ("before", "sealed", "serial")

    def __init__(self, before: tuple[Segment, ...]) -> None:
        self.serial = next(_serials)
        self.before = before
        self.sealed = False

    def follows(self, other: Segment) -> bool:
        """Did the other one end before this one began (by starts and joins)?"""
        seen = {self.serial}
        waiting = list(self.before)
        while waiting:
            segment = waiting.pop()
            if segment is other:
                return True
            if segment.serial not in seen:
                seen.add(segment.serial)
                waiting.extend(segment.before)
        return False


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
    """A task or a thread."""

    __slots__ = (
        "__weakref__",
        "awaited",
        "children",
        "deadlines",
        "fork",
        "held",
        "joined",
        "kind",
        "known",
        "label",
        "parent",
        "recorder",
        "ref",
        "segment",
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
        self.fork: Segment | None = None
        self.segment: Segment | None = None
        self.known: set[tuple[int, ...]] = set()  # orders that were noted in this segment
        self.children: list[Actor] = []  # those with order dependencies of their own, or among their descendants
        self.joined: set[int] = set()
        if parent is not None:
            if parent.children:  # some of them may have ended by now: what begins here comes after them
                parent.present_segment()
            self.fork = parent.segment or parent.fork
            if parent.segment is not None:
                parent.segment.sealed = True
                parent.known.clear()

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

    def present_segment(self) -> Segment:
        """The segment for what happens now. A start seals it; a child that has ended begins another one."""
        ended = [
            child for child in self.children if child.serial not in self.joined and child.awaited and child.finished()
        ]
        if self.segment is not None and not self.segment.sealed and not ended:
            return self.segment
        before = [segment for segment in (self.segment or self.fork,) if segment is not None]
        for child in ended:
            self.joined.add(child.serial)
            before.extend(_last_segments(child))
        first = self.segment is None
        self.segment = Segment(tuple(before))
        self.known.clear()
        if first:
            child, parent = self, self.parent
            while parent is not None and child not in parent.children:
                parent.children.append(child)
                child, parent = parent, parent.parent
        return self.segment


def _last_segments(actor: Actor) -> list[Segment]:
    """What had happened when this actor ended: its own last segment, and those of the children it outlived."""
    segments = [actor.segment] if actor.segment is not None else []
    for child in actor.children:
        if child.awaited and child.finished():
            segments.extend(_last_segments(child))
    return segments


@dataclass(frozen=True, slots=True)
class Dependency:
    """An actor took (or tried to take) `lock` while it held `held`, in the order in which they were taken.

    `suspended`: for each held lock, whether the actor was suspended between taking it and now.
    """

    actor: Actor
    actor_name: str
    segment: Segment
    held: tuple[LockInfo, ...]
    suspended: tuple[bool, ...]
    taken_at: tuple[Site, ...]
    lock: LockInfo
    stack: tuple[Site, ...]

    def suspended_since(self, lock: LockInfo) -> bool:
        return self.suspended[self.held.index(lock)]
