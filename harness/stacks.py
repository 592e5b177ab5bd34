"""Where an actor stands: the chain of awaits of its coroutine, from the outermost frame to the innermost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

from protocols.actor import Actor

FRAMES_MAX = 100


def await_stack(actor: Actor) -> list[str]:
    """`file.py:LINE in function` of each frame, outermost first; empty when the actor has ended or never began."""
    runner = actor.stack_of
    if isinstance(runner, asyncio.Task):
        runner = runner.get_coro()
    frames = []
    for _ in range(FRAMES_MAX):
        frame, runner = _step(runner)
        if frame is None:
            break
        code = frame.f_code
        frames.append(f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_qualname}")
    return frames


def _step(runner: Any) -> tuple[FrameType | None, Any]:
    """The frame of a suspended coroutine or generator, and what it awaits."""
    if isinstance(runner, CoroutineType):
        return runner.cr_frame, runner.cr_await
    if isinstance(runner, AsyncGeneratorType):
        return runner.ag_frame, runner.ag_await
    if isinstance(runner, GeneratorType):
        return runner.gi_frame, runner.gi_yieldfrom
    return None, None
