"""The dialogue without any I/O: driven by hand, no event loop."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from protocols.ports import NotPermitted, OverQuota, PortError, Rejected, Services, Unavailable
from protocols.reader import Buffer
from protocols.settings import FrontEndSettings
from protocols.smtp import LmtpSession, SmtpSession


class Wire:
    """A connection that is a list of what arrives, and what was said."""

    peer = "127.0.0.1:4711"
    tls = False
    tls_available = False
    compressed = False

    def __init__(self, *arrivals: bytes) -> None:
        self.buffer = Buffer()
        self.arrivals = list(arrivals)
        self.said = b""
        self.writes = 0
        self.session: Any = None

    def write(self, pieces: Sequence[bytes]) -> None:
        self.said += b"".join(pieces)
        self.writes += 1

    async def drain(self) -> None: ...

    async def more(self, seconds_max: float | None) -> bool:
        if not self.arrivals:
            return False
        self.buffer.feed(self.arrivals.pop(0))
        return True

    def poke(self) -> None: ...

    def channel_binding(self, kind: str) -> bytes | None:
        return None

    def close(self) -> None: ...


class Post:
    """A submission port that remembers, or raises."""

    extensions = frozenset({"DSN"})

    def __init__(self, error: PortError | None = None) -> None:
        self.error = error
        self.messages: list[tuple[str, list[str], bytes, dict[str, Any]]] = []

    def check_recipient(self, address: str) -> None: ...

    async def start_queue(self, node: str) -> int:
        return 0

    async def submit(self, reverse_path: str, recipients: Sequence[str], octets: bytes, options: Any = None) -> str:
        if self.error is not None:
            raise self.error
        self.messages.append((reverse_path, list(recipients), octets, options))
        return "HBWK2Q2P"


class Nobody:
    has_secrets = False
    has_tokens = False

    def find(self, address: str) -> None: ...


class StoppedClock:
    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None: ...


class Silence:
    def publish(self, event: Any) -> None: ...


def finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never really waits."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def talk(*arrivals: bytes, post: Post | None = None, kind: type[SmtpSession] = SmtpSession, **settings: Any) -> Wire:
    wire = Wire(*arrivals)
    front_end = FrontEndSettings(hostname="h", **settings)
    services = Services(None, None, Nobody(), post or Post(), StoppedClock(), Silence(), front_end)  # type: ignore[arg-type]
    wire.session = kind(wire, services)  # type: ignore[arg-type]
    finish(wire.session.run())
    return wire


START = b"EHLO c\r\n"
ENVELOPE = b"MAIL FROM:<a@x> RET=HDRS\r\nRCPT TO:<b@x> NOTIFY=NEVER\r\n"


def test_a_message_with_its_trace_field_and_options() -> None:
    post = Post()
    wire = talk(START, ENVELOPE + b"DATA\r\n", b"Subject: x\r\n\r\n..y\r\n.\r\nQUIT\r\n", post=post)
    ((reverse_path, recipients, octets, options),) = post.messages
    assert (reverse_path, recipients) == ("a@x", ["b@x"])
    assert options == {"ret": "HDRS", "recipients": {"b@x": {"notify": []}}}
    trace, _, rest = octets.partition(b"+0000\r\n")
    assert trace.startswith(b"Received: from c ([127.0.0.1])\r\n\tby h (mailjam) with ESMTP id ")
    assert b"\r\n\tfor <b@x>; Thu, 1 Jan 1970 00:00:00 " in trace
    assert rest == b"Subject: x\r\n\r\n.y\r\n"
    assert wire.said.endswith(b"250 2.0.0 OK: queued as HBWK2Q2P\r\n221 2.0.0 h closing connection\r\n")
    assert wire.session.how_ended == "logout"


def test_replies_are_written_once_per_batch() -> None:
    wire = talk(START, ENVELOPE + b"DATA\r\n", b"x\r\n.\r\n" + ENVELOPE + b"RSET\r\nQUIT\r\n")
    assert wire.writes == 4  # the greeting; EHLO's; up to 354; the rest


def test_a_peer_that_vanishes_in_a_message_delivers_nothing() -> None:
    post = Post()
    wire = talk(START, ENVELOPE + b"DATA\r\n", b"half a mess", post=post)
    assert post.messages == []
    assert wire.session.how_ended == "peer closed"


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (Unavailable("later"), b"452 4.3.1 later\r\n"),
        (OverQuota("full"), b"552 5.2.2 full\r\n"),
        (Rejected("never"), b"554 5.6.0 never\r\n"),
        (NotPermitted("no"), b"550 5.7.1 no\r\n"),
        (PortError("odd"), b"451 4.3.0 odd\r\n"),
    ],
)
def test_what_cannot_be_kept_is_not_acknowledged(error: PortError, reply: bytes) -> None:
    wire = talk(START, ENVELOPE + b"DATA\r\n", b"x\r\n.\r\nRCPT TO:<b@x>\r\n", post=Post(error))
    assert reply + b"503 5.5.1 need MAIL first\r\n" in wire.said
    wire = talk(
        b"LHLO c\r\n", ENVELOPE + b"RCPT TO:<c@x>\r\nDATA\r\n", b"x\r\n.\r\n", post=Post(error), kind=LmtpSession
    )
    assert wire.said.endswith(reply * 2)


def test_a_stop_in_the_middle_of_a_message() -> None:
    class Stopping(Wire):
        async def more(self, seconds_max: float | None) -> bool:
            if not self.arrivals:
                self.session.request_shutdown()
                return True
            return await super().more(seconds_max)

    wire = Stopping(START, ENVELOPE + b"DATA\r\n", b"half")
    services = Services(None, None, Nobody(), Post(), StoppedClock(), Silence(), FrontEndSettings(hostname="h"))  # type: ignore[arg-type]
    wire.session = SmtpSession(wire, services)  # type: ignore[arg-type]
    finish(wire.session.run())
    assert wire.said.endswith(b"421 4.3.2 h closing connection: service is shutting down\r\n")


def test_enhanced_codes_are_not_for_the_old_personality() -> None:
    wire = talk(START, b"EHLO\r\nQUIT\r\n", personality="exchange55")
    assert b"\r\n501 syntax" in wire.said


def test_replies_are_ascii_without_smtputf8() -> None:
    said = talk("EHLO gr\u00fc\u00dfe\r\n".encode(), "VRFY gr\u00fc\u00dfe\r\n".encode()).said
    assert said.isascii()
