from __future__ import annotations

import pytest

from harness.faults import Fault, FaultError
from harness.faults.vocabulary import check_names, check_point, commands, points


@pytest.mark.parametrize(
    "line",
    [
        "error command=RCPT",
        "error command=rcpt",
        "error command=*",
        "error command=FET* protocol=imap",
        "error command='UID FETCH'",
        "error command=CONNECT protocol=nntp",
        "error command=XOVER",
        "hang stage=inbound.imail.held",
        "hang stage=*.directory.wanted",
    ],
)
def test_names_that_are(line: str) -> None:
    check_names(Fault.from_text(line))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("error command=RCTP", "no protocol has a command 'RCTP': did you mean RCPT?"),
        ("error command=RETR protocol=smtp", "smtp has no command 'RETR': pop3 has it"),
        ("hang stage=inbound.imail.hold", "no point 'inbound.imail.hold': did you mean inbound.imail.held?"),
    ],
)
def test_names_that_are_not(line: str, words: str) -> None:
    with pytest.raises(FaultError, match=words.replace("?", r"\?")):
        check_names(Fault.from_text(line))


def test_points_and_commands() -> None:
    assert {"inbound.read", "outbound.emit", "notification.directory.wanted", "conversion.rewind"} <= points()
    check_point("inbound.*")
    assert {"MAIL", "STARTTLS", "CONNECT"} <= commands()["smtp"]
    assert "UID FETCH" in commands()["imap"]
