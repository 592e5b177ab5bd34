from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from emulator.server import Server
from harness.faults import Fault, FaultError
from harness.faults.engine import Faults, as_text
from harness.workbench import Workbench
from protocols.actor import Actor


@pytest.fixture
async def faults(start_server: Callable[..., Awaitable[Server]]) -> Faults:
    return Workbench.of(await start_server()).faults


def session(faults: Faults, protocol: str = "smtp", user: str = "") -> Any:
    made = SimpleNamespace(protocol=protocol, user=user, actor=Actor(protocol))
    faults.session_opened(made)
    return made


def struck(faults: Faults, one: Any, command: str, arguments: bytes = b"") -> bool:
    return bool(faults.matching(one, command, arguments))


async def test_counts_over_sessions_or_in_each(faults: Faults) -> None:
    faults.add("error command=RCPT nth=2")
    each = faults.add("error command=NOOP nth=2 per=session times=1")
    first, second = session(faults), session(faults)
    assert [struck(faults, one, "RCPT") for one in (first, second, first)] == [False, True, False]
    assert [struck(faults, one, "NOOP") for one in (first, second, first, second, first)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert each.fired == 2


async def test_scope(faults: Faults) -> None:
    faults.add("error protocol=imap command='UID *' user=al* arguments='*FLAGS*' times=0")
    alice, bob = session(faults, "imap", "alice"), session(faults, "imap", "bob")
    assert struck(faults, alice, "UID FETCH", b"1 (flags)")
    assert not struck(faults, bob, "UID FETCH", b"1 (FLAGS)")
    assert not struck(faults, alice, "FETCH", b"1 (FLAGS)")
    assert not struck(faults, alice, "UID FETCH", b"1 (UID)")


async def test_a_recording_strikes_at_the_same_occasions(faults: Faults) -> None:
    faults.add("error command=RCPT one_in=3 seed=5 times=0")
    sessions = [session(faults) for _ in range(3)]
    occasions = [(number, turn) for turn in range(10) for number in range(3)]
    first = [struck(faults, sessions[number], "RCPT") for number, _ in occasions]
    script = faults.recorded()
    faults.clear()
    faults.load(script)
    sessions = [session(faults) for _ in range(3)]
    # another interleaving of the sessions changes nothing: a recording counts in each
    order = sorted(occasions)
    again = {(number, turn): struck(faults, sessions[number], "RCPT") for number, turn in order}
    assert [again[occasion] for occasion in occasions] == first
    assert not faults.unused()


async def test_what_a_removed_fault_did_is_recorded_too(faults: Faults) -> None:
    active = faults.add("error command=RCPT times=0")
    assert struck(faults, session(faults), "RCPT")
    faults.remove(active.name)
    assert [str(fault) for fault in faults.recorded()] == ["error command=RCPT per=session session=1"]
    assert len(faults.strikes()) == 1
    faults.clear()
    assert faults.recorded() == []


async def test_a_fault_of_fetch_is_one_of_uid_fetch_too(faults: Faults) -> None:
    faults.add("error command=FETCH times=0")
    assert struck(faults, session(faults, "imap"), "UID FETCH")
    faults.clear()
    faults.add("error command='UID FETCH' times=0")
    assert not struck(faults, session(faults, "imap"), "FETCH")


async def test_limits_and_mistakes(faults: Faults) -> None:
    with pytest.raises(FaultError, match="no section 'x': there are imail"):
        faults.add("jam section=x")
    with pytest.raises(FaultError, match="did you mean RCPT"):
        faults.add("error command=RCTP")
    with pytest.raises(FaultError, match="did you mean RCPT"):
        faults.load([Fault("error"), Fault("error", command="RCTP")])
    with pytest.raises(FaultError, match="no more than 1000 faults"):
        faults.load([Fault("error")] * 1001)
    assert len(faults) == 0
    assert not faults.remove("f99")
    active = faults.add(Fault("hang"))
    assert faults.unused() == [active]
    assert faults.remove(active.name)


def test_arguments_as_text() -> None:
    assert as_text(b"a\xff") == "a�"
    assert as_text(SimpleNamespace(pieces=(b"a", 1, b"b"))) == "a b"
