"""The blocking objects: each is explored in a program whose ways to jam are known."""

from __future__ import annotations

import pytest

from harness.exploration import (
    Actor,
    Certificate,
    Condition,
    Event,
    Factory,
    Lock,
    Queue,
    RLock,
    RWLock,
    Semaphore,
    brute_force,
    explore,
)


def verdict(factory: Factory) -> Certificate:
    """Explores with the reduction and without; both have to agree."""
    certificate = explore(factory)
    assert certificate.end_states == {outcome.end_state for outcome in brute_force(factory)}
    return certificate


def test_a_lock_is_not_re_entrant_but_an_rlock_is() -> None:
    def program(kind: type[Lock] | type[RLock]) -> list[Actor]:
        lock = kind("l")

        async def twice() -> None:
            async with lock, lock:
                pass

        return [Actor("one", twice()), Actor("two", twice())]

    assert verdict(lambda: program(Lock)).jams
    assert verdict(lambda: program(RLock)).verdict.value == "PASS"


def test_try_acquire_never_waits() -> None:
    def program() -> list[Actor]:
        a, b = Lock("a"), Lock("b")

        async def polite(first: Lock, second: Lock) -> bool:
            async with first:
                if not await second.try_acquire():
                    return False
                await second.release()
                return True

        return [Actor("one", polite(a, b)), Actor("two", polite(b, a))]

    assert verdict(program).verdict.value == "PASS"


@pytest.mark.parametrize(("writer_first", "jams"), [(True, True), (False, False)])
def test_a_nested_reader_jams_only_when_waiting_writers_go_first(writer_first: bool, jams: bool) -> None:
    def program() -> list[Actor]:
        lock = RWLock("rw", writer_first=writer_first)

        async def reader() -> None:
            await lock.read_acquire()
            await lock.read_acquire()
            await lock.read_release()
            await lock.read_release()

        async def writer() -> None:
            await lock.write_acquire()
            await lock.write_release()

        return [Actor("reader", reader()), Actor("writer", writer())]

    assert bool(verdict(program).jams) is jams


@pytest.mark.parametrize(("permits", "jams"), [(2, True), (3, False)])
def test_semaphore_permits(permits: int, jams: bool) -> None:
    def program() -> list[Actor]:
        pool = Semaphore("pool", permits)

        async def worker() -> None:
            async with pool, pool:
                pass

        return [Actor("one", worker()), Actor("two", worker())]

    assert bool(verdict(program).jams) is jams


@pytest.mark.parametrize(("every", "jams"), [(False, True), (True, False)])
def test_condition_notify_wakes_one_and_notify_all_wakes_all(every: bool, jams: bool) -> None:
    def program() -> list[Actor]:
        lock = Lock("l")
        condition = Condition("c", lock)
        ready = []

        async def sleeper() -> None:
            async with lock:
                while not ready:
                    await condition.wait()

        async def waker() -> None:
            async with lock:
                ready.append(1)
                await (condition.notify_all() if every else condition.notify())

        return [Actor("s1", sleeper()), Actor("s2", sleeper()), Actor("waker", waker())]

    assert bool(verdict(program).jams) is jams


def test_condition_wait_needs_the_lock() -> None:
    def program() -> list[Actor]:
        condition = Condition("c", Lock("l"))

        async def sleeper() -> None:
            await Event("e").set()
            await condition.wait()

        return [Actor("a", sleeper()), Actor("b", sleeper())]

    assert "without its lock" in verdict(program).reason


def test_queue_join_waits_for_task_done() -> None:
    def program(*, done: bool) -> list[Actor]:
        queue = Queue("q", 1)

        async def producer() -> None:
            await queue.put("item")
            await queue.join()

        async def consumer() -> None:
            await queue.get()
            if done:
                await queue.task_done()

        return [Actor("producer", producer()), Actor("consumer", consumer())]

    assert verdict(lambda: program(done=True)).verdict.value == "PASS"
    assert verdict(lambda: program(done=False)).jams


def test_an_event_that_is_cleared_again_may_be_missed() -> None:
    def program() -> list[Actor]:
        event = Event("e")

        async def pulse() -> None:
            await event.set()
            await event.clear()

        async def wait() -> None:
            await event.wait()

        return [Actor("pulse", pulse()), Actor("wait", wait())]

    certificate = verdict(program)
    assert certificate.jams
    assert len(certificate.end_states) == 2
