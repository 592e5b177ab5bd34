"""What some builds' front-ends do in their own way: which class a build has. The effects: tests/harness/scenarios."""

from __future__ import annotations

import pytest

from emulator.builds import DEFAULT_BUILD, find_build
from emulator.defects import DEFECTS
from emulator.quirks import RELAY_QUIRKS, SESSION_QUIRKS, session_class, without_last_line_end
from emulator.scheduling import AsyncioScheduler
from emulator.thread_pool import ThreadPool
from protocols.imap.session import ImapSession
from protocols.nntp import NntpSession
from protocols.pop3 import Pop3Session


def pool_of(threads_max: int | None) -> ThreadPool:
    return ThreadPool("test", AsyncioScheduler(), None, threads_max)


def test_every_quirk_that_a_defect_names_exists() -> None:
    named = {quirk for defect in DEFECTS for quirk in defect.quirks}
    assert named == SESSION_QUIRKS.keys() | RELAY_QUIRKS


@pytest.mark.parametrize("base", [ImapSession, NntpSession, Pop3Session])
def test_a_build_without_quirks_has_the_front_ends_own_class(base: type) -> None:
    assert session_class(base, find_build(DEFAULT_BUILD), pool_of(None)) is base


def test_each_front_end_has_its_own_quirks() -> None:
    build = find_build("rtm")
    assert session_class(Pop3Session, build, pool_of(None)) is Pop3Session
    assert issubclass(session_class(ImapSession, build, pool_of(None)), ImapSession)
    assert session_class(ImapSession, build, pool_of(None)) is not ImapSession
    assert session_class(NntpSession, build, pool_of(None)) is not NntpSession


def test_with_a_bounded_pool_every_front_end_takes_threads() -> None:
    assert session_class(Pop3Session, find_build(DEFAULT_BUILD), pool_of(5)) is not Pop3Session


def test_only_a_quoted_printable_end_loses_its_line_end() -> None:
    head = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: "
    quoted, plain = head + b"quoted-printable\r\n\r\n=1A\r\n", head + b"7bit\r\n\r\na\r\n"
    assert without_last_line_end(quoted) == quoted.removesuffix(b"\r\n")
    assert without_last_line_end(plain) == plain
