"""Exhaustive search with a sound reduction: dynamic partial-order reduction with source sets and sleep sets.

After Abdulla, Aronis, Jonsson and Sagonas, "Source Sets: A Foundation for Optimal Dynamic Partial Order Reduction"
(J. ACM 64(4), 2017), algorithm "Source-DPOR", with two additions for operations that can be disabled by others, which
the paper's base algorithm excludes:
* what still stands blocked at the end of an execution takes part in the detection of races as if it had been carried
  out there (without this, jams are missed: the blocked operation is never executed);
* for a guarded operation other than taking a free lock, the reversed order need not be feasible as the paper assumes.
  There each earlier dependent operation counts as a race, the initials are restricted to what the operation causally
  needs, and where that leaves nobody who can run, all who can are tried (Flanagan and Godefroid, POPL 2005, section 3).
Sleep sets alone guarantee that no two complete executions are equivalent, so complete executions = classes explored.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from harness.exploration.execution import Execution, Factory, Outcome, ProgramError
from harness.exploration.ops import ACQUIRE, RELEASE, WAIT, Access

Footprint = tuple[Access, ...]


class _Node:
    """A choice on the path from the start: who could run, who is still to be tried, who need not be (sleep)."""

    __slots__ = ("asleep", "backtrack", "chosen", "enabled", "sleep")

    def __init__(self, enabled: int, chosen: int, sleep: dict[int, Footprint], asleep: int) -> None:
        self.enabled = enabled
        self.chosen = chosen
        self.backtrack = 1 << chosen
        self.sleep = sleep
        self.asleep = asleep  # those in `sleep`, as a bit set


class _Object:
    """What happened to one object so far, as bit sets of events: no event need be looked at again one by one.

    The beginning stands in the class, which makes a new one cheap.
    """

    write = 0  # the last event that changed it
    changed = 0  # that, and what happens before it
    reads = 0  # events since then that looked at it
    looked = 0  # those, and what happens before them
    acquired = 0  # the last event that took it
    mixed = False  # was it used in another way than acquire and release?
    all = 0
    changes = 0


_Meeting = tuple[_Object, int]
"""An object and the mode in which it is touched."""

_AWAKE: dict[int, Footprint] = {}
"""The sleep set of nobody; never changed."""


@dataclass(slots=True)
class Statistics:
    """`executions` complete ones (= classes), `pruned` those cut short because all that could follow was explored."""

    executions: int = 0
    pruned: int = 0
    steps: int = 0
    cut: int = 0


def independent(one: Footprint, two: Footprint) -> bool:
    """May two transitions with these footprints be exchanged without anybody noticing?"""
    for key, mode in one:
        for other, other_mode in two:
            if (mode | other_mode) & 1 and key == other:
                return False
    return True


class SourceDpor:
    """`for outcome in SourceDpor(factory): …` gives one execution per class; `statistics` counts as it goes.

    Raises ProgramError when the program does not repeat itself (another enabled set or footprint after equal choices).
    `detect_blocked=False` is a deliberately broken variant, which the oracle has to catch.
    """

    def __init__(self, factory: Factory, *, steps_max: int = 10_000, detect_blocked: bool = True) -> None:
        self.factory = factory
        self.steps_max = steps_max
        self.detect_blocked = detect_blocked
        self.statistics = Statistics()
        self.names: dict[str, int] = {}
        self.exhausted = False
        self._nodes: list[_Node] = []
        self._processes: list[int] = []  # actor of each event of the present execution
        self._past: list[int] = []  # events that happen before it, as a bit set
        self._footprints: list[Footprint] = []

    def __iter__(self) -> Iterator[Outcome]:
        first_new = 0
        while True:
            outcome = self._run(first_new)
            if outcome is not None:
                yield outcome
            position = self._backtrack()
            if position is None:
                self.exhausted = self.statistics.cut == 0
                return
            first_new = position

    def _backtrack(self) -> int | None:
        """Leave the deepest choice that still has an alternative; returns its depth, None when all is explored."""
        nodes = self._nodes
        while nodes:
            node = nodes[-1]
            chosen = 1 << node.chosen
            remaining = node.backtrack & node.enabled & ~(node.asleep | chosen)
            if remaining:
                node.sleep = {**node.sleep, node.chosen: self._footprints[len(nodes) - 1]}
                node.asleep |= chosen
                node.chosen = (remaining & -remaining).bit_length() - 1
                return len(nodes) - 1
            nodes.pop()
        return None

    def _run(self, first_new: int) -> Outcome | None:
        """One execution along the stored choices and on from there; None when it was cut short by the sleep set."""
        execution = Execution(self.factory, self.names)
        nodes, past, footprints = self._nodes, self._past, self._footprints
        del past[first_new:], footprints[first_new:]
        processes = self._processes = execution.order
        objects: dict[Hashable, _Object] = {}
        last: dict[int, int] = dict.fromkeys(execution.started, 0)
        self._repeat(execution, objects, last, first_new)
        pending, step, noted, spawned = execution.pending, execution.step, execution.touched, execution.spawned
        sleep = _AWAKE
        current, depth = processes[-1] if processes else -1, first_new
        enabled = 0
        while True:
            if depth == len(nodes):
                enabled = execution.enabled_set()
                if not self._choose(enabled, sleep, current):
                    break
            node = nodes[depth]
            current = node.chosen
            op = pending[current]
            if op is None:
                raise ProgramError(_unstable(execution, current, depth))
            step(current)
            touched = op.accesses + tuple(noted) if noted else op.accesses
            happened = before = last[current]
            bit = 1 << depth
            if touched:
                met, seen = _meet(objects, touched)
                if seen & ~before:  # somebody else was there
                    happened = self._races(met, depth, current, op.guarded, before)
                _note(met, bit, happened)
            past.append(happened)
            footprints.append(touched)
            sleep = _still_asleep(node.sleep, current, touched) if node.sleep else _AWAKE
            closure = last[current] = happened | bit
            if spawned:
                last.update(dict.fromkeys(spawned, closure))
            depth += 1
        return self._end(execution, objects, last, enabled)

    def _repeat(self, execution: Execution, objects: dict[Hashable, _Object], last: dict[int, int], steps: int) -> None:
        """Follow the stored choices up to the one that is new. Raises ProgramError when the program does not."""
        nodes, past, footprints, pending = self._nodes, self._past, self._footprints, execution.pending
        for depth in range(steps):
            current = nodes[depth].chosen
            op = pending[current]
            if op is None or (op.enabled is not None and not op.enabled()):
                raise ProgramError(_unstable(execution, current, depth))
            execution.step(current)
            touched = execution.accesses()
            if touched != footprints[depth]:
                raise ProgramError(_unstable(execution, current, depth))
            happened, bit = past[depth], 1 << depth
            if touched:
                _note(_meet(objects, touched)[0], bit, happened)
            closure = last[current] = happened | bit
            for index in execution.spawned:
                last[index] = closure

    def _choose(self, enabled: int, sleep: dict[int, Footprint], current: int) -> bool:
        """Add a choice, without preemption where possible; False when the execution is to end here."""
        asleep = 0
        if sleep:
            for index in sleep:
                asleep |= 1 << index
        candidates = enabled & ~asleep
        if not candidates or len(self._nodes) >= self.steps_max:
            return False
        if current < 0 or not candidates >> current & 1:
            current = (candidates & -candidates).bit_length() - 1
        self._nodes.append(_Node(enabled, current, sleep, asleep))
        return True

    def _end(
        self, execution: Execution, objects: dict[Hashable, _Object], last: dict[int, int], enabled: int
    ) -> Outcome | None:
        """Let what stands blocked take part in the races; count the execution."""
        depth, statistics = len(execution.order), self.statistics
        statistics.steps += depth
        if self.detect_blocked:
            for index, op in enumerate(execution.pending):
                if op is not None and not enabled >> index & 1:
                    met, _ = _meet(objects, op.accesses)
                    self._races(met, depth, index, op.guarded, last[index], executed=False)
        if enabled and depth < self.steps_max:
            statistics.pruned += 1
            execution.close()
            return None
        outcome = execution.outcome(cut=bool(enabled))
        if enabled:
            statistics.cut += 1
        else:
            statistics.executions += 1
        if outcome.blocked:
            execution.close()
        return outcome

    def _races(
        self, met: Sequence[_Meeting], event: int, actor: int, guarded: bool, before: int, *, executed: bool = True
    ) -> int:
        """Find the earlier events that could have come after this one, and have the other order tried.

        Returns what happens before the event: `before`, which its actor knows, and what it learns from its accesses.
        One that was not executed, since its actor stands blocked there, learns nothing.
        """
        for known, mode in met:
            if mode == ACQUIRE and known.mixed:
                guarded = True
        happened = before
        candidates = 0
        direct = 0  # conflicting predecessors: what lies before one of them is no race of its own
        for known, mode in met:
            happened |= known.changed
            if mode & 1:
                happened |= known.looked
            if guarded:
                candidates |= known.all if mode & 1 else known.changes
            elif mode == WAIT:
                direct |= known.changed
            elif mode == ACQUIRE:
                candidates |= known.acquired
            else:
                candidates |= known.write
                direct |= known.changed & ~known.write
                if mode & 1:
                    candidates |= known.reads
                    direct |= known.looked & ~known.reads
        candidates &= ~(before | direct)
        if candidates:
            self._reverse_all(candidates, event, actor, guarded, before, happened if executed else before)
        return happened

    def _reverse_all(self, candidates: int, event: int, actor: int, guarded: bool, before: int, happened: int) -> None:
        while candidates:
            bit = candidates & -candidates
            candidates ^= bit
            earlier = bit.bit_length() - 1
            if self._processes[earlier] != actor:
                self._reverse(earlier, event, actor, guarded, before, happened)

    def _reverse(self, earlier: int, event: int, actor: int, guarded: bool, before: int, happened: int) -> None:
        """Make sure that at the choice in front of `earlier` somebody is tried who leads to the reversed order."""
        processes, past, node = self._processes, self._past, self._nodes[earlier]
        if not node.enabled & ~(node.backtrack | node.asleep):
            return  # everybody who can run there is tried already
        between = 0  # the events after it that do not depend on it
        for index in range(earlier + 1, event):
            if not past[index] >> earlier & 1:
                between |= 1 << index
        if guarded:
            between &= before
        initials = 0
        rest = between
        while rest:
            bit = rest & -rest
            rest ^= bit
            index = bit.bit_length() - 1
            if not past[index] & between:
                initials |= 1 << processes[index]
        if not (before if guarded else happened) & between:
            initials |= 1 << actor
        if guarded:
            initials &= node.enabled
            if not initials:
                node.backtrack |= node.enabled
                return
        if not (node.backtrack | node.asleep) & initials:
            usable = initials & node.enabled or node.enabled
            wanted = 1 << actor
            node.backtrack |= wanted if usable & wanted else usable & -usable


def _still_asleep(sleep: dict[int, Footprint], actor: int, touched: Footprint) -> dict[int, Footprint]:
    """Whom a step of the actor leaves asleep: those whose own step it does not interfere with."""
    return {
        index: footprint for index, footprint in sleep.items() if index != actor and independent(footprint, touched)
    }


def _meet(objects: dict[Hashable, _Object], touched: Footprint) -> tuple[list[_Meeting], int]:
    """The objects of a footprint, and all events that they have seen."""
    met = []
    seen = 0
    for key, mode in touched:
        known = objects.get(key)
        if known is None:
            known = objects[key] = _Object()
        else:
            seen |= known.all
        met.append((known, mode))
    return met, seen


def _note(met: Sequence[_Meeting], event: int, past: int) -> None:
    """Bring the objects up to date with an event (its bit) and what happens before it."""
    for known, mode in met:
        known.all |= event
        if mode & 1:
            known.write = event
            known.changed = past | event
            known.changes |= event
            if known.reads:
                known.reads = known.looked = 0
            if mode == ACQUIRE:
                known.acquired = event
            elif mode != RELEASE:
                known.mixed = True
        elif known.write != event:
            known.reads |= event
            known.looked |= past | event
            known.mixed = True


def _unstable(execution: Execution, actor: int, step: int) -> str:
    return (
        f"the program is not deterministic: at step {step}, after the same choices as before, "
        f"{execution.name_of(actor)} cannot run or touches something else"
    )
