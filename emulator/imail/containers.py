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
_BARE_FROM = re.compile(rb"^From ", re.MULTILINE)
_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_BLANK_LINE = re.compile(rb"(?:\A|\n)\r?\n")
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*([0-9]{1,12})[ \t\r]*$")
_NEXT_MESSAGE = re.compile(rb"((?:\r?\n){0,2})(?:\Z|(?<=\n)From )")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def is_mbox(octets: bytes) -> bool:
    """Whether a file is a mailbox of messages rather than one message."""
    return octets.startswith(b"From ")


def split_mbox(octets: bytes) -> Iterator[bytes]:
    """Messages of an mbox file. A message that begins after no blank line is not one. Linear.

    `>From ` is unquoted (mboxrd, mboxo, mboxcl). Where a Content-Length counts to the end of a message, it is believed
    (mboxcl, mboxcl2); a body counted so that holds a bare `From ` was never quoted (mboxcl2).
    """
    starts = [
        (match.start(), match.end(), match.start() == 0 or _ends_blank(octets, match.start()))
        for match in _FROM_LINE.finditer(octets)
    ]
    ends = [len(octets)]
    """Where the next one begins that stands after a blank line, the last one first."""
    for start, _, separate in reversed(starts):
        ends.append(start if separate else ends[-1])
    behind, next_start = 0, 0
    for index, (start, begin, separate) in enumerate(starts):
        if start < behind or not (separate or start == next_start):
            continue
        behind, next_start = _counted_end(octets, begin)
        if behind:
            message = octets[begin:behind]
            yield message if _BARE_FROM.search(message) else _QUOTED_FROM.sub(rb"\1", message)
            continue
        message = octets[begin : ends[len(starts) - index - 1]]
        # the blank line before the next "From " belongs to the mailbox
        for ending in (b"\r\n\r\n", b"\n\n"):
            if message.endswith(ending):
                message = message[: len(message) - len(ending) // 2]
                break
        yield _QUOTED_FROM.sub(rb"\1", message)


def _ends_blank(octets: bytes, end: int) -> bool:
    return octets[max(end - 3, 0) : end].endswith((b"\n\n", b"\n\r\n"))


def _counted_end(octets: bytes, begin: int) -> tuple[int, int]:
    """Where the message that begins there ends by its Content-Length, and where the next `From ` would stand.

    Zeros where the field says nothing, or is wrong.
    """
    blank = _BLANK_LINE.search(octets, begin)
    count = None if blank is None else _CONTENT_LENGTH.search(octets, begin, blank.start() + 1)
    if blank is None or count is None:
        return 0, 0
    end = blank.end() + int(count[1])
    match = _NEXT_MESSAGE.match(octets, end) if end <= len(octets) else None
    return (0, 0) if match is None else (end, match.end(1))


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
    return [file for name in ("cur", "new") for file in sorted((path / name).iterdir()) if _is_message(file)]


def _is_message(file: Path) -> bool:
    return file.name[:1] != "." and file.is_file()
