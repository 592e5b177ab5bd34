"""STORE, COPY and MOVE (RFC 9051 sections 6.4.6 to 6.4.8, RFC 7162, RFC 6851)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMailbox
from protocols.reply import Reply

from . import access
from .errors import Bad, No
from .flags import DELETED, SEEN, SYSTEM, match_keyword, parse_flags
from .scanner import Scanner
from .sequence import MODSEQ_MAX, Ranges, format_ordered, format_set
from .states import COMMANDS, SELECTED
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

KEYWORDS_PER_FOLDER_MAX = 1000


def selected(session: ImapSession) -> View:
    """The view of the selected mailbox; only for commands of the selected state."""
    assert session.view is not None
    return session.view


def require_uid(session: ImapSession) -> bool:
    """Whether the command at hand is a UID command. Raises Bad where it must be (RFC 9586 section 3)."""
    by_uid = session.verb.startswith(b"UID ")
    if session.uidonly and not by_uid:
        raise Bad("message numbers cannot be used after ENABLE UIDONLY", code=b"UIDREQUIRED")
    return by_uid


def chosen(session: ImapSession, ranges: Ranges | None) -> list[tuple[int, Any]]:
    """(number, message) of the command's sequence set (UIDs in a UID command). Raises Bad beyond the mailbox."""
    view = selected(session)
    by_uid = require_uid(session)
    if not by_uid and view.out_of_range(ranges):
        raise Bad("a message number is larger than the mailbox")
    return view.select(ranges, by_uid=by_uid)


# --- STORE ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Storing:
    """The arguments of STORE."""

    ranges: Ranges | None
    mode: str
    silent: bool
    flags: tuple[str, ...]
    unchanged_since: int | None = None


_ITEMS = {
    b"FLAGS": ("=", False),
    b"FLAGS.SILENT": ("=", True),
    b"+FLAGS": ("+", False),
    b"+FLAGS.SILENT": ("+", True),
    b"-FLAGS": ("-", False),
    b"-FLAGS.SILENT": ("-", True),
}


def store_syntax(scanner: Scanner) -> Storing:
    """`set [(UNCHANGEDSINCE n)] [+|-]FLAGS[.SILENT] flags`."""
    scanner.space()
    ranges = scanner.sequence()
    scanner.space()
    unchanged_since = None
    if scanner.try_take(b"("):
        if scanner.word() != b"UNCHANGEDSINCE":
            raise Bad("unknown modifier")
        scanner.space()
        unchanged_since = scanner.number(MODSEQ_MAX)
        scanner.take(b")")
        scanner.space()
    item = _ITEMS.get(scanner.word())
    if item is None:
        raise Bad("FLAGS, +FLAGS or -FLAGS is missing")
    scanner.space()
    if scanner.peek() == 0x28:
        flags = scanner.flag_list()
    else:
        flags = [scanner.flag()]
        while scanner.try_space():
            flags.append(scanner.flag())
    scanner.end()
    return Storing(ranges, item[0], item[1], parse_flags(flags), unchanged_since)


@COMMANDS.command("STORE", states=SELECTED, syntax=store_syntax)
async def store(session: ImapSession, storing: Storing) -> Reply:
    """RFC 9051 section 6.4.6, RFC 7162 section 3.1.3."""
    view = selected(session)
    messages = chosen(session, storing.ranges)
    if view.read_only:
        raise No("the mailbox is read-only", code=b"READ-ONLY")
    flags = frozenset(
        match_keyword(flag, frozenset(view.keywords)) if flag[0] != "\\" else flag for flag in storing.flags
    )
    if storing.mode != "-" and len(view.keywords) + len(flags) > KEYWORDS_PER_FOLDER_MAX and not flags <= view.keywords:
        raise No(f"a mailbox can have {KEYWORDS_PER_FOLDER_MAX} keywords", code=b"LIMIT")
    if storing.unchanged_since is not None:
        session.enable_condstore()
    return await _store(session, view, messages, storing, flags)


