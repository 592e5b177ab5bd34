"""Search without a reduction: counts, seeds, bounds, replay."""

from __future__ import annotations

import contextvars

import pytest

from harness.exploration import (
    Actor,
    Cell,
    DivergedError,
    Lock,
    Pct,
    Port,
    ProgramError,
    Queue,
    Schedule,
    Spawn,
    Waiter,
    bounded_switches,
    brute_force,
    explore,
    random_runs,
    replay,
    run,
    touch,
)
from harness.exploration.samples import patched_two_locks, philosophers, two_locks
from harness.exploration.search import stay


def test_brute_force_counts_are_those_known_for_two_locks() -> None:
    outcomes = list(brute_force(two_locks))
    assert len(outcomes) == 6
    assert sum(outcome.kind == "jam" for outcome in outcomes) == 2
    assert [outcome.kind for outcome in brute_force(patched_two_locks)] == ["done", "done"]


def test_seeded_random_repeats_itself() -> None:
    one = [outcome.order for outcome in random_runs(two_locks, 50, seed=3)]
    assert one == [outcome.order for outcome in random_runs(two_locks, 50, seed=3)]
    assert one != [outcome.order for outcome in random_runs(two_locks, 50, seed=4)]


def test_pct_hits_at_least_as_often_as_its_bound() -> None:
    pct = Pct(two_locks, depth=2, seed=1)
    assert pct.bound == pytest.approx(1 / (2 * 8))
    hits = sum(outcome.kind == "jam" for outcome in pct.runs(2_000))
    assert hits / 2_000 >= pct.bound
    assert pct.overran == 0


def test_pct_of_depth_one_never_finds_a_bug_of_depth_two() -> None:
    assert all(outcome.kind == "done" for outcome in Pct(two_locks, depth=1, seed=1).runs(300))
    with pytest.raises(ValueError, match="1 or more"):
        Pct(two_locks, depth=0, seed=1)


def test_bounded_switches_needs_one_switch_for_two_locks_and_two_for_three() -> None:
    assert all(outcome.kind == "done" for outcome in bounded_switches(two_locks, 0))
    assert any(outcome.kind == "jam" for outcome in bounded_switches(two_locks, 1))
    assert all(outcome.kind == "done" for outcome in bounded_switches(philosophers(3), 1))
    assert any(outcome.kind == "jam" for outcome in bounded_switches(philosophers(3), 2))


def test_replay_follows_a_schedule_a_thousand_times() -> None:
    found = next(outcome for outcome in brute_force(two_locks) if outcome.kind == "jam")
    schedule = Schedule.parse(Schedule.of(found).token)
    states = {replay(two_locks, schedule).end_state for _ in range(1_000)}
    assert states == {found.end_state}


def test_replay_tells_where_another_program_diverges() -> None:
    found = next(outcome for outcome in brute_force(two_locks) if outcome.kind == "jam")
    with pytest.raises(DivergedError, match="stands blocked at acquire imail"):
        replay(patched_two_locks, Schedule.of(found))
    with pytest.raises(DivergedError, match="names actor 7"):
        replay(two_locks, Schedule((7,)))
    with pytest.raises(DivergedError, match="has ended"):
        replay(two_locks, Schedule((0,) * 5))

    def renamed() -> list[Actor]:
        async def path(first: Lock, second: Lock) -> None:
            async with first, second:
                pass

        a, b = Lock("A"), Lock("B")
        return [Actor("inbound", path(a, b)), Actor("outbound", path(b, a))]

    with pytest.raises(DivergedError, match="operations are not those"):
        replay(renamed, Schedule.of(found))


def test_an_actor_that_raises_is_a_failure_with_its_error() -> None:
    def program() -> list[Actor]:
        lock = Lock("A")

        async def bad() -> None:
            await lock.release()

        return [Actor("bad", bad()), Actor("idle", bad())]

    outcome = run(program, stay)
    assert outcome.kind == "failed"
    assert "which nobody holds" in str(outcome.error)


def test_an_actor_may_await_operations_only_and_names_are_unique() -> None:
    class Foreign:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield 7

    async def foreign() -> None:
        await Foreign()

    with pytest.raises(ProgramError, match="await operations only"):
        run(lambda: [Actor("x", foreign())], stay)

    async def nothing() -> None:
        await Cell("c").read()

    with pytest.raises(ProgramError, match="two actors are named"):
        run(lambda: [Actor("x", nothing()), Actor("x", nothing())], stay)


def test_spawn_and_join() -> None:
    def program() -> list[Actor]:
        queue = Queue("q", 1)

        async def child() -> str:
            return await queue.get()

        async def parent() -> str:
            handle = await Spawn("child", child())
            await queue.put("item")
            return await handle

        return [Actor("parent", parent())]

    outcome = run(program, stay)
    assert outcome.kind == "done"
    assert outcome.results == {"parent": "item", "child": "item"}
    assert [outcome.names[i] for i in outcome.started] == ["parent", "child"]
    certificate = explore(program)
    assert certificate.end_states == {o.end_state for o in brute_force(program)}
    assert certificate.participants == ("parent", "child")


def test_a_port_drives_code_that_blocks_through_waiters() -> None:
    actor: contextvars.ContextVar[str] = contextvars.ContextVar("actor")

    class Section:
        """A first-in first-out lock over a port, as a real system has it."""

        def __init__(self, port: Port, name: str) -> None:
            self.port, self.name = port, name
            self.owner: str | None = None
            self.waiters: list[tuple[str, Waiter]] = []

        async def enter(self) -> None:
            await self.port.point(f"{self.name}.enter", [self.name])
            if self.owner is None:
                self.owner = actor.get()
            else:
                waiter = self.port.waiter(self.name)
                self.waiters.append((actor.get(), waiter))
                await waiter

        async def leave(self) -> None:
            await self.port.point(f"{self.name}.leave", [self.name])
            assert self.owner == actor.get()
            self.owner = None
            if self.waiters:
                self.owner, waiter = self.waiters.pop(0)
                waiter.wake()

    def system(order: tuple[str, str]) -> list[Actor]:
        port = Port()
        sections = {name: Section(port, name) for name in ("imail", "store")}

        async def path(first: str, second: str) -> None:
            await sections[first].enter()
            await sections[second].enter()
            await sections[second].leave()
            await sections[first].leave()

        actors = []
        for name, names in (("inbound", ("imail", "store")), ("outbound", order)):
            context = contextvars.copy_context()
            context.run(actor.set, name)
            actors.append(Actor(name, path(*names), context))
        return actors

    for order, jams in ((("store", "imail"), True), (("imail", "store"), False)):
        certificate = explore(lambda order=order: system(order))  # type: ignore[misc]
        full = explore(lambda order=order: system(order), "brute")  # type: ignore[misc]
        assert bool(certificate.jams) is jams
        assert certificate.exhausted
        assert certificate.end_states == full.end_states
        assert certificate.executions <= full.executions


def test_touch_outside_of_an_exploration_does_nothing() -> None:
    touch("anything")
    waiter = Waiter()
    waiter.wake(3)
    assert waiter.done()
