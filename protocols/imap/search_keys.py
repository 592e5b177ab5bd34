"""Search keys (RFC 9051 section 6.4.4 and extensions) read into a tree whose nodes know what they need to be decided.

Level 0 needs the index (flags, dates, sizes), level 1 the record of header fields (`records`), level 2 the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, eq, ge, lt, not_, or_
from typing import Any

from protocols.mime.charsets import codec_name
from protocols.mime.structure import Part

from .dates import local_day, parse_date
from .errors import Bad, No
from .flags import parse_flag, spellings
from .folder_index import FolderIndex
from .records import FIELDS, thread_id
from .scanner import Scanner
from .sequence import MODSEQ_MAX, Ranges, contains, resolve, spans
from .texts import body_contains, fold, header_contains, header_text
from .view import View

KEYS_MAX = 1000
DAY_SECONDS = 86400


@dataclass(slots=True)
class Loaded:
    """What is at hand of a message beyond the index: the record at level 1, all of it at level 2."""

    record: Any
    """A `SearchRecord`."""
    octets: bytes = b""
    part: Part | None = None


Predicate = Callable[[int, Any, Any], bool]
"""(number, message, `Loaded`) → whether it matches. At level 0 the last is None."""
Sieve = Callable[[Sequence[int], list[Any], list[Any]], Iterable[bool]]
"""(Numbers, messages, their `SearchRecord`s from level 1 on) → for each whether it matches: `test` for many, with
no call for each of them, so that a large mailbox is searched at the speed of a list."""

Column = Callable[[FolderIndex], int]
"""For all messages of a folder at once whether they match."""


@dataclass(frozen=True, slots=True)
class Key:
    """One condition. `level` says what has to be at hand."""

    level: int
    test: Predicate
    numbers: Ranges | None = None
    """Resolved message numbers outside of which nothing matches."""
    uids: Ranges | None = None
    """Resolved UIDs outside of which nothing matches."""
    uses_modseq: bool = False
    fixed: bool = True
    """Whether a message that is there keeps matching or not whatever its flags become."""
    all_of: tuple[Key, ...] = ()
    """The keys of a conjunction, so that each can be tried when what it needs is at hand."""
    sieve: Sieve | None = None
    """Levels 0 and 1, where there is a fast way."""
    column: Column | None = None
    """Levels 0 and 1, where the index of the folder knows it."""

    def matches(self, numbers: Sequence[int], messages: list[Any], records: list[Any]) -> Iterable[bool]:
        """For each message whether it matches; not for level 2."""
        if self.sieve is not None:
            return self.sieve(numbers, messages, records)
        if self.level == 0:
            return [self.test(n, m, None) for n, m in zip(numbers, messages, strict=True)]
        loaded = Loaded(None)
        return [
            self._with_record(n, m, loaded, record) for n, m, record in zip(numbers, messages, records, strict=True)
        ]

    def _with_record(self, number: int, message: Any, loaded: Loaded, record: Any) -> bool:
        loaded.record = record
        return self.test(number, message, loaded)


class KeyReader:
    """Reads search keys for one session's view."""

    def __init__(
        self,
        scanner: Scanner,
        view: View,
        now: float,
        charset: str = "utf-8",
        *,
        saved: bool = True,
        pinned: bool = False,
    ) -> None:
        """`saved`: whether `$` means something here; `pinned`: message numbers mean what they mean now, for good."""
        self._with_saved = saved
        self._pinned = pinned
        self._scanner = scanner
        self._view = view
        self._now = now
        self._codec = charset
        self._depth = 0
        self._count = 0

    def program(self) -> Key:
        """All keys up to the end of the arguments."""
        keys = [self.key()]
        while self._scanner.try_space():
            keys.append(self.key())
        self._scanner.end()
        return conjunction(keys)

    def key(self) -> Key:
        """One key."""
        self._count += 1
        if self._count > KEYS_MAX or self._depth > self._scanner.depth_max:
            raise Bad("the search is too deep or has too many keys")
        scanner = self._scanner
        octet = scanner.peek()
        if octet == 0x28:
            return self._group()
        if octet in (0x24, 0x2A) or 0x30 <= octet <= 0x39:
            return self._numbers()
        word = scanner.word().decode("ascii")
        simple = _SIMPLE.get(word)
        if simple is not None:
            return simple(self._view)
        reader = _READERS.get(word)
        if reader is None:
            raise Bad("unknown search key")
        return reader(self, word)

    def _group(self) -> Key:
        scanner = self._scanner
        scanner.take(b"(")
        self._depth += 1
        scanner.skip_spaces()
        keys = [self.key()]
        while not scanner.try_take(b")"):
            scanner.space()
            if scanner.try_take(b")"):
                break
            keys.append(self.key())
        self._depth -= 1
        return conjunction(keys)

    def _numbers(self) -> Key:
        ranges = self._scanner.sequence()
        view = self._view
        if ranges is None:
            return self._saved_result()
        if view.session.uidonly:
            raise Bad("message numbers cannot be used after ENABLE UIDONLY", code=b"UIDREQUIRED")
        numbers = resolve(ranges, view.count)
        if self._pinned:
            return _uid_key(spans([uid for low, high in numbers for uid in view.uids[low - 1 : high]]))
        return Key(
            0, lambda n, m, d: contains(numbers, n), numbers=numbers, column=lambda index: index.numbers(numbers)
        )

    def _saved_result(self) -> Key:
        if not self._with_saved:
            raise Bad("$ is for the selected mailbox")
        return _uid_key(spans(self._view.saved))

    # --- keys with arguments ------------------------------------------------------------------------------------------

    def text(self) -> str:
        """A string argument, case-folded."""
        self._scanner.space()
        octets = self._scanner.astring()
        try:
            return fold(octets.decode(self._codec))
        except UnicodeDecodeError:
            return fold(octets.decode("latin-1"))

    def _uid(self, word: str) -> Key:
        self._scanner.space()
        ranges = self._scanner.sequence()
        view = self._view
        if ranges is None:
            return self._saved_result()
        return _uid_key(resolve(ranges, view.uids[-1] if view.uids else 0))

    def _not(self, word: str) -> Key:
        self._scanner.space()
        self._depth += 1
        key = self.key()
        self._depth -= 1
        test, column = key.test, key.column
        return Key(
            key.level,
            lambda n, m, d: not test(n, m, d),
            uses_modseq=key.uses_modseq,
            fixed=key.fixed,
            sieve=lambda numbers, messages, records: map(not_, key.matches(numbers, messages, records)),
            column=None if column is None else lambda index: index.all() ^ column(index),
        )

    def _or(self, word: str) -> Key:
        self._depth += 1
        self._scanner.space()
        first = self.key()
        self._scanner.space()
        second = self.key()
        self._depth -= 1
        one, other = (first, second) if first.level <= second.level else (second, first)
        test, otherwise = one.test, other.test
        return Key(
            other.level,
            lambda n, m, d: test(n, m, d) or otherwise(n, m, d),
            uses_modseq=first.uses_modseq or second.uses_modseq,
            fixed=first.fixed and second.fixed,
            sieve=lambda numbers, messages, records: map(
                or_, one.matches(numbers, messages, records), other.matches(numbers, messages, records)
            ),
            column=_combined(or_, (one, other)),
        )

    def _field(self, word: str) -> Key:
        return _field_key(FIELDS[word.lower()], self.text())

    def _header(self, word: str) -> Key:
        self._scanner.space()
        name = self._scanner.astring()
        needle = self.text()
        index = FIELDS.get(name.decode("ascii", "replace").lower())
        if index is not None and needle:
            return _field_key(index, needle)

        def test(n: int, m: Any, d: Any) -> bool:
            values = d.part.headers.get_all(name)
            return any(needle in header_text(value) for value in values) if needle else bool(values)

        return Key(2, test)

    def _body(self, word: str) -> Key:
        needle = self.text()

        def test(n: int, m: Any, d: Any) -> bool:
            return not needle or body_contains(d.octets, d.part, needle)

        return Key(2, test)

    def _text(self, word: str) -> Key:
        needle = self.text()

        def test(n: int, m: Any, d: Any) -> bool:
            if not needle or header_contains(d.octets, d.part, needle):
                return True
            return body_contains(d.octets, d.part, needle)

        return Key(2, test)

    def _keyword(self, word: str) -> Key:
        scanner = self._scanner
        scanner.space()
        # the grammar has an atom alone; clients that quote every argument mean the same
        name = scanner.string().decode("ascii", "replace") if scanner.peek() == 0x22 else scanner.flag()
        if name.startswith("\\"):
            raise Bad("a keyword is missing")
        wanted = spellings(parse_flag(name), self._view.keywords)

        def with_any(index: FolderIndex) -> int:
            return reduce(or_, [index.flag(flag) for flag in wanted])

        if word == "KEYWORD":
            return Key(0, lambda n, m, d: not wanted.isdisjoint(m.flags), fixed=False, column=with_any)
        disjoint = wanted.isdisjoint
        return Key(
            0,
            lambda n, m, d: disjoint(m.flags),
            fixed=False,
            sieve=lambda numbers, messages, records: [disjoint(m.flags) for m in messages],
            column=lambda index: index.all() ^ with_any(index),
        )

    def _size(self, word: str) -> Key:
        self._scanner.space()
        size = self._scanner.number(MODSEQ_MAX)
        if word == "LARGER":
            return Key(
                0,
                lambda n, m, d: m.content.size > size,
                sieve=lambda numbers, messages, records: [m.content.size > size for m in messages],
            )
        return Key(
            0,
            lambda n, m, d: m.content.size < size,
            sieve=lambda numbers, messages, records: [m.content.size < size for m in messages],
        )

    def _day(self) -> int:
        self._scanner.space()
        octets = self._scanner.astring()
        return parse_date(octets)

    def _internal(self, word: str) -> Key:
        day = self._day()

        def of(n: int, m: Any, d: Any) -> int:
            return local_day(m.internal_date, m.zone_minutes)

        begin, end = day * DAY_SECONDS, (day + 1) * DAY_SECONDS
        sieves: dict[str, Sieve] = {  # a day is compared by its bounds, with no call for each message
            "BEFORE": lambda numbers, messages, records: [
                m.internal_date + m.zone_minutes * 60 < begin for m in messages
            ],
            "ON": lambda numbers, messages, records: [
                begin <= m.internal_date + m.zone_minutes * 60 < end for m in messages
            ],
            "SINCE": lambda numbers, messages, records: [
                m.internal_date + m.zone_minutes * 60 >= begin for m in messages
            ],
        }
        return Key(0, _compare(word, of, day), sieve=sieves[word])

    def _saved(self, word: str) -> Key:
        day = self._day()
        return Key(0, _compare(word[5:], lambda n, m, d: local_day(m.save_date, 0), day))

    def _sent(self, word: str) -> Key:
        day = self._day()

        def of(n: int, m: Any, d: Loaded) -> int | None:
            day: int | None = d.record.sent_day
            return day

        compare = _COMPARED[word[4:]]
        return Key(
            1,
            _compare(word[4:], of, day),
            sieve=lambda numbers, messages, records: [
                record.sent_day is not None and compare(record.sent_day, day) for record in records
            ],
            column=lambda index: index.sent(compare, day),
        )

    def _within(self, word: str) -> Key:
        self._scanner.space()
        seconds = self._scanner.number()
        if seconds == 0:
            raise Bad("an interval is at least one second")
        border = self._now - seconds
        if word == "OLDER":
            return Key(0, lambda n, m, d: m.internal_date <= border)
        return Key(0, lambda n, m, d: m.internal_date >= border)

    def _modseq(self, word: str) -> Key:
        scanner = self._scanner
        scanner.space()
        if scanner.peek() == 0x22:
            scanner.string()
            scanner.space()
            if scanner.word() not in (b"ALL", b"PRIV", b"SHARED"):
                raise Bad("all, priv or shared is missing")
            scanner.space()
        least = scanner.number(MODSEQ_MAX)
        self._view.session.enable_condstore()
        return Key(0, lambda n, m, d: m.modseq >= least, uses_modseq=True, fixed=False)

    def _email_id(self, word: str) -> Key:
        self._scanner.space()
        wanted = self._scanner.astring().decode("ascii", "replace")
        if word == "THREADID":
            return Key(2, lambda n, m, d: thread_id(d.octets, d.part) == wanted)
        return Key(0, lambda n, m, d: m.email_id == wanted)


