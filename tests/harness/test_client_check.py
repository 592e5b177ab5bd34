"""Clients against a server that stalls: when they give up, what is lost and what is doubled."""

from __future__ import annotations

import sys

import pytest

from harness.cli import main
from harness.client_check import check, judge

SENDER = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=0.7) as client:
    client.sendmail("bob@example.com", ["alice@example.com"], "Subject: x\\r\\n\\r\\n" + "A line.\\r\\n" * 100)
"""


def test_judgement() -> None:
    assert judge(1, 0, 0, 0).startswith("LOST: the client reported success")
    assert judge(1, 1, 1, 2).startswith("DUPLICATED")
    assert judge(1, 1, 0, 0).startswith("LOST: not stored")
    assert judge(1, 1, 0, 1) == "nothing lost, nothing duplicated"


@pytest.mark.timeout(90)
async def test_a_sender_gives_up_and_doubles_only_after_data() -> None:
    reports = {report.stage: report for report in await check([sys.executable, "-c", SENDER, "{smtp_port}"], 20)}
    assert not reports["login"].reached
    for stage in ("greeting", "mid-body", "after-data"):
        report = reports[stage]
        assert report.reached, report.line()
        assert report.gave_up_seconds is not None
        assert 0.3 < report.gave_up_seconds < 15
        assert report.exit_code == 1
    assert reports["greeting"].verdict.startswith("nothing lost")
    assert reports["mid-body"].verdict.startswith("nothing lost")
    assert reports["after-data"].verdict.startswith("DUPLICATED"), reports["after-data"].line()


@pytest.mark.timeout(60)
async def test_a_reader_that_never_gives_up_is_told() -> None:
    script = "import poplib, sys; c = poplib.POP3('127.0.0.1', int(sys.argv[1])); c.user('alice'); c.pass_('secret')"
    (report,) = await check([sys.executable, "-c", script, "{pop3_port}"], 4, ("login",))
    assert report.reached
    assert report.gave_up_seconds is None
    assert "never gave up, killed" in report.line()


APPENDER = """
import imaplib, sys
client = imaplib.IMAP4("127.0.0.1", int(sys.argv[1]), timeout=0.7)
client.login("alice", "secret")
client.append("INBOX", None, None, b"Subject: x\\r\\n\\r\\n" + b"A line.\\r\\n" * 100)
"""

PIPELINER = """
import socket, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=0.7)
replies = peer.makefile("rb")
replies.readline()
peer.sendall(b"HELO x\\r\\nMAIL FROM:<b@example.com>\\r\\nRCPT TO:<alice@example.com>\\r\\nDATA\\r\\n")
for _ in range(4):
    replies.readline()
peer.sendall(b"Subject: x\\r\\n\\r\\n" + b"A line.\\r\\n" * 100 + b".\\r\\n")
assert replies.readline().startswith(b"250")
"""

FETCHER = """
import poplib, sys
client = poplib.POP3("127.0.0.1", int(sys.argv[1]), timeout=0.7)
client.user("alice")
client.pass_("secret")
client.retr(1)
client.dele(1)
client.quit()
"""


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("script", "port"), [(APPENDER, "{imap_port}"), (PIPELINER, "{smtp_port}")])
async def test_uploads_are_cut_in_every_way_of_sending(script: str, port: str) -> None:
    command = [sys.executable, "-c", script, port]
    reports = {report.stage: report for report in await check(command, 20, ("mid-body", "after-data"))}
    assert reports["mid-body"].reached
    assert reports["mid-body"].verdict.startswith("nothing lost"), reports["mid-body"].line()
    assert reports["after-data"].reached
    assert reports["after-data"].verdict.startswith("DUPLICATED"), reports["after-data"].line()


def test_a_reader_that_removes_what_it_does_not_have_loses_it() -> None:
    assert judge(0, 1, 0, 0, waiting_kept=False).startswith("LOST: the client removed the message")


@pytest.mark.timeout(60)
async def test_a_fetch_is_cut_and_the_message_stays() -> None:
    (report,) = await check([sys.executable, "-c", FETCHER, "{pop3_port}"], 20, ("mid-body",))
    assert report.reached
    assert report.waiting_kept
    assert report.verdict.startswith("nothing lost"), report.line()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([sys.executable, "-c", "pass"], "never connected: give it a port of ours, such as {smtp_port}"),
        ([sys.executable, "-c", "pass", "{smpt_port}"], "unknown {smpt_port}: there are {host}, {smtp_port}"),
    ],
)
def test_a_client_that_cannot_find_the_server_is_not_judged(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["client-check", "--seconds", "20", "--stage", "greeting", "--", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_a_client_that_fails_anyway_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.exit(3)"
    words = ["client-check", "--seconds", "20", "--stage", "mid-body", "--", sys.executable, "-c", script]
    assert main([*words, "{pop3_port}"]) == 3
    assert "inconclusive: without any stall" in capsys.readouterr().err
