"""The arguments of the core commands."""

from __future__ import annotations

import pytest

from protocols.smtp.commands import PathArguments, lookup_argument, mail_arguments, rcpt_arguments
from protocols.smtp.grammar import Refusal
from protocols.smtp.session import SmtpSession


def test_mail_and_rcpt() -> None:
    assert mail_arguments(b"from:<>  size=1 X") == PathArguments("", {"SIZE": "1", "X": None})
    assert rcpt_arguments(b"TO:<@a.example:b@c.example>") == PathArguments("b@c.example", {})
    with pytest.raises(Refusal):
        rcpt_arguments(b"TO:<>")


@pytest.mark.parametrize("text", [b"alice", b"<alice>", b" alice SMTPUTF8 "])
def test_lookup(text: bytes) -> None:
    assert lookup_argument(text) == "alice"


def test_every_command_has_its_usage() -> None:
    for command in SmtpSession.commands:
        assert command.usage.startswith(command.verb)
        assert len(command.usage) < 80
