"""FETCH (RFC 9051 section 6.4.5): the plan of `fetch_items` carried out for many messages, written in large pieces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from protocols.mime.structure import Part
from protocols.ports import NoSuchMessage
from protocols.reply import Reply

from .errors import Bad
from .fetch_items import (
    FLAGS_STEP,
    MODSEQ_STEP,
    Modifiers,
    Plan,
    cut_partial,
    read_items,
    read_modifiers,
    read_text,
)
from .flags import SEEN
from .messages import chosen, selected
from .scanner import Scanner
from .sequence import Ranges, contains, format_set, resolve, spans
from .states import COMMANDS, SELECTED
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

BATCH_OCTETS = 262144
"""Message octets held before they are written."""
BATCH_MESSAGES = 128
INDEX_MESSAGES = 256
"""Messages whose values from the index are gathered together."""

REPORTED_OCTETS_MAX = 200
"""How much of a command is shown in reports."""

_SEEN_ONLY = frozenset({SEEN})


@dataclass(frozen=True, slots=True)
class Fetching:
    """The arguments of FETCH."""

    ranges: Ranges | None
    plan: Plan
    modifiers: Modifiers
    text: str
    """The arguments as they came, for reports."""


def _syntax(scanner: Scanner, *, with_uid: bool) -> Fetching:
    scanner.space()
    ranges = scanner.sequence()
    scanner.space()
    single = scanner.single
    if single is not None:
        plan, modifiers = read_text(scanner.rest(), with_uid)
        return Fetching(ranges, plan, modifiers, single[1:REPORTED_OCTETS_MAX].decode("latin-1"))
    plan = read_items(scanner, with_uid=with_uid)
    modifiers = Modifiers()
    if scanner.try_space():
        modifiers = read_modifiers(scanner)
    scanner.end()
    return Fetching(ranges, plan, modifiers, plan.text[:REPORTED_OCTETS_MAX])


def fetch_syntax(scanner: Scanner) -> Fetching:
    """`set items [(modifiers)]`."""
    return _syntax(scanner, with_uid=False)


def uid_fetch_syntax(scanner: Scanner) -> Fetching:
    """The same; UID is among the items in any case."""
    return _syntax(scanner, with_uid=True)


@COMMANDS.command("FETCH", states=SELECTED, syntax=fetch_syntax)
async def fetch(session: ImapSession, fetching: Fetching) -> Reply:
    """RFC 9051 section 6.4.5."""
    view = selected(session)
    plan, modifiers = fetching.plan, fetching.modifiers
    by_uid = session.verb.startswith(b"UID ")
    messages = chosen(session, fetching.ranges)
    if modifiers.vanished and not (by_uid and session.qresync):
        raise Bad("VANISHED is for UID FETCH after ENABLE QRESYNC")
    if plan.has_modseq or modifiers.changed_since is not None:
        session.enable_condstore()
    if modifiers.vanished:
        session.send(_vanished(view, fetching.ranges, modifiers.changed_since or 0))
    if modifiers.partial is not None:  # first this, as RFC 9394 section 3.4 shows
        messages = list(cut_partial(messages, modifiers.partial))
    if modifiers.changed_since is not None:
        messages = [pair for pair in messages if pair[1].modseq > modifiers.changed_since]
        if not plan.has_modseq:
            plan = replace(plan, steps=(*plan.steps, MODSEQ_STEP), has_modseq=True)
    if session.uidonly:
        plan = plan.as_asked()
    if plan.needs_octets:
        session.actor.doing = f"{session.verb.decode()} {fetching.text}"
        whole = await fetch_content(session, view, messages, plan)
    else:
        whole = await fetch_index(session, view, messages, plan)
    if not whole and not by_uid:
        return session.no(b"Some of the messages have been expunged", b"EXPUNGEISSUED")
    return session.ok(session.verb + b" completed")


def _vanished(view: View, ranges: Ranges | None, modseq: int) -> bytes:
    """`VANISHED (EARLIER)` of UID FETCH (RFC 7162 section 3.2.6)."""
    folder = view.folder
    wanted = resolve(ranges if ranges is not None else spans(view.saved), max(folder.uid_next - 1, 0))
    gone = folder.vanished_since(modseq)
    if gone is None:
        there = set(view.uids)
        gone = [uid for low, high in wanted for uid in range(low, high + 1) if uid not in there]
    else:
        gone = [uid for uid in gone if contains(wanted, uid)]
    return b"* VANISHED (EARLIER) %s\r\n" % format_set(gone) if gone else b""


def _prefix(session: ImapSession, number: int, message: Any) -> bytes:
    if session.uidonly:
        return b"* %d UIDFETCH (" % message.uid
    return b"* %d FETCH (" % number


async def fetch_index(session: ImapSession, view: View, messages: list[tuple[int, Any]], plan: Plan) -> bool:
    """Answer from the index and from what was computed before. False: some messages are gone."""
    values = b" ".join([step.index.template if step.index is not None else b"%b" for step in plan.steps])
    template = (b"* %d UIDFETCH (" if session.uidonly else b"* %d FETCH (") + values + b")\r\n"
    batch_max = session.limits.output_batch_bytes_max
    out: list[bytes] = []
    size = 0
    whole = True
    for start in range(0, len(messages), INDEX_MESSAGES):
        chunk = messages[start : start + INDEX_MESSAGES]
        there, derived = await _derived(session, chunk, plan)
        whole = whole and len(there) == len(chunk)
        some = [message for _, message in there]
        computed = iter(derived)
        columns = [step.index.values(view, some) if step.index is not None else next(computed) for step in plan.steps]
        heads = [message.uid for message in some] if session.uidonly else [number for number, _ in there]
        if plan.has_flags:
            session.send(view.announce_keywords())
            view.forget_changes(some)
        for row in zip(heads, *columns, strict=True):
            line = template % row
            out.append(line)
            size += len(line)
            if size > batch_max:
                session.send(b"".join(out))
                out.clear()
                size = 0
                await session.flush()
                await session.services.clock.sleep(0)  # others have their turn
    if out:
        session.send(b"".join(out))
    return whole


async def _derived(
    session: ImapSession, messages: list[tuple[int, Any]], plan: Plan
) -> tuple[list[tuple[int, Any]], list[list[bytes]]]:
    """The messages that are there, and for each item that is computed from content the values of all of them."""
    derivations = [step.derived for step in plan.steps if step.derived]
    columns = [[message.content.derived.get(key) for _, message in messages] for key, _ in derivations]
    gone: set[int] = set()
    for column, (key, compute) in zip(columns, derivations, strict=True):
        if None not in column:
            continue
        for index, (_, message) in enumerate(messages):
            if column[index] is None:
                try:
                    column[index] = await session.services.conversion.derive(message, key, compute)
                except NoSuchMessage:
                    gone.add(index)
    if gone:
        messages = [pair for index, pair in enumerate(messages) if index not in gone]
        columns = [[value for index, value in enumerate(column) if index not in gone] for column in columns]
    return messages, columns


@dataclass(slots=True)
class _Ready:
    number: int
    message: Any
    octets: bytes
    part: Part | None
    derived: list[bytes]


async def fetch_content(session: ImapSession, view: View, messages: list[tuple[int, Any]], plan: Plan) -> bool:
    """Answer with pieces of the messages themselves. False: some messages are gone."""
    conversion = session.services.conversion
    derivations = [step.derived for step in plan.steps if step.derived]
    batch: list[_Ready] = []
    size = 0
    whole = True
    for number, message in messages:
        try:
            octets = await conversion.octets(message)
            part = (await conversion.structure(message))[1] if plan.needs_part else None
            derived = [await conversion.derive(message, key, compute) for key, compute in derivations]
        except NoSuchMessage:
            whole = False
            continue
        batch.append(_Ready(number, message, octets, part, derived))
        size += len(octets)
        if size > BATCH_OCTETS or len(batch) >= BATCH_MESSAGES:
            await _write(session, view, batch, plan)
            batch, size = [], 0
            await session.flush()
            await session.services.clock.sleep(0)
    if batch:
        await _write(session, view, batch, plan)
    return whole


async def _write(session: ImapSession, view: View, batch: list[_Ready], plan: Plan) -> None:
    """Set \\Seen where it is due, and send the batch."""
    told: set[int] = set()
    if plan.sets_seen and not view.read_only:
        unseen = [ready.message for ready in batch if SEEN not in ready.message.flags and not ready.message.expunged]
        if unseen and "s" in session.rights(view.folder):
            await session.services.store.set_flags(view.folder, unseen, "+", _SEEN_ONLY)
            told = {message.uid for message in unseen}
    if told or plan.has_flags:
        session.send(view.announce_keywords())
    for ready in batch:
        session.send(_render(session, view, ready, plan, flags_too=ready.message.uid in told))


def _render(session: ImapSession, view: View, ready: _Ready, plan: Plan, *, flags_too: bool) -> tuple[bytes, ...]:
    message = ready.message
    pieces: list[bytes] = []
    text = _prefix(session, ready.number, message)
    derived = iter(ready.derived)
    first = True
    for step in plan.steps:
        if not first:
            text += b" "
        first = False
        if step.content is not None:
            before, octets = step.content.cut(ready.octets, ready.part)
            text += before
            if octets:
                pieces.append(text)
                pieces.append(octets)
                text = b""
        elif step.index is not None:
            text += step.index.of(view, message)
        else:
            text += next(derived)
    if flags_too and not plan.has_flags:
        assert FLAGS_STEP.index is not None
        text += b" " + FLAGS_STEP.index.of(view, message)
    if flags_too and session.condstore:  # RFC 7162 section 3.2.4: a FETCH that sets \Seen tells both
        if not (plan.has_uid or session.uidonly):
            text += b" UID %d" % message.uid
        if not plan.has_modseq:
            text += b" MODSEQ (%d)" % message.modseq
    if flags_too or plan.has_flags:
        view.forget_change(message.uid)
    pieces.append(text + b")\r\n")
    return tuple(pieces)


COMMANDS.command("UID FETCH", states=SELECTED, syntax=uid_fetch_syntax)(fetch)
