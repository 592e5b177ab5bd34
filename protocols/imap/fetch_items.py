"""What FETCH asks for (RFC 9051 section 6.4.5), read into a plan that is kept for the next FETCH like it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from protocols.mime.structure import Part

from .dates import format_date_time
from .envelope import body, bodystructure, envelope
from .errors import Bad
from .flags import format_flags
from .records import thread_id
from .scanner import Scanner
from .sections import Section, decode_part, find_part, scan_section
from .sequence import MODSEQ_MAX, NUMBER_MAX
from .texts import preview_value
from .view import View

ITEMS_MAX = 200

T = TypeVar("T")
Derive = Callable[[bytes, Part], bytes]


@dataclass(frozen=True, slots=True)
class ContentItem:
    """A piece of the message itself."""

    label: bytes
    section: Section
    start: int = -1
    length: int = 0
    binary: bool = False
    size_only: bool = False

    @property
    def needs_part(self) -> bool:
        """Whether the structure is needed, not the octets alone."""
        return bool(self.section.path or self.section.what or self.binary)

    def cut(self, octets: bytes, part: Part | None) -> tuple[bytes, bytes]:
        """What stands before the octets, and the octets. Raises No [UNKNOWN-CTE]."""
        found: bytes | None
        if part is None:
            found = octets
        elif self.binary and self.section.path:
            inner = find_part(part, self.section.path)
            found = None if inner is None or inner.type == "multipart" else decode_part(octets, inner)
        else:
            found = self.section.cut(octets, part)
        if self.size_only:
            return b"%b %d" % (self.label, len(found or b"")), b""
        if found is None:
            return self.label + b" NIL", b""
        if self.start >= 0:
            found = found[self.start : self.start + self.length]
        if self.binary and b"\0" in found:
            return b"%b ~{%d}\r\n" % (self.label, len(found)), found
        return b"%b {%d}\r\n" % (self.label, len(found)), found


@dataclass(frozen=True, slots=True)
class IndexItem:
    """An item that the index of the folder answers."""

    template: bytes
    """Name and value as they are sent, with a place for the value."""
    values: Callable[[View, Sequence[Any]], Sequence[Any]]
    """The values of messages, all at once: thousands are asked for together."""

    def of(self, view: View, message: Any) -> bytes:
        """Name and value for one message."""
        shown: bytes = self.template % self.values(view, [message])[0]
        return shown


@dataclass(frozen=True, slots=True)
class Step:
    """One item of the plan: exactly one of the three is there."""

    name: str
    index: IndexItem | None = None
    derived: tuple[str, Derive] | None = None
    content: ContentItem | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All items of one FETCH."""

    steps: tuple[Step, ...]
    sets_seen: bool = False
    needs_octets: bool = False
    needs_part: bool = False
    has_flags: bool = False
    has_modseq: bool = False
    text: str = ""
    """For reports: `BODY[]`."""
    uid_implied: bool = False
    """Whether the first step, UID, is there for the command's sake and was not asked for."""
    has_uid: bool = False

    def as_asked(self) -> Plan:
        """Without what was not asked for: in a UIDFETCH the UID stands in front (RFC 9586 section 3.3)."""
        return replace(self, steps=self.steps[1:], uid_implied=False) if self.uid_implied else self


@dataclass(frozen=True, slots=True)
class Modifiers:
    """What stands in parentheses behind the items."""

    changed_since: int | None = None
    vanished: bool = False
    partial: tuple[int, int] | None = None
    """RFC 9394: positions in the result, 1 the first, -1 the last."""


def _flags(view: View, messages: Sequence[Any]) -> list[bytes]:
    if view.recent and not view.session.rev2:
        return [view.flags_of(message) for message in messages]
    return [format_flags(message.flags) for message in messages]


def _uids(view: View, messages: Sequence[Any]) -> list[int]:
    return [message.uid for message in messages]


def _internal_dates(view: View, messages: Sequence[Any]) -> list[bytes]:
    return [format_date_time(message.internal_date, message.zone_minutes) for message in messages]


def _save_dates(view: View, messages: Sequence[Any]) -> list[bytes]:
    return [format_date_time(message.save_date, 0) for message in messages]


def _sizes(view: View, messages: Sequence[Any]) -> list[int]:
    return [message.content.size for message in messages]