_COMPARED: dict[str, Callable[[int, int], bool]] = {"BEFORE": lt, "ON": eq, "SINCE": ge}


def _compare(word: str, of: Callable[[int, Any, Any], int | None], day: int) -> Predicate:
    if word == "BEFORE":
        return lambda n, m, d: (found := of(n, m, d)) is not None and found < day
    if word == "ON":
        return lambda n, m, d: of(n, m, d) == day
    return lambda n, m, d: (found := of(n, m, d)) is not None and found >= day


def _uid_key(uids: Ranges) -> Key:
    return Key(0, lambda n, m, d: contains(uids, m.uid), uids=uids, column=lambda index: index.uids(uids))


def _field_key(index: int, needle: str) -> Key:
    return Key(
        1,
        lambda n, m, d: needle in d.record[index],
        sieve=lambda numbers, messages, records: [needle in record[index] for record in records],
        column=lambda folder: folder.text(index, needle),
    )


def _has(flag: str) -> Callable[[View], Key]:
    key = Key(
        0,
        lambda n, m, d: flag in m.flags,
        fixed=False,
        sieve=lambda numbers, messages, records: [flag in m.flags for m in messages],
        column=lambda index: index.flag(flag),
    )
    return lambda view: key


def _lacks(flag: str) -> Callable[[View], Key]:
    key = Key(
        0,
        lambda n, m, d: flag not in m.flags,
        fixed=False,
        sieve=lambda numbers, messages, records: [flag not in m.flags for m in messages],
        column=lambda index: index.all() ^ index.flag(flag),
    )
    return lambda view: key


