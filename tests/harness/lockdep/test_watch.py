"""A watch over unchanged asyncio and threading code: what it reports, what it must not report, what it restores."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness import lockdep
from harness.lockdep import DeadlockError, Finding


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.verdict) for finding in findings]


async def take(first: asyncio.Lock, second: asyncio.Lock, *, pause: bool = True) -> None:
    async with first:
        if pause:
            await asyncio.sleep(0)
        async with second:
            pass


async def one_after_the_other(*, pause: bool = True, same_task: bool = False) -> None:
    """Both orders, by tasks that exist at the same time but happen to run one after the other."""
    a, b = asyncio.Lock(), asyncio.Lock()
    turn = asyncio.Event()

    async def early() -> None:
        await take(a, b, pause=pause)
        if same_task:
            await take(b, a, pause=pause)
        turn.set()

    async def late() -> None:
        await turn.wait()
        if not same_task:
            await take(b, a, pause=pause)

    await asyncio.gather(early(), late())


def test_a_run_that_did_not_jam_shows_an_order_that_can() -> None:
    with lockdep.watch() as watch:
        asyncio.run(one_after_the_other())
    (finding,) = watch.findings()
    assert (finding.kind, finding.verdict, finding.fails) == ("order", "feasible", True)
    text = finding.text()
    assert "holds  asyncio.Lock" in text
    assert "test_watch.py" in text
    assert len(finding.participants) == 2
    assert json.loads(watch.json())[0]["kind"] == "order"
    assert len(watch.order_graph()) == 1  # both locks are of one class: created on one line


def test_without_an_await_between_it_is_latent_and_fails_nothing() -> None:
    with lockdep.watch() as watch:
        asyncio.run(one_after_the_other(pause=False))
    (finding,) = watch.findings()
    assert (finding.verdict, finding.fails) == ("latent", False)


def test_latent_becomes_feasible_when_a_third_holds_one_lock_across_an_await() -> None:
    async def program() -> None:
        a, b = asyncio.Lock(), asyncio.Lock()

        async def holder() -> None:
            async with a:
                await asyncio.sleep(0)

        await holder()
        await asyncio.gather(take(a, b, pause=False), take(b, a, pause=False))

    with lockdep.watch() as watch:
        asyncio.run(program())
    assert kinds(watch.findings()) == [("order", "feasible")]


def test_one_task_alone_is_no_cycle() -> None:
    with lockdep.watch() as watch:
        asyncio.run(one_after_the_other(same_task=True))
    assert watch.findings() == []


def test_a_gate_lock_makes_it_harmless() -> None:
    async def program() -> None:
        gate, a, b = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

        async def gated(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with gate:
                await take(first, second)

        await asyncio.gather(gated(a, b), gated(b, a))

    with lockdep.watch() as watch:
        asyncio.run(program())
    assert watch.findings() == []


@pytest.mark.parametrize("joined", [True, False])
def test_start_and_join_order_tasks(joined: bool) -> None:
    async def program() -> None:
        a, b = asyncio.Lock(), asyncio.Lock()
        child = asyncio.get_running_loop().create_task(take(a, b))
        if joined:
            await child
            await take(b, a)
        else:
            other = asyncio.get_running_loop().create_task(take(b, a))
            other_done = asyncio.wait([child, other])
            await asyncio.wait_for(other_done, 1)

    with lockdep.watch() as watch:
        try:
            asyncio.run(program())
        except TimeoutError:
            pass
    found = kinds(watch.findings())
    assert found == [] if joined else ("jam", "resolved") in found or ("order", "feasible") in found


def test_start_and_join_order_threads() -> None:
    def program(*, joined: bool) -> None:
        a, b = threading.Lock(), threading.Lock()
        ready = threading.Event()

        def body(first: threading.Lock, second: threading.Lock, wait: bool) -> None:
            if wait:
                ready.wait(5)
            with first, second:
                pass
            ready.set()

        one = threading.Thread(target=body, args=(a, b, False))
        two = threading.Thread(target=body, args=(b, a, not joined))
        one.start()
        if joined:
            one.join()
        two.start()
        one.join()
        two.join()

    with lockdep.watch() as watch:
        program(joined=True)
    assert watch.findings() == []
    with lockdep.watch() as watch:
        program(joined=False)
    assert kinds(watch.findings()) == [("order", "feasible")]


def test_a_look_before_the_acquire_and_a_timeout_are_no_waits() -> None:
    async def program() -> None:
        a, b = asyncio.Lock(), asyncio.Lock()
        turn = asyncio.Event()

        async def looks() -> None:
            async with a:
                await asyncio.sleep(0)
                if not b.locked():
                    await b.acquire()
                    b.release()
            turn.set()

        async def limits() -> None:
            await turn.wait()
            async with b:
                await asyncio.sleep(0)
                await asyncio.wait_for(a.acquire(), 1)
                a.release()
                async with asyncio.timeout(1):
                    await a.acquire()
                a.release()

        await asyncio.gather(looks(), limits())

    with lockdep.watch() as watch:
        asyncio.run(program())
    assert watch.findings() == []


def test_the_wait_that_closes_a_circle_raises_before_it_begins() -> None:
    async def program() -> None:
        a, b = asyncio.Lock(), asyncio.Lock()
        await asyncio.gather(take(a, b), take(b, a))

    with lockdep.watch(raise_on_jam=True) as watch, pytest.raises(DeadlockError, match="held by task"):
        asyncio.run(program())
    (finding,) = watch.findings()
    assert (finding.kind, finding.verdict, finding.fails) == ("jam", "stuck", True)
    assert all(participant.holds for participant in finding.participants)


def test_a_lock_taken_twice_is_reported_at_once() -> None:
    async def program() -> None:
        lock = asyncio.Lock()
        async with lock, lock:
            pass

    with lockdep.watch(raise_on_jam=True) as watch, pytest.raises(DeadlockError, match="held by itself"):
        asyncio.run(program())
    assert kinds(watch.findings()) == [("jam", "stuck")]


STANDSTILL = """
import asyncio
from harness import lockdep

