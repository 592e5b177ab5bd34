from __future__ import annotations

import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from emulator.config import SettingsError
from harness.testing.fixture import MailJam, settings_from
from harness.testing.handles import later
from harness.testing.running import RunningServer


@pytest.fixture(scope="module")
def mailjam_server() -> Iterator[RunningServer]:
    """Ended with this module: while another thread runs a loop, the detectors of later tests cannot be sure."""
    running = RunningServer(settings_from({}))
    running.start()
    yield running
    running.stop()


def send(mailjam: MailJam, subject: str = "hello", to: str = "bob@example.com") -> None:
    with smtplib.SMTP(*mailjam.smtp) as client:
        client.send_message(mailjam.message(subject, to=to))


def seen(mailjam: MailJam) -> dict[str, Any]:
    """Whatever one test could see of another."""
    jam = {key: value for key, value in mailjam.jam().items() if key in ("jammed", "build", "waits", "queues")}
    server, bench = mailjam.server, mailjam._system.workbench
    return {
        "users": server.directory.users,
        "mailboxes": sorted(server.store.mailboxes),
        "groups": sorted(server.store.newsgroups),
        "annotations": dict(server.store.annotations),
        "messages": [message.subject for message in mailjam.messages],
        "contents": len(server.store._contents),
        "transcripts": len(mailjam.transcripts) + len(bench.transcripts.since(0)),
        "faults": [str(active.fault) for active in bench.faults],
        "strikes": len(bench.faults.strikes()),
        "gates": len(bench.named_gates),
        "snapshots": [each.name for each in bench.snapshots if "baseline" not in each.name],
        "jam": jam,
        "services": [state.value for state in server.states().values()],
        "defects": sorted(server.build.defects),
        "quota": server.store.settings.mailbox_bytes_max,
        "login": server.services.settings.login_required,
        "offset": server.clock.offset,
        "accepted": server.inbound.accepted_count,
        "outbound": len(server.outbound.entries),
        "violations": dict(server.sections.violations),
        "bad": list(bench.archive.bad),
        "failures": list(server.scheduler.failures),
    }


def disturb(mailjam: MailJam) -> None:
    """Leave as much behind as a test can."""
    bench = mailjam._system.workbench
    mailjam.allow("sessions", "sections", "faults", "tasks")
    alice = mailjam.user("alice")
    mailjam.group("misc.test")
    mailjam.put(mailjam.message("article"), "misc.test")
    mailjam.fault("delay", protocol="smtp", command="EHLO", seconds=0.001)
    send(mailjam, to=alice.address)
    mailjam.wait(to="alice")
    mailjam.hold("outbound.imail.held")
    mailjam.run(later(bench.add_gate, "gateway.convert", "*", None))
    mailjam.snapshot("mine")
    mailjam.trick("quota", octets=10)
    mailjam.clock.advance(hours=5)
    mailjam.run(mailjam.server.store.annotate("server", "/comment", b"x"))
    bench.tricks.set_internal_date(mailjam.server.store.mailboxes["alice"].inbox.messages[0], 1.0)
    mailjam.run(later(bench.close_gates))
    mailjam.trick("quota", octets=0)
    mailjam.run(bench.jamming.jam())
    assert mailjam.jam()["jammed"]


def test_the_next_test_finds_nothing_of_this_one(mailjam_server: RunningServer) -> None:
    mailjam_server.call(mailjam_server.server.directory.add_user("carol", "secret"))
    first = MailJam(mailjam_server)
    first.begin()
    fresh, addresses = seen(first), dict(first.server.addresses)
    assert fresh["users"] == ("carol",)
    for _ in range(2):
        disturb(first)
        first.finish()
        first.begin()
        assert seen(first) == fresh
        assert first.server.addresses == addresses
        send(first, to="carol")
        first.wait(to="carol")
        assert first.server.store.mailboxes["carol"].inbox.messages[0].uid == 1
    assert first.finish() == []


def test_what_runs_at_the_same_time_is_kept_apart(mailjam: MailJam) -> None:
    other = mailjam.tenant()
    fresh = seen(other)
    assert other.smtp != mailjam.smtp
    disturb(mailjam)
    assert seen(other) == fresh
    send(other)
    assert other.wait(to="bob").subject == "hello"
    assert mailjam.jam()["queues"] != other.jam()["queues"]


def test_tests_in_threads(mailjam_server: RunningServer) -> None:
    def one(number: int) -> list[str]:
        mine = MailJam(mailjam_server)
        mine.begin()
        try:
            for turn in range(3):
                send(mine, f"{number}.{turn}")
                mine.wait(to="bob")
            return [message.subject for message in mine.messages]
        finally:
            assert mine.finish() == []

    with ThreadPoolExecutor(4) as pool:
        for number, subjects in enumerate(pool.map(one, range(12))):
            assert subjects == [f"{number}.{turn}" for turn in range(3)]


def test_a_fork_goes_its_own_way(mailjam: MailJam) -> None:
    alice = mailjam.user("alice")
    mailjam.put(mailjam.message("before"), "alice")
    fork = mailjam.fork()
    mailjam.put(mailjam.message("here"), "alice")
    fork.put(fork.message("there"), "alice")
    assert [m.subject for m in mailjam.messages] == ["before", "here"]
    assert [m.folder.owner.name for m in fork.server.store.mailboxes["alice"].inbox.messages] == ["alice"] * 2
    assert fork.server.directory.authenticate("alice", alice.password) == "alice"
    assert [m.subject for m in fork.messages] == ["there"]


def test_settings_reach_every_level() -> None:
    settings = settings_from({"users": ["a:b"], "groups": ["x.y"], "personality": "exchange55", "message_bytes_max": 9})
    assert settings.accounts[0].name == "a"
    assert settings.groups == ("x.y",)
    assert settings.front_end.personality == "exchange55"
    assert settings.front_end.limits.message_bytes_max == 9
    with pytest.raises(SettingsError, match="no setting 'colour'"):
        settings_from({"colour": 1})


def test_factories_faults_and_report(mailjam: MailJam) -> None:
    first, second = mailjam.user(), mailjam.user()
    assert first.name != second.name
    fault = mailjam.fault("jam", protocol="pop3")
    assert (fault.fired, fault.holding, fault.fault.section) == (0, 0, "imail")
    mailjam.allow("faults")
    with pytest.raises(ValueError, match="no leak 'x'"):
        mailjam.allow("x")
    assert mailjam.report() == []