def _modseqs(view: View, messages: Sequence[Any]) -> list[int]:
    return [message.modseq for message in messages]


def _email_ids(view: View, messages: Sequence[Any]) -> list[bytes]:
    return [message.email_id.encode() for message in messages]


FLAGS_STEP = Step("FLAGS", IndexItem(b"FLAGS %b", _flags))
UID_STEP = Step("UID", IndexItem(b"UID %d", _uids))
MODSEQ_STEP = Step("MODSEQ", IndexItem(b"MODSEQ (%d)", _modseqs))

_STEPS = {
    b"FLAGS": FLAGS_STEP,
    b"UID": UID_STEP,
    b"MODSEQ": MODSEQ_STEP,
    b"INTERNALDATE": Step("INTERNALDATE", IndexItem(b"INTERNALDATE %b", _internal_dates)),
    b"SAVEDATE": Step("SAVEDATE", IndexItem(b"SAVEDATE %b", _save_dates)),
    b"RFC822.SIZE": Step("RFC822.SIZE", IndexItem(b"RFC822.SIZE %d", _sizes)),
    b"EMAILID": Step("EMAILID", IndexItem(b"EMAILID (%b)", _email_ids)),
    b"THREADID": Step(
        "THREADID",
        derived=("imap.fetch.threadid", lambda octets, part: b"THREADID (%b)" % thread_id(octets, part).encode()),
    ),
    b"ENVELOPE": Step("ENVELOPE", derived=("imap.envelope", lambda octets, part: b"ENVELOPE " + envelope(part))),
    b"BODYSTRUCTURE": Step(
        "BODYSTRUCTURE", derived=("imap.bodystructure", lambda octets, part: b"BODYSTRUCTURE " + bodystructure(part))
    ),
    b"BODY": Step("BODY", derived=("imap.body", lambda octets, part: b"BODY " + body(part))),
    b"PREVIEW": Step(
        "PREVIEW", derived=("imap.preview", lambda octets, part: b"PREVIEW " + preview_value(octets, part))
    ),
    b"RFC822": Step("RFC822", content=ContentItem(b"RFC822", Section())),
    b"RFC822.HEADER": Step("RFC822.HEADER", content=ContentItem(b"RFC822.HEADER", Section(what="HEADER"))),
    b"RFC822.TEXT": Step("RFC822.TEXT", content=ContentItem(b"RFC822.TEXT", Section(what="TEXT"))),
}
_SETS_SEEN = frozenset({b"RFC822", b"RFC822.TEXT"})
_MACROS = {
    b"ALL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE"),
    b"FAST": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"),
    b"FULL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"),
}
_WORD = re.compile(rb"[A-Za-z0-9.]+")
_PARTIAL = re.compile(rb"<([0-9]{1,20})(?:\.([0-9]{1,20}))?>")
_POSITION = re.compile(rb"-?[1-9][0-9]{0,9}")