async def program():
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(done.wait())
    done.set()

with lockdep.watch(raise_on_jam=True) as watch:
    try:
        asyncio.run(program())
    except asyncio.CancelledError:
        print(*[finding.summary for finding in watch.findings()], sep="\\n")
"""


def test_a_thread_from_before_a_closed_watch_is_no_way_out() -> None:
    async def program() -> None:
        await asyncio.Event().wait()

    gone = threading.Event()
    outsider = threading.Thread(target=gone.wait)
    outsider.start()
    try:
        with lockdep.watch(raise_on_jam=True, closed=True) as watch, pytest.raises(asyncio.CancelledError):
            asyncio.run(program())
    finally:
        gone.set()
        outsider.join()
    assert kinds(watch.findings()) == [("jam", "stuck")]


def test_a_loop_of_which_no_task_can_go_on_is_reported() -> None:
    # in a process of its own: any other thread of a test run might still call into the loop
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", STANDSTILL], capture_output=True, text=True, cwd=root, timeout=50, check=True
    )
    (summary,) = done.stdout.splitlines()
    assert "Event.wait" in summary
    assert "task group" in summary


def test_a_task_that_ends_with_a_lock_is_a_leak_but_a_handed_over_one_is_not() -> None:
    async def program(*, given_back: bool) -> None:
        lock = asyncio.Lock()
        await asyncio.get_running_loop().create_task(lock.acquire())
        if given_back:
            lock.release()

    with lockdep.watch() as watch:
        asyncio.run(program(given_back=False))
    assert kinds(watch.findings()) == [("leak", "leaked")]
    with lockdep.watch() as watch:
        asyncio.run(program(given_back=True))
    assert watch.findings() == []


def test_a_pool_that_waits_for_itself_raises() -> None:
    with lockdep.watch(raise_on_jam=True) as watch, concurrent.futures.ThreadPoolExecutor(1) as pool:

        def outer() -> int:
            return pool.submit(int).result()

        with pytest.raises(DeadlockError, match="work for its own pool"):
            pool.submit(outer).result(5)
    assert kinds(watch.findings()) == [("jam", "stuck")]


def test_a_loop_that_waits_for_its_own_coroutine_raises() -> None:
    async def program() -> None:
        async def nothing() -> None:
            return None

        asyncio.run_coroutine_threadsafe(nothing(), asyncio.get_running_loop()).result()

    with lockdep.watch(raise_on_jam=True), pytest.raises(DeadlockError, match="the loop it blocks"):
        asyncio.run(program())


def test_a_semaphore_that_all_holders_want_again() -> None:
    async def program() -> None:
        pool = asyncio.Semaphore(2)

        async def worker() -> None:
            async with pool:
                await asyncio.sleep(0)
                async with pool:
                    pass

        await asyncio.gather(worker(), worker())

    with lockdep.watch(raise_on_jam=True) as watch, pytest.raises(DeadlockError):
        asyncio.run(program())
    assert kinds(watch.findings()) == [("jam", "stuck")]


def test_everything_is_put_back_exactly() -> None:
    from asyncio import base_events, timeouts

    def state() -> list[object]:
        classes = (
            asyncio.Lock,
            asyncio.Semaphore,
            asyncio.TaskGroup,
            base_events.BaseEventLoop,
            timeouts.Timeout,
            threading.Thread,
            concurrent.futures.Future,
            concurrent.futures.ThreadPoolExecutor,
        )
        modules = (asyncio.wait_for, asyncio.run_coroutine_threadsafe, threading.Lock, threading.RLock)
        return [dict(vars(owner)) for owner in classes] + list(modules)

    before = state()
    watch = lockdep.watch().start()
    assert state() != before
    with pytest.raises(RuntimeError, match="another lockdep watch"):
        lockdep.watch().start()
    watch.stop()
    watch.stop()
    assert state() == before


def test_observed_thread_locks_behave_like_real_ones() -> None:
    with lockdep.watch():
        lock, again = threading.Lock(), threading.RLock()
        assert lock.acquire()
        assert lock.locked()
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=0.01)
        lock.release()
        with pytest.raises(RuntimeError):
            lock.release()
        with again, again:
            assert again.acquire(blocking=False)
            again.release()
        with pytest.raises(RuntimeError):
            again.release()
        condition = threading.Condition()
        with condition:
            assert not condition.wait(0.01)
            condition.notify_all()
    with lock, again:
        assert lock.locked()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_conflicting_orders_of_threads_are_predicted_and_say_where_each_lock_was_taken(kind: str) -> None:
    with lockdep.watch() as watch:
        one, two, turn = getattr(threading, kind)(), getattr(threading, kind)(), threading.Event()

        def take(first: threading.Lock, second: threading.Lock) -> None:
            if first is two:
                turn.wait()
            with first, second:
                pass
            turn.set()

        threads = [threading.Thread(target=take, args=order) for order in ((two, one), (one, two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert kinds(watch.findings()) == [("order", "feasible")]
    assert all("in take" in str(at) for who in watch.findings()[0].participants for _, at in who.holds)
