"""UIDBATCHES: ranges of UIDs that part a mailbox into batches of equal size (RFC 10022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from protocols.reply import Reply

from .errors import Bad, No
from .messages import selected
from .names import quote
from .scanner import Scanner
from .states import COMMANDS, SELECTED

if TYPE_CHECKING:
    from .session import ImapSession

BATCH_MESSAGES_MIN = 500
"""Of smaller batches there would be too many (RFC 10022 section 3.1.3)."""
ASKED_MESSAGES_MAX = 100_000
"""Messages that the batches asked for may hold; the least that RFC 10022 section 3.1.5 lets a server allow."""


def batches_syntax(scanner: Scanner) -> tuple[int, tuple[int, int] | None]:
    """`size [first:last]`; batch 1 holds the highest UIDs."""
    scanner.space()
    size = _positive(scanner)
    wanted = None
    if scanner.try_space():
        first = _positive(scanner)
        scanner.take(b":")
        last = _positive(scanner)
        if first > last:
            raise Bad("the first batch stands behind the last")
        wanted = (first, last)
    scanner.end()
    return size, wanted


def _positive(scanner: Scanner) -> int:
    number = scanner.number()
    if not number:
        raise Bad("batches and their sizes are counted from 1")
    return number


def batches(uids: Sequence[int], size: int, wanted: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    """(high, low) of the wanted batches of ascending UIDs, the newest first; together they leave no UID out."""
    first, last = wanted or (1, len(uids))
    for stop in range(len(uids) - (first - 1) * size, max(len(uids) - last * size, 0), -size):
        high = uids[stop] - 1 if stop < len(uids) else uids[-1]
        yield high, uids[stop - size] if stop > size else 1


@COMMANDS.command("UIDBATCHES", states=SELECTED, syntax=batches_syntax, capability="UIDBATCHES")
async def uidbatches(session: ImapSession, arguments: tuple[int, tuple[int, int] | None]) -> Reply:
    """RFC 10022 section 3.1. There is a response even where there is no batch."""
    size, wanted = arguments
    if size < BATCH_MESSAGES_MIN:
        raise No(f"a batch has at least {BATCH_MESSAGES_MIN} messages", code=b"TOOFEW")
    if wanted is not None and (wanted[1] - wanted[0] + 1) * size > ASKED_MESSAGES_MAX:
        raise No(f"batches for {ASKED_MESSAGES_MAX} messages can be asked for at once", code=b"TOOMANY")
    ranges = b",".join([b"%d:%d" % part for part in batches(selected(session).uids, size, wanted)])
    session.send(b"* UIDBATCHES (TAG %b)%b\r\n" % (quote(session.tag), b" " + ranges if ranges else b""))
    return session.ok(b"UIDBATCHES completed")
