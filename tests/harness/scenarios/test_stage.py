"""The stage: a running server, real clients, and what can be seen."""

from __future__ import annotations

import asyncio

from emulator.builds import DEFAULT_BUILD
from harness.scenarios.stage import Stage, mail


async def test_a_healthy_server_delivers_and_answers() -> None:
    async with Stage(DEFAULT_BUILD) as stage:
        assert not await stage.can_read(), "there is nothing to read yet"
        await stage.prepare_reader()
        await stage.send(mail("hello"))
        assert await stage.delivered()
        assert await stage.can_read()
        assert stage.stopped() == []
        assert stage.owners() == "no section is held"


async def test_what_never_ends_is_seen() -> None:
    async with Stage(DEFAULT_BUILD) as stage:
        assert not await stage.answers(asyncio.get_running_loop().create_future())
        assert await stage.answers(asyncio.sleep(0))
