"""Files that hold messages: mbox and Maildir (RFC 4155; the Maildir of qmail), octets in and octets out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from .addresses import mailboxes
from .inbound import inbound

_FROM_LINE = re.compile(rb"(?:\A|(?<=\n))From [^\r\n]*\r?\n")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def is_mbox(octets: bytes) -> bool:
    """Whether a file is a mailbox of messages rather than one message."""
    return octets.startswith(b"From ")


def split_mbox(octets: bytes) -> Iterator[bytes]:
    """Messages of an mbox file, `>From ` unquoted (mboxrd). A message that begins after no blank line is not one."""
    starts = [
        match
        for match in _FROM_LINE.finditer(octets)
        if match.start() == 0 or octets[max(match.start() - 3, 0) : match.start()].endswith((b"\n\n", b"\n\r\n"))
    ]
    for index, match in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(octets)
        message = octets[match.end() : end]
        # the blank line before the next "From " belongs to the mailbox
        for ending in (b"\r\n\r\n", b"\n\n"):
            if message.endswith(ending):
                message = message[: len(message) - len(ending) // 2]
                break
        yield _QUOTED_FROM.sub(rb"\1", message)


def join_mbox(messages: Iterable[bytes]) -> bytes:
    """An mbox file (mboxrd quoting, LF line ends, as mail programs on Unix keep it)."""
    parts: list[bytes] = []
    for octets in messages:
        headers = inbound(octets).structure.headers
        people = mailboxes(headers.get(b"return-path") or headers.get(b"from"), 1)
        sender = people[0][1] if people and people[0][1].isascii() else ""
        now = datetime(1970, 1, 1, tzinfo=UTC)
        stamp = f"{_DAYS[now.weekday()]} {_MONTHS[now.month - 1]} {now.day:2} {now:%H:%M:%S %Y}"
        parts.append(f"From {sender.replace(' ', '') or 'MAILER-DAEMON'} {stamp}\n".encode("ascii", "replace"))
        body = _FROM.sub(rb">\1", octets.replace(b"\r\n", b"\n"))
        parts += [body, b"" if body.endswith(b"\n") else b"\n", b"\n"]
    return b"".join(parts)


def is_maildir(path: Path) -> bool:
    """Whether a folder is a Maildir."""
    return (path / "cur").is_dir() and (path / "new").is_dir()


def maildir_files(path: Path) -> list[Path]:
    """Files of the messages of a Maildir, the new ones last."""
    return [file for name in ("cur", "new") for file in sorted((path / name).iterdir()) if file.is_file()]