def _recent(view: View) -> Key:
    uids = spans(sorted(view.recent))
    return Key(0, lambda n, m, d: m.uid in view.recent, uids=uids, column=lambda index: index.uids(uids))


def _old(view: View) -> Key:
    uids = spans(sorted(view.recent))
    return Key(0, lambda n, m, d: m.uid not in view.recent, column=lambda index: index.all() ^ index.uids(uids))


def _new(view: View) -> Key:
    return conjunction([_recent(view), _lacks("\\Seen")(view)])


def _all(view: View) -> Key:
    return ALL


ALL = Key(
    0,
    lambda n, m, d: True,
    sieve=lambda numbers, messages, records: [True] * len(messages),
    column=lambda index: index.all(),
)

_SIMPLE: dict[str, Callable[[View], Key]] = {
    "ALL": _all,
    "SAVEDATESUPPORTED": _all,
    "RECENT": _recent,
    "OLD": _old,
    "NEW": _new,
    **{name.upper(): _has("\\" + name) for name in ("Answered", "Deleted", "Draft", "Flagged", "Seen")},
    **{"UN" + name.upper(): _lacks("\\" + name) for name in ("Answered", "Deleted", "Draft", "Flagged", "Seen")},
}

_READERS: dict[str, Callable[[KeyReader, str], Key]] = {
    "UID": KeyReader._uid,
    "NOT": KeyReader._not,
    "OR": KeyReader._or,
    "HEADER": KeyReader._header,
    "BODY": KeyReader._body,
    "TEXT": KeyReader._text,
    "KEYWORD": KeyReader._keyword,
    "UNKEYWORD": KeyReader._keyword,
    "LARGER": KeyReader._size,
    "SMALLER": KeyReader._size,
    "MODSEQ": KeyReader._modseq,
    "OLDER": KeyReader._within,
    "YOUNGER": KeyReader._within,
    "EMAILID": KeyReader._email_id,
    "THREADID": KeyReader._email_id,
    **dict.fromkeys(("FROM", "TO", "CC", "BCC", "SUBJECT"), KeyReader._field),
    **dict.fromkeys(("BEFORE", "ON", "SINCE"), KeyReader._internal),
    **dict.fromkeys(("SENTBEFORE", "SENTON", "SENTSINCE"), KeyReader._sent),
    **dict.fromkeys(("SAVEDBEFORE", "SAVEDON", "SAVEDSINCE"), KeyReader._saved),
}