async def _store(
    session: ImapSession, view: View, messages: list[tuple[int, Any]], storing: Storing, flags: frozenset[str]
) -> Reply:
    known_before = {m.uid: m.flags for _, m in messages if not view.has_change(m.uid)} if storing.silent else {}
    done, failed = await set_flags(
        session, view, [m for _, m in messages], storing.mode, flags, storing.unchanged_since
    )
    gone = any(message.expunged for _, message in messages)
    by_uid = session.verb.startswith(b"UID ")
    accepted = {message.uid for message in done}
    if accepted:
        session.send(view.announce_keywords(flags if storing.mode != "-" else ()))
    for number, message in messages:
        uid = message.uid
        if uid not in accepted or message.expunged:
            continue
        if storing.silent:
            if uid in known_before and message.flags == _expected(known_before[uid], storing.mode, flags):
                view.forget_change(uid)
                if session.condstore:
                    session.send(_modseq_response(session, number, message))
            continue
        view.forget_change(uid)
        session.send(session.flags_response(view, number, message))
    if failed:
        unchanged = {message.uid for message in failed}
        numbers = [m.uid if by_uid or session.uidonly else n for n, m in messages if m.uid in unchanged]
        return session.ok(b"Conditional STORE failed for some", b"MODIFIED " + format_set(numbers))
    if gone and not by_uid and not storing.silent:
        return session.no(b"Some of the messages have been expunged", b"EXPUNGEISSUED")
    return session.ok(session.verb + b" completed")


def _expected(old: frozenset[str], mode: str, flags: frozenset[str]) -> frozenset[str]:
    return old | flags if mode == "+" else old - flags if mode == "-" else flags


def _modseq_response(session: ImapSession, number: int, message: Any) -> bytes:
    if session.uidonly:
        return b"* %d UIDFETCH (MODSEQ (%d))\r\n" % (message.uid, message.modseq)
    return b"* %d FETCH (UID %d MODSEQ (%d))\r\n" % (number, message.uid, message.modseq)


async def set_flags(
    session: ImapSession,
    view: View,
    messages: Sequence[Any],
    mode: str,
    flags: frozenset[str],
    unchanged_since: int | None = None,
) -> tuple[Iterable[Any], Iterable[Any]]:
    """`Store.set_flags`, as far as the user's rights reach (RFC 4314 section 4). Raises No [NOPERM]."""
    folder = view.folder
    keep = session.services.store.set_flags
    if folder.owner is session.mailbox:
        return await keep(folder, messages, mode, flags, unchanged_since=unchanged_since)
    rights = session.rights(folder)
    allowed = frozenset(flag for flag in flags if needed_right(flag) in rights)
    if not any(right in rights for right in "swt") or (flags and not allowed):
        raise No("you have no right to set these flags", code=b"NOPERM")
    if mode != "=":
        return await keep(folder, messages, mode, allowed, unchanged_since=unchanged_since)
    if unchanged_since is not None:
        failed = [message for message in messages if message.modseq > unchanged_since]
        messages = [message for message in messages if message.modseq <= unchanged_since]
    else:
        failed = []
    mine = {flag for message in messages for flag in message.flags} | set(SYSTEM)
    dropped = frozenset(flag for flag in mine if needed_right(flag) in rights) - allowed
    await keep(folder, messages, "-", dropped)
    done, _ = await keep(folder, messages, "+", allowed)
    return done, failed


def needed_right(flag: str) -> str:
    """The right that changing a flag needs."""
    return "s" if flag == SEEN else "t" if flag == DELETED else "w"


# --- COPY, MOVE -------------------------------------------------------------------------------------------------------


def copy_syntax(scanner: Scanner) -> tuple[Ranges | None, bytes]:
    """A sequence set and a mailbox."""
    scanner.space()
    ranges = scanner.sequence()
    scanner.space()
    name = scanner.astring()
    scanner.end()
    return ranges, name


