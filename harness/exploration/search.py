"""Searches without a reduction: brute force (the oracle), seeded random, PCT, bounded context switches, and replay."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from harness.exploration.execution import DivergedError, Execution, Factory, Outcome
from harness.exploration.schedule import Schedule, fingerprint

STEPS_MAX = 10_000
PROBES = 30

Picker = Callable[[list[int], int], int]
"""Chooses one of the enabled actors; the second argument is who ran last (-1 at the start)."""


def run(factory: Factory, pick: Picker, *, steps_max: int = STEPS_MAX, names: dict[str, int] | None = None) -> Outcome:
    """One execution with a strategy; it ends when nobody is enabled, or as "cut" after `steps_max` steps."""
    execution = Execution(factory, names)
    current = -1
    for _ in range(steps_max):
        enabled = execution.enabled()
        if not enabled:
            return finish(execution)
        current = pick(enabled, current) if len(enabled) > 1 else enabled[0]
        execution.step(current)
    return finish(execution, cut=bool(execution.enabled()))


def finish(execution: Execution, *, cut: bool = False) -> Outcome:
    """The outcome of an execution, whose unfinished actors are closed."""
    outcome = execution.outcome(cut=cut)
    if outcome.blocked:
        execution.close()
    return outcome


def stay(enabled: list[int], current: int) -> int:
    """The strategy without preemption: go on with who ran last while it can, then the first that can."""
    return current if current in enabled else enabled[0]


def brute_force(factory: Factory, *, steps_max: int = STEPS_MAX) -> Iterator[Outcome]:
    """Every interleaving, without any reduction. Deliberately plain: it is what the reduction is measured against."""
    names: dict[str, int] = {}
    path: list[tuple[list[int], int]] = []  # (enabled, position chosen)
    while True:
        execution = Execution(factory, names)
        depth = 0
        while True:
            enabled = execution.enabled()
            if not enabled or depth >= steps_max:
                break
            if depth == len(path):
                path.append((enabled, 0))
            execution.step(path[depth][0][path[depth][1]])
            depth += 1
        yield finish(execution, cut=bool(enabled))
        while path and path[-1][1] + 1 == len(path[-1][0]):
            path.pop()
        if not path:
            return
        enabled, position = path[-1]
        path[-1] = (enabled, position + 1)


def bounded_switches(factory: Factory, switches: int, *, steps_max: int = STEPS_MAX) -> Iterator[Outcome]:
    """Every interleaving with at most that many context switches (a change after an actor has ended counts as well)."""
    names: dict[str, int] = {}
    path: list[tuple[list[int], int]] = []
    while True:
        execution = Execution(factory, names)
        depth, current, left, stuck = 0, -1, switches, False
        while True:
            enabled = execution.enabled()
            if not enabled or depth >= steps_max:
                break
            if depth == len(path):
                choices = [current] if current in enabled else []
                if left > 0 or current < 0:
                    choices += [index for index in enabled if index != current]
                if not choices:
                    stuck = True
                    break
                path.append((choices, 0))
            chosen = path[depth][0][path[depth][1]]
            if current >= 0 and chosen != current:
                left -= 1
            current = chosen
            execution.step(chosen)
            depth += 1
        if stuck:
            execution.close()
        else:
            yield finish(execution, cut=bool(enabled))
        while path and path[-1][1] + 1 == len(path[-1][0]):
            path.pop()
        if not path:
            return
        choices, position = path[-1]
        path[-1] = (choices, position + 1)


def random_runs(factory: Factory, runs: int, seed: int, *, steps_max: int = STEPS_MAX) -> Iterator[Outcome]:
    """`runs` executions, each step chosen uniformly; the same seed gives the same executions."""
    generator = random.Random(seed)  # noqa: S311 - a repeatable choice, not a secret
    below = generator.random
    for _ in range(runs):
        yield run(factory, lambda enabled, _current: enabled[int(below() * len(enabled))], steps_max=steps_max)


class Pct:
    """Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010).

    Each run gives the `actors` random priorities and lowers the running actor's at `depth` - 1 of `steps` random
    steps; the enabled actor of the highest priority runs. A bug that needs `depth` ordering constraints is hit by one
    run with a probability of at least `bound`, provided that no execution has more actors or steps than stated:
    those of the longest of some probes (`overran` counts the runs that had more; then the bound does not hold).
    """

    def __init__(self, factory: Factory, depth: int, seed: int, *, steps_max: int = STEPS_MAX) -> None:
        if depth < 1:
            raise ValueError("the depth of PCT is 1 or more")
        probes = [run(factory, stay, steps_max=steps_max), *random_runs(factory, PROBES, seed, steps_max=steps_max)]
        self.factory = factory
        self.depth = depth
        self.seed = seed
        self.steps_max = steps_max
        self.actors = max(1, *(len(probe.started) for probe in probes))
        self.steps = max(1, *(len(probe.order) for probe in probes))
        self.overran = 0

    @property
    def bound(self) -> float:
        """1 / (n · k^(d-1))."""
        return 1.0 / (self.actors * float(self.steps) ** (self.depth - 1))

    def runs(self, count: int) -> Iterator[Outcome]:
        """`count` executions; the same seed gives the same executions."""
        generator = random.Random(self.seed)  # noqa: S311 - a repeatable choice, not a secret
        for _ in range(count):
            outcome = self._one(generator)
            if len(outcome.order) > self.steps or len(outcome.started) > self.actors:
                self.overran += 1
            yield outcome

    def _one(self, generator: random.Random) -> Outcome:
        execution = Execution(self.factory)
        places = generator.sample(range(self.steps), min(self.depth - 1, self.steps))
        changes = dict(zip(places, range(self.depth - 1, 0, -1), strict=False))
        draw, started = generator.random, execution.started
        priorities: dict[int, float] = {}
        priority = priorities.__getitem__
        for step in range(self.steps_max):
            enabled = execution.enabled()
            if not enabled:
                return finish(execution)
            if len(priorities) < len(started):
                for index in started[len(priorities) :]:
                    priorities[index] = self.depth + draw()
            chosen = enabled[0] if len(enabled) == 1 else max(enabled, key=priority)
            if step in changes:
                priorities[chosen] = changes[step]
                chosen = max(enabled, key=priority)
            execution.step(chosen)
        return finish(execution, cut=bool(execution.enabled()))


def replay(factory: Factory, schedule: Schedule) -> Outcome:
    """Follow a schedule to its end. Raises DivergedError when the program does not go along, saying where."""
    execution = Execution(factory)
    for step, actor in enumerate(schedule.order):
        started = execution.started
        if actor >= len(started):
            execution.close()
            raise DivergedError(f"step {step}: the schedule names actor {actor}, of which there are {len(started)}")
        index = started[actor]
        op = execution.pending[index]
        if op is None or (op.enabled is not None and not op.enabled()):
            where = "has ended" if op is None else f"stands blocked at {op}"
            execution.close()
            raise DivergedError(f"step {step}: the schedule runs {execution.name_of(index)}, which {where}")
        execution.step(index)
    outcome = finish(execution, cut=bool(execution.enabled()))
    if schedule.fingerprint and fingerprint(outcome.operations) != schedule.fingerprint:
        raise DivergedError("the schedule was followed to its end, but its operations are not those of the recording")
    return outcome


def run_order(factory: Factory, runs: Sequence[tuple[int, int]], *, steps_max: int = STEPS_MAX) -> Outcome:
    """Follow (actor, steps) stretches leniently: one that is stuck is left; the rest runs without preemption."""
    execution = Execution(factory)
    current, depth = -1, 0
    for actor, steps in runs:
        for _ in range(steps):
            if actor >= len(execution.started) or depth >= steps_max:
                break
            index = execution.started[actor]
            op = execution.pending[index]
            if op is None or (op.enabled is not None and not op.enabled()):
                break
            execution.step(index)
            current, depth = index, depth + 1
    while depth < steps_max:
        enabled = execution.enabled()
        if not enabled:
            return finish(execution)
        current = stay(enabled, current)
        execution.step(current)
        depth += 1
    return finish(execution, cut=bool(execution.enabled()))
