"""Who takes part in a scenario, by the words of `--actors`."""

from __future__ import annotations

import pytest

from harness.participants import UnknownParticipant, actor_names, parse_kinds


@pytest.mark.parametrize("text", ["", "smtp,nobody", "pop3=x", "pop3=0", "pop3=99"])
def test_unknown_participants_are_named(text: str) -> None:
    with pytest.raises(UnknownParticipant):
        parse_kinds(text)


def test_counts_and_names() -> None:
    assert parse_kinds("smtp=2, append fetch") == ("smtp", "smtp", "append", "fetch")
    assert actor_names(("append", "pop3", "fetch")) == ("imap-1", "pop3-1", "imap-2")