def target_folder(session: ImapSession, octets: bytes, need: str = "i") -> Any:
    """Where messages shall go; [TRYCREATE] where creating it would help (RFC 9051 section 6.3.12)."""
    name = session.name_text(octets)
    try:
        folder = session.find_selectable(name, need)
    except NoSuchMailbox as error:
        code = b"NONEXISTENT" if access.reserved(session, name) else b"TRYCREATE"
        raise No(str(error), code=code) from None
    session.tell_composed(folder, octets)
    return folder


@COMMANDS.command("COPY", states=SELECTED, syntax=copy_syntax)
async def copy(session: ImapSession, arguments: tuple[Ranges | None, bytes]) -> Reply:
    """RFC 9051 section 6.4.7: all or none."""
    messages = [message for _, message in chosen(session, arguments[0])]
    folder = target_folder(session, arguments[1])
    there = _still_there(session, messages)
    if not there:
        return session.ok(b"There was nothing to copy")
    new = await session.services.store.copy(there, folder)
    session.caused(folder, new)
    await _keep_allowed(session, folder, new)
    return session.ok(session.verb + b" completed", _copyuid(session, folder, there, new))


@COMMANDS.command("MOVE", states=SELECTED, syntax=copy_syntax, capability="MOVE")
async def move(session: ImapSession, arguments: tuple[Ranges | None, bytes]) -> Reply:
    """RFC 6851: COPYUID comes in an untagged OK, before the expunges."""
    view = selected(session)
    messages = [message for _, message in chosen(session, arguments[0])]
    if view.read_only:
        raise No("the mailbox is read-only", code=b"READ-ONLY")
    access.require(session, view.folder, "te")
    folder = target_folder(session, arguments[1])
    there = _still_there(session, messages)
    if not there:
        return session.ok(b"There was nothing to move")
    new = await session.services.store.move(there, folder)
    session.caused(folder, new)
    await _keep_allowed(session, folder, new)
    code = _copyuid(session, folder, there, new)
    if code:
        session.send(b"* OK [%s] Moved\r\n" % code)
    highest = b"HIGHESTMODSEQ %d" % view.folder.highest_modseq if session.qresync else b""
    return session.ok(session.verb + b" completed", highest)


async def _keep_allowed(session: ImapSession, folder: Any, new: Sequence[Any]) -> None:
    """Take those flags from copies in another's mailbox that the user may not set there (RFC 4314 section 4)."""
    if folder.owner is session.mailbox:
        return
    rights = session.rights(folder)
    dropped = {flag for message in new for flag in message.flags if needed_right(flag) not in rights}
    if dropped:
        await session.services.store.set_flags(folder, new, "-", frozenset(dropped))


def _still_there(session: ImapSession, messages: list[Any]) -> list[Any]:
    there = [message for message in messages if not message.expunged]
    if len(there) < len(messages) and not session.verb.startswith(b"UID "):
        raise No("some of the messages have been expunged", code=b"EXPUNGEISSUED")
    return there


def _copyuid(session: ImapSession, folder: Any, old: Sequence[Any], new: Sequence[Any]) -> bytes:
    """RFC 4315 section 3; nothing where the user may not read the target."""
    if "UIDPLUS" in session.settings.capabilities_hidden or not new or "r" not in session.rights(folder):
        return b""
    return b"COPYUID %d %s %s" % (
        folder.uid_validity,
        format_ordered([message.uid for message in old]),
        format_ordered([message.uid for message in new]),
    )


COMMANDS.command("UID STORE", states=SELECTED, syntax=store_syntax)(store)
COMMANDS.command("UID COPY", states=SELECTED, syntax=copy_syntax)(copy)
COMMANDS.command("UID MOVE", states=SELECTED, syntax=copy_syntax, capability="MOVE")(move)
