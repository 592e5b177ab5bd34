"""The plugin as its users meet it: projects in temporary folders, run by a pytest of their own."""

from __future__ import annotations

import asyncio
import os
import re
import smtplib
import subprocess
import sys
import textwrap
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from harness.testing.fixture import MailJam, NotArrived


def run_project(folder: Path, **files: str) -> str:
    """Write files (`test_x` is test_x.py) and run pytest on them, with our plugin and asyncio's: its output."""
    for name, text in files.items():
        (folder / (name if "." in name else f"{name}.py")).write_text(textwrap.dedent(text))
    plugins = ("-p", "pytest_mailjam", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *plugins],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


SENDING = """
    import smtplib
    from email.message import EmailMessage

    def send(address, subject="hello", to="bob@example.com", text="hi"):
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "a@example.org", to, subject
        message.set_content(text)
        with smtplib.SMTP(*address) as client:
            client.send_message(message)
"""
CONFTEST = """
    import pytest

    @pytest.fixture(scope="session")
    def mailjam_settings():
        return {"users": ["alice:secret"], "groups": ["misc.test"]}
"""
FIRST = """
    import sys

    def test_nothing_of_ours_is_imported():
        assert not [name for name in sys.modules if name.split(".")[0] in ("harness", "emulator", "protocols")]
"""
FIXTURES = """
    import asyncio, imaplib, poplib
    from sending import send

    def test_wait(mailjam):
        send(mailjam.smtp, "your code", text="code: 493817")
        message = mailjam.wait(to="bob", subject="code")
        assert message.otp() == "493817"
        assert message.properties["PR_SUBJECT"] == "your code"

    def test_is_empty_again(mailjam):
        assert mailjam.messages == []

    def test_user_over_imap(mailjam):
        user = mailjam.user()
        send(mailjam.smtp, to=user.address)
        mailjam.wait(to=user.address)
        with imaplib.IMAP4(*mailjam.imap) as client:
            client.login(user.name, user.password)
            assert client.select("INBOX")[1] == [b"1"]

    def test_put(mailjam):
        assert mailjam.put(mailjam.message("x", attachments=[("a.bin", b"1")]), "alice") == [1]
        (message,) = mailjam.messages
        assert [a.filename for a in message.attachments] == ["a.bin"]
        client = poplib.POP3(*mailjam.pop3)
        client.user("alice"), client.pass_("secret")
        assert client.stat()[0] == 1
        client.quit()

    def test_group(mailjam):
        name = mailjam.group()
        mailjam.put(mailjam.message("article"), name)
        assert [m.recipients for m in mailjam.messages] == [(name,)]

    def test_smtpd(smtpd):
        send((smtpd.hostname, smtpd.port))
        assert len(smtpd.messages) == 1
        assert smtpd.messages[0]["Subject"] == "hello"
        assert smtpd.config.port == smtpd.port

    def test_smtpserver(smtpserver):
        send(smtpserver.addr)
        assert len(smtpserver.outbox) == 1

    def test_server(mailjam_server):
        assert mailjam_server.smtp.port > 0

    async def test_wait_for(mailjam):
        waiting = asyncio.ensure_future(mailjam.wait_for(subject="later"))
        await asyncio.to_thread(send, mailjam.smtp, "later")
        assert (await waiting).subject == "later"
        assert len(mailjam.messages) == 1
"""
LEAKS = """
    import smtplib, socket
    from sending import send

    def test_session(mailjam):
        test_session.client = smtplib.SMTP(*mailjam.smtp)

    def test_fault(mailjam):
        mailjam.fault("error command=RCPT")

    def test_section(mailjam):
        gate = mailjam.hold("inbound.imail.held", count=1)
        send(mailjam.smtp)
        gate.wait_until_held()

    def test_nothing(mailjam):
        send(mailjam.smtp)

    def test_allowed(mailjam):
        mailjam.allow("sessions")
        test_allowed.client = socket.create_connection(mailjam.smtp)
        assert test_allowed.client.recv(3) == b"220"
"""
FAILURE = """
    from sending import send

    def test_near_miss(mailjam):
        send(mailjam.smtp, "wrong subject")
        mailjam.wait(subject="right", timeout=0.2)
"""
JAM = """
    import imaplib, threading
    from sending import send

    def test_jam(mailjam):
        mailjam.allow("sessions", "sections")
        mailjam.set_build("sp4")
        mailjam.put(mailjam.message("x"), "alice")
        inbound = mailjam.hold("inbound.imail.held", actor="inbound", count=1)
        outbound = mailjam.hold("outbound.directory.held", actor="imap", count=1)
        send(mailjam.smtp)
        inbound.wait_until_held()
        client = imaplib.IMAP4(*mailjam.imap, timeout=2)
        client.login("alice", "secret"), client.select()

        def fetch():
            try:
                client.fetch("1", "(BODY[])")
            except OSError:
                pass
        reader = threading.Thread(target=fetch)
        reader.start()
        outbound.wait_until_held()
        inbound.release(), outbound.release()
        reader.join()
        assert mailjam.jam()["jammed"]

    def test_after_the_jam(mailjam):
        assert not mailjam.jam()["jammed"]
        send(mailjam.smtp)
        assert mailjam.wait().subject == "hello"
"""
PASSING = (
    *("nothing_of_ours_is_imported", "wait", "is_empty_again", "user_over_imap", "put", "group", "smtpd", "smtpserver"),
    *("server", "wait_for", "nothing", "allowed", "jam", "after_the_jam"),
)


