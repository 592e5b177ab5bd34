"""Every verb of the fault language with each protocol, met by the clients that people use; then replayed.

A run is recorded, written as a script, read back, and loaded into a fresh system: what client and server say to each
other, and how it ends for the client, has to be the same, octet for octet (times and random names apart).
"""

from __future__ import annotations

import contextlib
import gc
import imaplib
import importlib
import poplib
import re
import smtplib
import ssl
import warnings
from collections.abc import Callable, Iterator

import pytest

from harness.faults.model import STAGES, read_script, write_script
from harness.testing.fixture import MailJam, settings_from
from harness.testing.handles import later
from harness.testing.running import RunningServer

pytestmark = pytest.mark.interop

PATIENCE_SECONDS = 30.0
SHORT_PATIENCE_SECONDS = 1.2
"""Where nothing comes until the client gives up."""
TLS = {"smtp": "STARTTLS", "pop3": "STLS", "imap": "STARTTLS", "nntp": "STARTTLS"}
STRUCK = {"smtp": "DATA", "pop3": "RETR", "imap": "FETCH", "nntp": "ARTICLE"}
SETTINGS = {
    "delay": "seconds=0.05",
    "hang": "seconds=0.05",
    "error": "",
    "throttle": "bytes_per_second=20000",
    "trickle": "",
    "disconnect": "",
    "reset": "",
    "half-close": "",
    "stall-tls": "",
    "truncate": "octets=5",
    "lose-reply": "",
    "duplicate": "",
    "corrupt": "octets=3 seed=7",
    "drop-untagged": "text='*FETCH*'",
    "jam": "section=imail",
}
LASTING = {"stall-tls", "jam"}
"""They end when they are released; the client gives up first."""
HARMLESS = {"delay", "hang", "throttle", "trickle"}
"""The client gets what it asked for, later."""
FATAL = {"error", "disconnect", "reset", "stall-tls", "truncate", "lose-reply"}
"""The client does not get what it asked for."""
_VOLATILE = re.compile(
    rb"que\w+ as \S+|\d{4}-\d\d-\d\dT[\d:.]+Z|<[^<>\s]+@[^<>\s]+>|UIDVALIDITY \d+|[\w-]+=_?[0-9a-f]{8,}|"
    rb"\d\d? \w{3} \d{4} \d\d:\d\d:\d\d|MAILBOXID \(\S+\)|ID=\S+|\[127\.0\.0\.1\]:\d+|^[A-Z]{4}(?=\d+ )",
    re.MULTILINE,
)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def smtp(mailjam: MailJam, tls: bool, patience: float) -> str:
    with smtplib.SMTP(*mailjam.smtp, timeout=patience) as client:
        client.ehlo("client")
        if tls:
            client.starttls(context=_context())
        return str(client.sendmail("a@example.org", ["alice@example.com"], b"Subject: x\r\n\r\nhello\r\n"))


def pop3(mailjam: MailJam, tls: bool, patience: float) -> str:
    client = poplib.POP3(*mailjam.pop3, timeout=patience)
    try:
        if tls:
            client.stls(_context())
        client.user("alice")
        client.pass_("secret")
        lines = client.retr(1)[1]
        client.quit()
        return repr(lines)
    finally:
        client.close()


def imap(mailjam: MailJam, tls: bool, patience: float) -> str:
    client = imaplib.IMAP4(*mailjam.imap, timeout=patience)
    client._cmd_log = {}  # type: ignore[attr-defined]  # it keeps no dialogue of other sessions
    try:
        if tls:
            client.starttls(_context())
        client.login("alice", "secret")
        client.select("INBOX")
        return repr(client.fetch("1", "(BODY.PEEK[])")[1])
    finally:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            client.shutdown()


def nntp(mailjam: MailJam, tls: bool, patience: float) -> str:
    module = importlib.import_module("nntp")
    mode = module.nntp.SSLMode.STARTTLS if tls else module.nntp.SSLMode.IMPLICIT
    client = module.NNTPClient(*mailjam.nntp, timeout=patience, use_ssl=tls, ssl_mode=mode, reader=False)
    try:
        client.group("misc.test")
        article = client.article(1)
        client.quit()
        return repr((article[0], dict(article[1]), article[2]))
    finally:
        with contextlib.suppress(OSError, EOFError, module.NNTPError):
            client.close()


CLIENTS: dict[str, Callable[[MailJam, bool, float], str]] = {"smtp": smtp, "pop3": pop3, "imap": imap, "nntp": nntp}
MATRIX = [(verb, protocol) for verb in STAGES for protocol in CLIENTS if verb != "drop-untagged" or protocol == "imap"]


@pytest.fixture(scope="module")
def mailjam_server() -> Iterator[RunningServer]:
    running = RunningServer(settings_from({"users": ["alice:secret"], "groups": ["misc.test"], "preemption": None}))
    running.start()
    yield running
    running.stop()


def outcome(mailjam: MailJam, protocol: str, verb: str) -> tuple[str, list[tuple[str, bytes]]]:
    """How it ends for the client, and what was said."""
    mailjam.put(b"From: a@example.org\r\nSubject: abcdefgh\r\n\r\n" + b"0123456789\r\n" * 20, "alice", "misc.test")
    mailjam.run(later(mailjam.server.converter.forget_converted))
    patience = SHORT_PATIENCE_SECONDS if verb in LASTING else PATIENCE_SECONDS
    try:
        found = CLIENTS[protocol](mailjam, verb == "stall-tls", patience)
    except Exception as problem:  # each client has exceptions of its own: they are what is compared
        found = type(problem).__name__ + ": " + re.sub(r"0x[0-9a-f]+|que\w+ as .*", "*", str(problem))
    with warnings.catch_warnings():  # clients that fail in the middle leave their sockets to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    for active in list(mailjam._system.workbench.faults):
        mailjam.run(later(active.release))
    mailjam.allow("sessions")
    mailjam.run(mailjam._sessions_end())
    (transcript,) = [one for one in mailjam.transcripts if one.protocol == protocol]
    said = [(side, _VOLATILE.sub(b"*", octets)) for side, octets in transcript.dialogue()]
    if verb in LASTING and said[-1][0] == "S":  # what is said when it is released: nobody is there any more
        said.pop()
    return found, said


@pytest.mark.parametrize(("verb", "protocol"), MATRIX)
def test_a_client_meets_the_fault_and_its_replay(mailjam: MailJam, verb: str, protocol: str) -> None:
    if protocol == "nntp":  # before a fault is armed, which would be left unused
        pytest.importorskip("nntp", reason="pip install pynntp")
    command = TLS[protocol] if verb == "stall-tls" else STRUCK[protocol]
    if (verb, protocol) == ("corrupt", "smtp"):
        command = "RCPT"  # the reply to DATA has the queue's name for the message, another one in each run
    fault = mailjam.fault(f"{verb} protocol={protocol} command={command} {SETTINGS[verb]}")
    first = outcome(mailjam, protocol, verb)
    assert fault.fired == 1
    script = write_script(mailjam.recorded_faults())
    again = mailjam.tenant()
    again.run(later(again._system.workbench.faults.load, read_script(script)))
    assert outcome(again, protocol, verb) == first
    if verb in HARMLESS:
        assert "Error" not in first[0]
        assert "abcdefgh" in first[0] or protocol == "smtp"
    elif verb not in ("duplicate", "corrupt", "drop-untagged", "half-close", "jam") and protocol not in (
        "imap",
        "smtp",
    ):
        assert re.match(r"\w+: ", first[0]), first[0]
