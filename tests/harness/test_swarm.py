"""Without a broker; what needs one stands in tests/mqtt."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness.swarm import Plan, Result, parse_target, work


def test_targets() -> None:
    assert parse_target("mail:1,2,3,4") == ("mail", {"smtp": 1, "pop3": 2, "imap": 3, "nntp": 4})
    assert parse_target("[::1]:25") == ("::1", {"smtp": 25})
    with pytest.raises(SettingsError, match="--target"):
        parse_target("mail:x")


def test_plans_are_checked() -> None:
    with pytest.raises(SettingsError, match="no scenario"):
        Plan("r", "x", "h", {}).check()
    with pytest.raises(SettingsError, match="needs the port of imap"):
        Plan("r", "jam", "h", {"smtp": 25}).check()
    with pytest.raises(SettingsError, match="clients"):
        Plan("r", "submit", "h", {"smtp": 25}, clients=0).check()


def test_results_travel_and_add_up() -> None:
    one = Result(hung=1, seconds=2.0)
    one.add("smtp message", 0.01)
    one.problems["OSError: x"] += 1
    other = Result.from_dict(json.loads(json.dumps(one.as_dict())))
    one.merge(other)
    assert (one.hung, one.latencies["smtp message"].total, one.problems["OSError: x"]) == (2, 2, 2)
    assert "hung: 2" in one.lines()


async def test_an_agent_works_on_a_target(start_server: Callable[..., Awaitable[Server]]) -> None:
    server = await start_server(users=["swarm:swarm"], groups=["misc.test"])
    ports = {name: server.addresses[name][1] for name in ("smtp", "pop3", "imap", "nntp")}
    result = await work(Plan("r", "mixed", "127.0.0.1", ports, clients=4, seconds=0.5), 0)
    assert result.hung == 0
    assert not result.problems
    assert {"smtp message", "nntp post"} <= set(result.latencies)