def test_a_project_that_uses_all_of_it(tmp_path: Path) -> None:
    # One run for all: each start of a pytest costs seconds.
    output = run_project(
        tmp_path,
        **{"pytest.ini": "[pytest]\nasyncio_mode = auto\nmailjam_fixtures = smtpd smtpserver\n"},
        sending=SENDING,
        conftest=CONFTEST,
        test_1_first=FIRST,
        test_2_fixtures=FIXTURES,
        test_3_leaks=LEAKS,
        test_4_failure=FAILURE,
        test_5_jam=JAM,
    )
    errors = re.findall(r"^ERROR test_\d_\w+\.py::test_(\w+)", output, re.MULTILINE)
    passed = re.findall(r"^PASSED test_\d_\w+\.py::test_(\w+)$", output, re.MULTILINE)
    failed = re.findall(r"^FAILED test_\d_\w+\.py::test_(\w+)", output, re.MULTILINE)
    assert errors == ["session", "fault", "section"], output
    assert set(passed) - set(errors) == set(PASSING), output
    assert failed == ["near_miss"], output
    _check_leaks(output)
    _check_failure(output)


def _check_leaks(output: str) -> None:
    assert "session still open: smtp-" in output
    assert "fault never struck: error command=RCPT" in output
    assert "section held: imail by inbound-" in output


def _check_failure(output: str) -> None:
    assert "no message within 0.2 s: subject='right'" in output
    assert "subject 'wrong subject'" in output
    assert "mailjam session" in output
    assert "S: 250 2.1.5 OK" in output
    assert "concurrent/futures" not in output


def test_wrong_settings_are_told_in_a_line(tmp_path: Path) -> None:
    ini = "[pytest]\nmailjam_build = sp9\n"
    output = run_project(tmp_path, **{"pytest.ini": ini}, test_it="def test_it(mailjam): pass\n")
    assert "mailjam_settings: unknown build 'sp9'" in output


# --- in this process --------------------------------------------------------------------------------------------------


def _send(mailjam: MailJam, subject: str = "hello", **fields: Any) -> None:
    message = mailjam.message(subject, **fields)
    with smtplib.SMTP(*mailjam.smtp) as client:
        client.send_message(message)


def test_waits_return_each_message_once(mailjam: MailJam) -> None:
    _send(mailjam, "a")
    _send(mailjam, "a")
    first, second = mailjam.wait(subject="a"), mailjam.wait(subject="a")
    assert first.id != second.id
    with pytest.raises(NotArrived):
        mailjam.wait(subject="a", timeout=0.05)


def test_a_wait_after_resets(mailjam: MailJam) -> None:
    for _ in range(20):
        mailjam.finish()
        mailjam.begin()
    message = EmailMessage()
    message["To"] = "bob@example.com"
    with smtplib.SMTP(*mailjam.smtp) as client:
        client.sendmail("a@example.org", ["bob@example.com"], b"Subject: x\r\n\r\nx\r\n")
        mailjam.wait(timeout=5)


def test_clock_advances_past_the_idle_limit(mailjam: MailJam) -> None:
    client = smtplib.SMTP(*mailjam.smtp, timeout=10)
    mailjam.clock.advance(minutes=6)
    assert client.noop()[0] == 421
    client.close()


def test_snapshot_and_restore(mailjam: MailJam) -> None:
    mailjam.put(mailjam.message("before"), "alice")
    name = mailjam.snapshot()
    mailjam.put(mailjam.message("after"), "alice", "bob@example.com")
    mailjam.trick("expunge", folder="alice", uids=[1])
    mailjam.restore(name)
    assert [message.subject for message in mailjam.messages] == ["before"]
    assert "bob@example.com" not in mailjam.server.store.mailboxes


async def test_waiting_is_signalled_after_the_reply(mailjam: MailJam) -> None:
    fault = mailjam.fault("delay", protocol="smtp", command="DATA", stage="reply", seconds=60)
    reader, writer = await asyncio.open_connection(*mailjam.smtp)
    assert (await reader.readline()).startswith(b"220 ")
    writer.write(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
    writer.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
    with pytest.raises(NotArrived):
        await mailjam.wait_for(to="bob", timeout=0.2)
    assert fault.fired == 1
    mailjam.clock.advance(61)
    assert (await mailjam.wait_for(to="bob")).subject == "x"
    assert b"250 2.0.0 OK" in await reader.readuntil(b"queued as")
    writer.close()
    await writer.wait_closed()