def conjunction(keys: list[Key]) -> Key:
    """All of the keys, the cheapest first."""
    if len(keys) == 1:
        return keys[0]
    flat = tuple(sorted((one for key in keys for one in key.all_of or (key,)), key=lambda key: key.level))
    tests = tuple(key.test for key in flat)
    return Key(
        flat[-1].level,
        lambda n, m, d: all(test(n, m, d) for test in tests),
        next((key.numbers for key in flat if key.numbers is not None), None),
        next((key.uids for key in flat if key.uids is not None), None),
        any(key.uses_modseq for key in flat),
        all(key.fixed for key in flat),
        flat,
        lambda numbers, messages, records: reduce(_both, [key.matches(numbers, messages, records) for key in flat]),
        _combined(and_, flat),
    )


def _combined(operator: Callable[[int, int], int], keys: Sequence[Key]) -> Column | None:
    """The columns of the keys in one, where each has a column."""
    columns = [key.column for key in keys if key.column is not None]
    if len(columns) < len(keys):
        return None
    return lambda index: reduce(operator, [column(index) for column in columns])


def _both(one: Iterable[bool], other: Iterable[bool]) -> Iterable[bool]:
    return map(and_, one, other)


def charset_codec(name: bytes) -> str:
    """The codec of a CHARSET. Raises No [BADCHARSET]."""
    text = name.decode("ascii", "replace").lower()
    if text in ("utf-8", "us-ascii", "ascii", "utf8"):
        return "utf-8"
    codec = codec_name(text)
    if not codec:
        raise No("that charset is not known", code=b"BADCHARSET (UTF-8 US-ASCII ISO-8859-1 ISO-8859-15)")
    return codec
