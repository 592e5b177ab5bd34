"""emulator/loop_thread.py, for connectors."""

from __future__ import annotations

import asyncio
import threading

import pytest

from emulator.loop_thread import LoopThread, Silent


@pytest.fixture
def thread() -> LoopThread:
    return LoopThread("mailjam-gateway-test")


async def test_functions_and_coroutines(thread: LoopThread) -> None:
    async def where() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert await thread.run(lambda: threading.current_thread().name) == "mailjam-gateway-test"
    assert await thread.run(where) == "mailjam-gateway-test"
    thread.finish()


async def test_errors_come_back(thread: LoopThread) -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    def ends() -> None:
        raise SystemExit("the end")

    with pytest.raises(ValueError, match="no"):
        await thread.run(fails)
    with pytest.raises(RuntimeError, match="the end"):
        await thread.run(ends)
    with pytest.raises(RuntimeError, match="CancelledError"):
        await thread.run(cancels_itself)
    assert await thread.run(lambda: 1) == 1
    thread.finish()
    with pytest.raises(Silent):
        await thread.run(lambda: 1)


async def test_a_caller_that_is_cancelled_cancels_the_coroutine(thread: LoopThread) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def waits() -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await thread.run(waits)
    assert not begun.is_set() or await asyncio.to_thread(ended.wait, 30)
    assert await thread.run(lambda: 1) == 1
    thread.finish()


def test_a_question_without_an_answer(thread: LoopThread) -> None:
    wake = threading.Event()
    try:
        with pytest.raises(Silent, match="no answer"):
            thread.ask(lambda: wake.wait(30), 0.01)
        with pytest.raises(Silent, match="still busy"):
            thread.ask(lambda: True, 0.01)
    finally:
        wake.set()
    assert thread._unanswered is not None
    assert thread._unanswered.result(30) is True
    assert thread.ask(lambda: 2, 30) == 2
    thread.finish()
    assert thread._thread is not None
    thread._thread.join(30)
    assert not thread._thread.is_alive()
