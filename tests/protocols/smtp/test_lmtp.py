"""LMTP has SMTP's commands but for three (RFC 2033 section 4.1)."""

from __future__ import annotations

from protocols.smtp import LmtpSession, SmtpSession


def test_commands() -> None:
    smtp = {command.verb for command in SmtpSession.commands}
    lmtp = {command.verb for command in LmtpSession.commands}
    assert smtp - lmtp == {"HELO", "EHLO", "ETRN"}
    assert lmtp - smtp == {"LHLO"}
