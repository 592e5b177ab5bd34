from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from emulator.server import Server
from harness.testing.fork import fork

from .test_snapshots import disturb, state

StartServer = Callable[..., Awaitable[Server]]


async def test_a_fork_is_equal_and_then_goes_its_way(start_server: StartServer) -> None:
    server = await start_server(users=["alice:secret"], groups=["misc.test"])
    draw = random.Random(3)
    for _ in range(40):
        await disturb(server, draw)
    before = state(server)
    copy = await fork(server)
    try:
        assert state(copy) == before
        assert copy.directory.authenticate("alice", "secret") == "alice"
        assert copy.addresses["imap"] != server.addresses["imap"]
        for _ in range(20):
            await disturb(copy, draw)
        assert state(server) == before
    finally:
        await copy.kill()