class _Reader:
    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.steps: dict[tuple[str, bytes], Step] = {}
        self.sets_seen = False
        self.uid_implied = False

    def add(self, step: Step) -> None:
        self.steps[step.name, step.content.label if step.content else b""] = step
        if len(self.steps) > ITEMS_MAX:
            raise Bad("there are too many items")

    def item(self, *, macros: bool) -> None:
        scanner = self.scanner
        word = (scanner.try_match(_WORD) or b"").upper()
        if macros and word in _MACROS:
            for name in _MACROS[word]:
                self.add(_STEPS[name])
        elif scanner.peek() == 0x5B and word in (b"BODY", b"BODY.PEEK", b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE"):
            self.section(word)
        elif word in _STEPS:
            if word == b"UID":
                self.uid_implied = False
            self.add(_STEPS[word])
            self.sets_seen |= word in _SETS_SEEN
            if word == b"PREVIEW" and scanner.looks_like(b" (LAZY)"):
                scanner.space()
                scanner.take(b"(")
                scanner.word()
                scanner.take(b")")
        else:
            raise Bad("unknown item")

    def section(self, word: bytes) -> None:
        scanner = self.scanner
        scanner.take(b"[")
        section = scan_section(scanner)
        scanner.take(b"]")
        binary = word.startswith(b"BINARY")
        if binary and section.what:
            raise Bad("BINARY takes part numbers alone")
        size_only = word == b"BINARY.SIZE"
        label = b"%b[%b]" % (b"BINARY.SIZE" if size_only else b"BINARY" if binary else b"BODY", section.label)
        start, length = -1, 0
        if not size_only and scanner.peek() == 0x3C:
            partial = scanner.try_match(_PARTIAL)
            match = _PARTIAL.fullmatch(partial or b"")
            if match is None or (match[2] is None and not binary):
                raise Bad("a partial reads like <0.100>")
            # BINARY[1]<40>, all from octet 40 on, is outside the grammar of RFC 3516, but imaptest and Dovecot have it.
            start, length = int(match[1]), int(match[2] or NUMBER_MAX)
            if not 0 < length <= NUMBER_MAX or start > NUMBER_MAX:
                raise Bad("a partial has a length of at least 1, and 32-bit numbers")
            label += b"<%d>" % start
        if not word.endswith((b".PEEK", b".SIZE")):
            self.sets_seen = True
        self.add(Step(word.decode(), content=ContentItem(label, section, start, length, binary, size_only)))

    def plan(self, text: str) -> Plan:
        steps = tuple(self.steps.values())
        contents = [step.content for step in steps if step.content]
        return Plan(
            steps,
            self.sets_seen,
            bool(contents),
            any(item.needs_part for item in contents),
            FLAGS_STEP in steps,
            MODSEQ_STEP in steps,
            text,
            self.uid_implied,
            UID_STEP in steps,
        )


def read_items(scanner: Scanner, *, with_uid: bool) -> Plan:
    """Items: one, a macro, or a list in parentheses. Raises Bad."""
    reader = _Reader(scanner)
    if with_uid:
        reader.add(UID_STEP)
        reader.uid_implied = True
    if scanner.try_take(b"("):
        scanner.skip_spaces()
        reader.item(macros=True)  # a macro in parentheses is not in the grammar, but clients send it
        while not scanner.try_take(b")"):
            scanner.space()
            if scanner.try_take(b")"):
                break
            reader.item(macros=True)
    else:
        reader.item(macros=True)
    return reader.plan(
        " ".join(name if not label else label.decode("ascii", "replace") for name, label in reader.steps)
    )


def read_modifiers(scanner: Scanner) -> Modifiers:
    """`(CHANGEDSINCE n VANISHED)`, `(PARTIAL 1:100)`. Raises Bad."""
    changed_since, vanished, partial = None, False, None
    scanner.take(b"(")
    while True:
        word = scanner.word()
        if word == b"CHANGEDSINCE":
            scanner.space()
            changed_since = scanner.number(MODSEQ_MAX)
        elif word == b"VANISHED":
            vanished = True
        elif word == b"PARTIAL":
            scanner.space()
            partial = read_partial(scanner)
        else:
            raise Bad("unknown modifier")
        if scanner.try_take(b")"):
            break
        scanner.space()
    if vanished and changed_since is None:
        raise Bad("VANISHED needs CHANGEDSINCE")
    return Modifiers(changed_since, vanished, partial)


def read_partial(scanner: Scanner) -> tuple[int, int]:
    """`1:100` or `-1:-100` (RFC 9394 section 3.1)."""
    first = scanner.try_match(_POSITION)
    scanner.take(b":")
    last = scanner.try_match(_POSITION)
    if first is None or last is None or (first[0] == 0x2D) != (last[0] == 0x2D):
        raise Bad("a range reads like 1:100 or -1:-100")
    low, high = sorted((int(first), int(last)))
    return low, high


@lru_cache(maxsize=512)
def read_text(text: bytes, with_uid: bool) -> tuple[Plan, Modifiers]:
    """Items and modifiers of a FETCH without literals, kept for the next time. Raises Bad."""
    scanner = Scanner((text,))
    plan = read_items(scanner, with_uid=with_uid)
    modifiers = Modifiers()
    if scanner.try_space():
        modifiers = read_modifiers(scanner)
    scanner.end()
    return plan, modifiers


def cut_partial(found: Sequence[T], partial: tuple[int, int]) -> Sequence[T]:
    """The part of a result that PARTIAL names."""
    low, high = partial
    if low > 0:
        return found[low - 1 : high]
    start, stop = len(found) + low, len(found) + high + 1
    return found[max(start, 0) : max(stop, 0)]
