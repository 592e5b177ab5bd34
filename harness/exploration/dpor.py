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

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from harness.exploration.execution import Execution, Factory, Outcome, ProgramError
from harness.exploration.ops import ACQUIRE, RELEASE, WAIT, Access, Op

Footprint = tuple[Access, ...]


class _Node:
    """A choice on the path from the start: who could run, who is still to be tried, who need not be (sleep)."""

    __slots__ = ("backtrack", "chosen", "enabled", "sleep")

    def __init__(self, enabled: int, chosen: int, sleep: dict[int, Footprint]) -> None:
        self.enabled = enabled
        self.chosen = chosen
        self.backtrack = 1 << chosen
        self.sleep = sleep


class _Object:
    """What happened to one object so far: event numbers, newest last."""

    __slots__ = ("acquired", "history", "mixed", "reads", "write")

    def __init__(self) -> None:
        self.write = -1  # the last event that changed it
        self.reads: list[int] = []  # events since then that looked at it
        self.acquired = -1  # the last event that took it
        self.mixed = False  # was it used in another way than acquire and release?
        self.history: list[tuple[int, int]] = []  # all (event, mode)


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
        self._processes: list[int] = []  # actor of each event
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
            node.sleep[node.chosen] = self._footprints[len(nodes) - 1]
            remaining = node.backtrack & node.enabled
            for index in node.sleep:
                remaining &= ~(1 << index)
            if remaining:
                node.chosen = (remaining & -remaining).bit_length() - 1
                return len(nodes) - 1
            nodes.pop()
        return None

    def _run(self, first_new: int) -> Outcome | None:
        """One execution along the stored choices and on from there; None when it was cut short by the sleep set."""
        execution = Execution(self.factory, self.names)
        nodes, past, footprints = self._nodes, self._past, self._footprints
        del self._processes[first_new:], past[first_new:], footprints[first_new:]
        objects: dict[Hashable, _Object] = {}
        last: dict[int, int] = dict.fromkeys(execution.started, 0)
        sleep: dict[int, Footprint] = {}
        current, depth = -1, 0
        pending, step, accesses = execution.pending, execution.step, execution.accesses
        enabled: list[int] = []
        while True:
            if depth == len(nodes):
                enabled = execution.enabled()
                if not self._choose(enabled, sleep, current):
                    break
            node = nodes[depth]
            current = node.chosen
            op = pending[current]
            if op is None or (op.enabled is not None and not op.enabled()):
                raise ProgramError(_unstable(execution, current, depth))
            step(current)
            touched = accesses()
            if depth < first_new:
                if touched != footprints[depth]:
                    raise ProgramError(_unstable(execution, current, depth))
            else:
                before = last[current]
                past.append(self._races(objects, depth, current, op, touched, before))
                self._processes.append(current)
                footprints.append(touched)
                if node.sleep:
                    sleep = {
                        index: footprint
                        for index, footprint in node.sleep.items()
                        if index != current and independent(footprint, touched)
                    }
                else:
                    sleep = {}
            _note(objects, depth, touched)
            closure = last[current] = past[depth] | 1 << depth
            for index in execution.spawned:
                last[index] = closure
            depth += 1
        return self._end(execution, objects, last, enabled)

    def _choose(self, enabled: list[int], sleep: dict[int, Footprint], current: int) -> bool:
        """Add a choice, without preemption where possible; False when the execution is to end here."""
        candidates = [index for index in enabled if index not in sleep] if sleep else enabled
        if not candidates or len(self._nodes) >= self.steps_max:
            return False
        mask = 0
        for index in enabled:
            mask |= 1 << index
        self._nodes.append(_Node(mask, current if current in candidates else candidates[0], sleep))
        return True

    def _end(
        self, execution: Execution, objects: dict[Hashable, _Object], last: dict[int, int], enabled: list[int]
    ) -> Outcome | None:
        """Let what stands blocked take part in the races; count the execution."""
        depth, statistics = len(execution.order), self.statistics
        statistics.steps += depth
        if self.detect_blocked:
            for index, op in enumerate(execution.pending):
                if op is not None and index not in enabled:
                    self._races(objects, depth, index, op, op.accesses, last[index], executed=False)
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
        self,
        objects: dict[Hashable, _Object],
        event: int,
        actor: int,
        op: Op,
        touched: Footprint,
        before: int,
        *,
        executed: bool = True,
    ) -> int:
        """Find the earlier events that could have come after this one, and have the other order tried.

        Returns what happens before the event: `before`, which its actor knows, and what it learns from its accesses.
        One that was not executed, since its actor stands blocked there, learns nothing.
        """
        past = self._past
        guarded = op.guarded
        met = [(known, mode) for key, mode in touched if (known := objects.get(key)) is not None]
        for known, mode in met:
            if mode == ACQUIRE and known.mixed:
                guarded = True
        happened = before
        candidates = 0
        direct = 0  # conflicting predecessors: what lies before one of them is no race of its own
        for known, mode in met:
            write = known.write
            if write >= 0:
                earlier_past = past[write]
                happened |= earlier_past | 1 << write
            if mode & 1:
                for read in known.reads:
                    happened |= past[read] | 1 << read
            if guarded:
                for earlier, earlier_mode in known.history:
                    if (mode | earlier_mode) & 1:
                        candidates |= 1 << earlier
            elif mode == WAIT:
                if write >= 0:
                    direct |= earlier_past | 1 << write
            elif mode == ACQUIRE:
                if known.acquired >= 0:
                    candidates |= 1 << known.acquired
            else:
                if write >= 0:
                    candidates |= 1 << write
                    direct |= earlier_past
                if mode & 1:
                    for read in known.reads:
                        candidates |= 1 << read
                        direct |= past[read]
        candidates &= ~before & ~direct
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
        processes, past = self._processes, self._past
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
        node = self._nodes[earlier]
        if guarded:
            initials &= node.enabled
            if not initials:
                node.backtrack |= node.enabled
                return
        known = node.backtrack
        for index in node.sleep:
            known |= 1 << index
        if not known & initials:
            usable = initials & node.enabled or node.enabled
            wanted = 1 << actor
            node.backtrack |= wanted if usable & wanted else usable & -usable


def _note(objects: dict[Hashable, _Object], event: int, touched: Footprint) -> None:
    """Bring the objects up to date with an event."""
    for key, mode in touched:
        known = objects.get(key)
        if known is None:
            known = objects[key] = _Object()
        if mode & 1:
            known.write = event
            known.reads = []
            if mode == ACQUIRE:
                known.acquired = event
            elif mode != RELEASE:
                known.mixed = True
        elif known.write != event:
            known.reads.append(event)
            known.mixed = True
        known.history.append((event, mode))


def _unstable(execution: Execution, actor: int, step: int) -> str:
    return (
        f"the program is not deterministic: at step {step}, after the same choices as before, "
        f"{execution.name_of(actor)} cannot run or touches something else"
    )
