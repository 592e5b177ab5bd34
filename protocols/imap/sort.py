"""SORT with ESORT and SORT=DISPLAY (RFC 5256, RFC 5267 section 4, RFC 5957)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMessage
from protocols.reply import Reply

from .context import check_tag
from .errors import Bad
from .messages import require_uid, selected
from .progress import Progress
from .records import SORT_KEY, SortRecord, sort_records
from .scanner import Scanner
from .search import Found, Options, extended_result, plain_result, read_options, read_program, run, to_save
from .states import COMMANDS, SELECTED

if TYPE_CHECKING:
    from .session import ImapSession

CRITERIA_MAX = 20

Keyed = tuple[int, Any, SortRecord]


def _date(item: Keyed) -> float:
    """RFC 5256 section 2.2: the Date field in UTC, the INTERNALDATE where there is none."""
    sent = item[2].sent
    return item[1].internal_date if sent is None else sent


_CRITERIA: dict[str, Callable[[Keyed], Any]] = {
    "ARRIVAL": lambda item: item[1].internal_date,
    "CC": lambda item: item[2].cc,
    "DATE": _date,
    "FROM": lambda item: item[2].sender,
    "SIZE": lambda item: item[1].content.size,
    "SUBJECT": lambda item: item[2].base_subject,
    "TO": lambda item: item[2].to,
    "DISPLAYFROM": lambda item: item[2].display_sender,
    "DISPLAYTO": lambda item: item[2].display_to,
}
_INDEX_ONLY = frozenset({"ARRIVAL", "SIZE"})


@dataclass(slots=True)
class Sorting:
    """The arguments of SORT."""

    options: Options
    criteria: tuple[tuple[str, bool], ...]
    charset: bytes
    scanner: Scanner


def sort_syntax(scanner: Scanner) -> Sorting:
    """`[RETURN (…)] (criteria) charset keys`."""
    scanner.space()
    options = read_options(scanner)
    scanner.take(b"(")
    criteria: list[tuple[str, bool]] = []
    while True:
        word = scanner.word().decode("ascii")
        reverse = word == "REVERSE"
        if reverse:
            scanner.space()
            word = scanner.word().decode("ascii")
        if word not in _CRITERIA:
            raise Bad("unknown sort criterion")
        criteria.append((word, reverse))
        if len(criteria) > CRITERIA_MAX:
            raise Bad("there are too many sort criteria")
        if scanner.try_take(b")"):
            break
        scanner.space()
    scanner.space()
    charset = scanner.astring()
    scanner.space()
    return Sorting(options, tuple(criteria), charset, scanner)


async def with_records(session: ImapSession, found: Found) -> list[Keyed]:
    """The messages with what SORT and THREAD compare. Messages that are gone are left out."""
    progress = Progress(session, len(found))
    keyed: list[Keyed] = []
    for index, (number, message) in enumerate(found):
        record = message.content.derived.get(SORT_KEY)
        if record is None:
            try:
                record = await sort_records(session, message)
            except NoSuchMessage:
                continue
        keyed.append((number, message, record))
        if index % 1000 == 999:
            await progress.rest(index)
    return keyed


_NO_RECORD = SortRecord(None, "", False, "", "", "", "", "", b"", ())


def in_order(keyed: list[Keyed], criteria: tuple[tuple[str, bool], ...]) -> Found:
    """Sorted by the criteria, then by message number: each sort is stable, the last criterion first."""
    for name, reverse in reversed(criteria):
        keyed.sort(key=_CRITERIA[name], reverse=reverse)
    return Found([number for number, _, _ in keyed], [message for _, message, _ in keyed])


async def sorted_by(session: ImapSession, found: Found, criteria: tuple[tuple[str, bool], ...]) -> Found:
    """The messages in the order of the criteria."""
    if all(name in _INDEX_ONLY for name, _ in criteria):
        return in_order([(number, message, _NO_RECORD) for number, message in found], criteria)
    return in_order(await with_records(session, found), criteria)


@COMMANDS.command("SORT", states=SELECTED, syntax=sort_syntax, capability="SORT")
async def sort(session: ImapSession, sorting: Sorting) -> Reply:
    """RFC 5256 section 3."""
    view = selected(session)
    by_uid = require_uid(session)
    options = sorting.options
    if options.update:
        check_tag(session, view)
    program = read_program(session, sorting.scanner, sorting.charset)
    found = await sorted_by(session, await run(session, view, program), sorting.criteria)
    if options.save:
        view.saved = to_save(found, options)
    if not options.extended:
        numbers = " ".join(map(str, found.shown(by_uid=by_uid))).encode()
        session.send(plain_result(b"SORT", numbers, found, with_modseq=program.uses_modseq))
    else:
        if options.wanted or options.update or options.partial is not None:
            modseq = program.uses_modseq
            session.send(extended_result(session.tag, found, options, by_uid=by_uid, with_modseq=modseq, ordered=True))
        if options.update:
            session.send(session.no_update())
    return session.ok(session.verb + b" completed")


COMMANDS.command("UID SORT", states=SELECTED, syntax=sort_syntax, capability="SORT")(sort)
