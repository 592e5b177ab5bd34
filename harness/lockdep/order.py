"""Cycles in the order of locks that could jam, in the manner of iGoodLock.

After Joshi, Park, Sen and Naik, "A Randomized Dynamic Program Analysis Technique for Detecting Real Deadlocks" (PLDI
2009): a chain of dependencies of distinct actors in which each wants a lock that the next one holds, the last one a
lock of the first, and no two hold a common (gate) lock. Pruned further by starts and joins (two dependencies of which
one had ended before the other began cannot meet) and by locks on the way (`Dependency.excludes`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.lockdep.findings import Finding, Participant
from harness.lockdep.model import Dependency, LockInfo, place

CYCLE_LENGTH_MAX = 6
CHAINS_MAX = 200_000


def cycles(dependencies: Sequence[Dependency]) -> Iterator[tuple[Dependency, ...]]:
    """All cycles of at most CYCLE_LENGTH_MAX dependencies; each once, from its first recorded dependency on."""
    holding: dict[LockInfo, list[int]] = defaultdict(list)
    for number, dependency in enumerate(dependencies):
        for lock in dependency.held:
            holding[lock].append(number)
    budget = CHAINS_MAX
    for start in range(len(dependencies)):
        chains: list[tuple[int, ...]] = [(start,)]
        while chains and budget > 0:
            budget -= 1
            chain = chains.pop()
            last = dependencies[chain[-1]]
            if len(chain) > 1 and last.lock in dependencies[start].held:
                yield tuple(dependencies[number] for number in chain)
                continue
            if len(chain) == CYCLE_LENGTH_MAX:
                continue
            chains.extend(
                (*chain, number)
                for number in holding.get(last.lock, ())
                if number > start and all(_may_meet(dependencies[other], dependencies[number]) for other in chain)
            )


def _may_meet(one: Dependency, two: Dependency) -> bool:
    """Could the two actors stand at these places at the same time?"""
    if one.actor is two.actor or one.lock is two.lock:
        return False
    if any(lock in two.held for lock in one.held):
        return False
    if one.precedes(two) or two.precedes(one):
        return False
    return not (one.excludes(two) or two.excludes(one))


def is_feasible(cycle: Sequence[Dependency]) -> bool:
    """Can somebody be suspended between the two acquisitions?

    On asyncio a free lock is taken without giving the loop away. So either one of the actors awaits something while it
    holds its lock, or one of the locks is at times held across an await by anybody: then the inner acquire can block.
    """
    for position, dependency in enumerate(cycle):
        wanted_by_previous = cycle[position - 1].lock
        if dependency.suspended_since(wanted_by_previous) or dependency.lock.spans_await:
            return True
    return False


def order_findings(dependencies: Sequence[Dependency]) -> list[Finding]:
    """One finding per cycle of lock classes; where several cycles have the same classes, a feasible one is shown."""
    found: dict[tuple[object, ...], Finding] = {}
    for cycle in cycles(dependencies):
        signature = _rotated(tuple((d.lock.site, d.stack[:1]) for d in cycle))
        verdict = "feasible" if is_feasible(cycle) else "latent"
        known = found.get(signature)
        if known is None or (known.verdict == "latent" and verdict == "feasible"):
            found[signature] = _describe(cycle, verdict, signature)
    return sorted(found.values(), key=lambda finding: finding.verdict)


def _rotated(items: tuple[object, ...]) -> tuple[object, ...]:
    """The same cycle however it was entered."""
    start = min(range(len(items)), key=lambda index: str(items[index]))
    return items[start:] + items[:start]


def _describe(cycle: tuple[Dependency, ...], verdict: str, signature: tuple[object, ...]) -> Finding:
    locks = tuple(dependency.lock.name for dependency in cycle)
    why = (
        "nobody is suspended between the two acquisitions as the code stands; an await added there makes it a deadlock"
        if verdict == "latent"
        else "the actors take these locks in conflicting order; this run did not jam, another one can"
    )
    participants = tuple(
        Participant(
            dependency.actor.label if dependency.actor.kind == "task" else dependency.actor.name,
            tuple((lock.name, place(*at)) for lock, at in zip(dependency.held, dependency.taken_at, strict=True)),
            dependency.lock.name,
            dependency.stack,
        )
        for dependency in cycle
    )
    names = " -> ".join((*locks, locks[0]))
    return Finding("order", verdict, f"{names}: {why}", participants, locks, signature=signature)


def class_findings(dependencies: Sequence[Dependency], known: Sequence[Finding]) -> list[Finding]:
    """Two lock classes (creation sites) taken in both orders by actors that could meet, without a cycle of instances.

    Told as `by-class`: it is a defect only if other instances can be combined in another run.
    """
    shown = {frozenset(str(lock) for lock in finding.locks) for finding in known}
    edges: dict[tuple[object, object], Dependency] = {}
    findings: list[Finding] = []
    for dependency in dependencies:
        for lock in dependency.held:
            if lock.site == dependency.lock.site:
                continue
            edges.setdefault((lock.site, dependency.lock.site), dependency)
            other = edges.get((dependency.lock.site, lock.site))
            if other is None or not _may_meet(other, dependency):
                continue
            pair = (other, dependency)
            if frozenset(one.lock.name for one in pair) in shown or any(
                {one.lock.site for one in pair} == set(finding.signature[:2]) for finding in findings
            ):
                continue
            finding = _describe(pair, "by-class", tuple(one.lock.site for one in pair))
            finding.summary = " and ".join(finding.locks) + ": classes taken in both orders, by different instances"
            findings.append(finding)
    return findings
