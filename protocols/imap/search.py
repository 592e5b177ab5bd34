"""SEARCH with ESEARCH, SEARCHRES, PARTIAL and CONDSTORE (RFC 9051 section 6.4.4, RFC 4731, 5182, 9394, 7162)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from itertools import compress
from operator import and_
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMessage, PortError
from protocols.reply import Reply

from .context import Context, begin, check_tag
from .errors import Bad
from .fetch_items import Plan, cut_partial, read_items, read_partial
from .folder_index import MESSAGES_MAX, index_of
from .messages import require_uid, selected
from .names import quote
from .progress import Progress
from .records import SEARCH_KEY, search_records
from .scanner import Scanner
from .search_keys import ALL, Key, KeyReader, Loaded, charset_codec
from .sequence import format_ordered, format_set, list_numbers
from .states import COMMANDS, SELECTED
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

SCAN_OCTETS = 65536
"""Message octets looked at before other sessions have their turn."""
SCAN_MESSAGES = 500
"""Records made before other sessions have their turn."""
CHUNK_MESSAGES = 20000
"""Messages whose flags, dates and records are compared before other sessions have their turn: some 5 ms."""

INDEXED_MESSAGES_MIN = 500
"""Smaller mailboxes are searched message by message: that is as fast, and nothing is kept of them."""


@dataclass(frozen=True, slots=True)
class Found:
    """Messages with their numbers, in the order of the answer."""

    numbers: Sequence[int]
    messages: list[Any]

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return iter(zip(self.numbers, self.messages, strict=True))

    def uids(self) -> list[int]:
        """The UIDs."""
        return [message.uid for message in self.messages]

    def shown(self, *, by_uid: bool) -> Sequence[int]:
        """What the peer is told: UIDs or message numbers."""
        return self.uids() if by_uid else self.numbers

    def part(self, start: int, stop: int) -> Found:
        """Some of them."""
        return Found(self.numbers[start:stop], self.messages[start:stop])

    def where(self, matches: Iterable[bool]) -> Found:
        """Those for which it is true."""
        chosen = list(matches)
        if all(chosen):
            return self
        return Found(list(compress(self.numbers, chosen)), list(compress(self.messages, chosen)))


@dataclass(slots=True)
class Options:
    """What RETURN asks for (RFC 4731 section 3.1)."""

    extended: bool = False
    wanted: set[str] = field(default_factory=set)
    save: bool = False
    partial: tuple[int, int] | None = None
    update: bool = False
    plan: Plan | None = None
    """Items wanted of new messages that match (RFC 5465 section 7)."""


@dataclass(slots=True)
class Searching:
    """The arguments of SEARCH; the keys are read when the command runs, for `$` and numbers depend on the view."""

    options: Options
    scanner: Scanner
    charset: bytes | None


_RETURN = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE", "PARTIAL", "UPDATE", "CONTEXT"})


def read_options(scanner: Scanner) -> Options:
    """`RETURN (MIN MAX …)` if it is there; the space behind it is taken."""
    options = Options()
    if not scanner.try_word(b"RETURN"):
        return options
    options.extended = True
    scanner.space()
    scanner.take(b"(")
    scanner.skip_spaces()
    while not scanner.try_take(b")"):
        word = scanner.word().decode("ascii")
        if word not in _RETURN:
            raise Bad("unknown result option")
        if word == "SAVE":
            options.save = True
        elif word == "UPDATE":
            options.update = True
            if scanner.looks_like(b" ("):
                scanner.space()
                options.plan = read_items(scanner, with_uid=False)
        elif word == "PARTIAL":
            if options.partial is not None:
                raise Bad("one PARTIAL is enough")
            scanner.space()
            options.partial = read_partial(scanner)
        elif word != "CONTEXT":
            options.wanted.add(word)
        if scanner.peek() != 0x29:
            scanner.space()
    if options.partial is not None and "ALL" in options.wanted:
        raise Bad("PARTIAL and ALL cannot be combined")
    if not options.wanted and not options.save and not options.update and options.partial is None:
        options.wanted.add("ALL")
    scanner.space()
    return options


def search_syntax(scanner: Scanner) -> Searching:
    """`[RETURN (…)] [CHARSET x] keys`."""
    scanner.space()
    options = read_options(scanner)
    charset = None
    if scanner.try_word(b"CHARSET"):
        scanner.space()
        charset = scanner.astring()
        scanner.space()
    return Searching(options, scanner, charset)


def read_program(session: ImapSession, scanner: Scanner, charset: bytes | None, *, pinned: bool = False) -> Key:
    """The keys of a search; `pinned`: what has a number now is meant for good. Raises Bad, No [BADCHARSET]."""
    codec = charset_codec(charset) if charset is not None else "utf-8"
    return KeyReader(scanner, selected(session), session.services.clock.time(), codec, pinned=pinned).program()


@COMMANDS.command("SEARCH", states=SELECTED, syntax=search_syntax)
async def search(session: ImapSession, searching: Searching) -> Reply:
    """RFC 9051 section 6.4.4."""
    view = selected(session)
    options = searching.options
    by_uid = require_uid(session)
    charset = searching.charset
    if charset is not None and "UTF8=ACCEPT" in session.enabled and charset.upper() != b"UTF-8":
        raise Bad("after ENABLE UTF8=ACCEPT the charset is UTF-8")
    if options.update:
        check_tag(session, view)
    try:
        program = read_program(session, searching.scanner, charset, pinned=options.update)
        found = await run(session, view, program)
    except PortError:
        if options.save:
            view.saved = []  # RFC 5182 section 2.1: a search that is answered NO leaves an empty result
        raise
    if options.save:
        view.saved = to_save(found, options)
    if options.update:
        begin(session, view, Context(session.tag, program, found.uids(), by_uid=by_uid, plan=options.plan))
    uses_modseq = program.uses_modseq
    if not options.extended and session.rev2:
        options.wanted.add("ALL")  # RFC 9051 section 6.4.4: the result is an ESEARCH response in any case
    if not options.extended and not session.rev2:
        numbers = list_numbers(found.shown(by_uid=by_uid)) if found else b""
        session.send(plain_result(b"SEARCH", numbers, found, with_modseq=uses_modseq))
    elif options.wanted or options.update or options.partial is not None:
        session.send(extended_result(session.tag, found, options, by_uid=by_uid, with_modseq=uses_modseq))
    return session.ok(session.verb + b" completed")


def to_save(found: Found, options: Options) -> list[int]:
    """RFC 5182 section 2.4, RFC 9394 section 3.2: without COUNT or ALL what MIN, MAX and PARTIAL named is saved."""
    uids = found.uids()
    if not uids or options.wanted - {"MIN", "MAX"} or not (options.wanted or options.partial is not None):
        return sorted(uids)
    saved = set(cut_partial(uids, options.partial)) if options.partial is not None else set()
    saved.update([uids[0]] if "MIN" in options.wanted else [])
    saved.update([uids[-1]] if "MAX" in options.wanted else [])
    return sorted(saved)


async def run(session: ImapSession, view: View, program: Key) -> Found:
    """Messages that match, in ascending order. Expunged ones are left out (RFC 2180 section 4.1)."""
    keys = [key for key in program.all_of or (program,) if key is not ALL]
    progress = Progress(session, view.count)
    indexed = await _by_index(session, view, program, keys, progress)
    if indexed is not None:
        found, keys = indexed
        if not keys:
            return found
    else:
        found = _candidates(view, program)
    found = await _by_flags(found, [key for key in keys if key.level == 0], progress)
    recorded = [key for key in keys if key.level == 1]
    if recorded and found:
        found = await _by_record(session, found, recorded, progress)
    tests = [key.test for key in keys if key.level == 2]
    return await _by_content(session, found, tests) if tests else found


async def _by_index(
    session: ImapSession, view: View, program: Key, keys: list[Key], progress: Progress
) -> tuple[Found, list[Key]] | None:
    """What the folder's index finds by some of the keys, and the other keys. None: it is not the fastest, or can't."""
    if (
        not INDEXED_MESSAGES_MIN <= view.count <= MESSAGES_MAX
        or program.numbers is not None
        or program.uids is not None
    ):
        return None
    columns = [key.column for key in keys if key.column is not None]
    if not view.in_step or (keys and not columns):
        return None
    index = index_of(session, view.folder)
    if any(key.level and key.column is not None for key in keys):
        try:
            await index.load(session, progress)
        except NoSuchMessage:
            return None
        if not view.in_step or index.gone:  # others had their turn while records were made
            return None
    bits = reduce(and_, [column(index) for column in columns], index.all())
    return _of_column(view, bits.to_bytes(view.count, "little")), [key for key in keys if key.column is None]


def _of_column(view: View, column: bytes) -> Found:
    """Messages at which the column is 1."""
    count = column.count(1)
    if count == len(column):
        return Found(range(1, count + 1), view.messages[:])
    if count * 16 > len(column):
        return Found(list(compress(range(1, len(column) + 1), column)), list(compress(view.messages, column)))
    numbers = []
    position = column.find(1)
    while position >= 0:
        numbers.append(position + 1)
        position = column.find(1, position + 1)
    return Found(numbers, [view.messages[number - 1] for number in numbers])


def _candidates(view: View, program: Key) -> Found:
    """Numbers and messages outside of which nothing matches."""
    ranges = program.numbers if program.uids is None else program.uids
    if ranges is None:
        return Found(range(1, view.count + 1), view.messages[:])
    pairs = list(view.select(ranges, by_uid=program.uids is not None)) if ranges else []
    return Found([n for n, _ in pairs], [m for _, m in pairs])


async def _by_flags(found: Found, keys: list[Key], progress: Progress) -> Found:
    """Those that match by what needs no record, and are still there."""
    numbers: list[int] = []
    messages: list[Any] = []
    for start in range(0, len(found), CHUNK_MESSAGES):
        if start:
            await progress.rest(start)
        some = found.part(start, start + CHUNK_MESSAGES)
        for key in keys:
            some = some.where(key.matches(some.numbers, some.messages, []))
        there = some.where([not message.expunged for message in some.messages])
        numbers += there.numbers
        messages += there.messages
    return Found(numbers, messages)


async def _by_record(session: ImapSession, found: Found, keys: list[Key], progress: Progress) -> Found:
    """Those that match. Records that are not there yet are made; messages that go meanwhile are left out."""
    records: list[Any] = [message.content.derived.get(SEARCH_KEY) for message in found.messages]
    if None in records:
        made = 0
        for index, (number, message) in enumerate(found):
            if records[index] is not None:
                continue
            with suppress(NoSuchMessage):
                records[index] = await search_records(session, message)
            made += 1
            if made % SCAN_MESSAGES == 0:
                await progress.rest(number)
        found = found.where([record is not None for record in records])
        records = [record for record in records if record is not None]
    for key in keys:
        matches = list(key.matches(found.numbers, found.messages, records))
        found = found.where(matches)
        records = list(compress(records, matches))
    return found


async def _by_content(session: ImapSession, candidates: Found, tests: list[Any]) -> Found:
    progress = Progress(session, len(candidates))
    numbers: list[int] = []
    messages: list[Any] = []
    scanned = 0
    for index, (number, message) in enumerate(candidates):
        try:
            record = await search_records(session, message)
            octets, part = await session.services.conversion.structure(message)
        except NoSuchMessage:
            continue
        loaded = Loaded(record, octets, part)
        if all(test(number, message, loaded) for test in tests):
            numbers.append(number)
            messages.append(message)
        scanned += len(octets) + 256
        if scanned > SCAN_OCTETS:
            scanned = 0
            await progress.rest(index)
    return Found(numbers, messages)


# --- responses --------------------------------------------------------------------------------------------------------


def plain_result(name: bytes, numbers: bytes, found: Found, *, with_modseq: bool = False) -> bytes:
    """`* SEARCH 2 3 6`, with the highest mod-sequence where the search used one (RFC 7162 section 3.1.5)."""
    if not found:
        return b"* %b\r\n" % name
    if with_modseq:
        return b"* %b %b (MODSEQ %d)\r\n" % (name, numbers, max(message.modseq for message in found.messages))
    return b"* %b %b\r\n" % (name, numbers)


def extended_result(
    tag: bytes, found: Found, options: Options, *, by_uid: bool, with_modseq: bool = False, ordered: bool = False
) -> bytes:
    """`* ESEARCH (TAG "a") UID COUNT 3 ALL 2,10:11` (RFC 4731 section 3.1, RFC 5267 section 4.4)."""
    out = [b"* ESEARCH (TAG %b)" % quote(tag)]
    if by_uid:
        out.append(b"UID")
    out += result_items(found, options, by_uid=by_uid, with_modseq=with_modseq, ordered=ordered)
    return b" ".join(out) + b"\r\n"


def result_items(
    found: Found, options: Options, *, by_uid: bool, with_modseq: bool = False, ordered: bool = False
) -> list[bytes]:
    """The data of an ESEARCH response."""
    numbers = found.shown(by_uid=by_uid)
    wanted = options.wanted
    out: list[bytes] = []
    if numbers and "MIN" in wanted:
        out.append(b"MIN %d" % numbers[0])
    if numbers and "MAX" in wanted:
        out.append(b"MAX %d" % numbers[-1])
    if "COUNT" in wanted:
        out.append(b"COUNT %d" % len(numbers))
    if numbers and "ALL" in wanted:
        out.append(b"ALL " + format_numbers(numbers, ordered=ordered))
    if options.partial is not None:
        low, high = options.partial
        first, last = (low, high) if low > 0 else (high, low)
        part = cut_partial(numbers, options.partial)
        out.append(b"PARTIAL (%d:%d %b)" % (first, last, format_numbers(part, ordered=ordered) if part else b"NIL"))
    if with_modseq and found:
        out.append(b"MODSEQ %d" % _highest_modseq(found, options))
    return out


def format_numbers(numbers: Sequence[int], *, ordered: bool) -> bytes:
    """A sequence set; in the given order where order is what was asked for (SORT)."""
    if ordered:
        return format_ordered(numbers)
    return format_set(numbers)


def _highest_modseq(found: Found, options: Options) -> int:
    """RFC 4731 section 3.2: of the messages that are named."""
    messages = found.messages
    if options.wanted and options.wanted <= {"MIN", "MAX"}:
        messages = (messages[:1] if "MIN" in options.wanted else []) + (
            messages[-1:] if "MAX" in options.wanted else []
        )
    return int(max(message.modseq for message in messages))


COMMANDS.command("UID SEARCH", states=SELECTED, syntax=search_syntax)(search)
