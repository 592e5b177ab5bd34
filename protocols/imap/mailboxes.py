"""Commands that make, name, open and empty mailboxes: SELECT, EXAMINE, CREATE, DELETE, RENAME, EXPUNGE and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMailbox, PortError
from protocols.reply import Reply

from . import access
from .annotations import copy_annotations
from .dialogue import nothing
from .errors import Bad, No
from .hub import name_changed, subscription_changed
from .names import SEPARATOR, above, check_new
from .scanner import Scanner
from .sequence import MODSEQ_MAX, STAR, Ranges, contains, format_set, resolve, spans
from .states import AUTHENTICATED, COMMANDS, SELECTED, State
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

SPECIAL_USES = {
    name.lower(): name for name in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")
}


def one_mailbox(scanner: Scanner) -> bytes:
    """The syntax of a command that takes a mailbox name."""
    scanner.space()
    name = scanner.astring()
    scanner.end()
    return name


# --- SELECT, EXAMINE --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resync:
    """The QRESYNC parameter of SELECT (RFC 7162 section 3.2.5)."""

    uid_validity: int
    modseq: int
    known_uids: Ranges | None = None
    known_numbers: Ranges | None = None
    known_number_uids: Ranges | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The arguments of SELECT and EXAMINE."""

    name: bytes
    condstore: bool = False
    resync: Resync | None = None


def select_syntax(scanner: Scanner) -> Selection:
    """A mailbox, and parameters in parentheses (RFC 4466 section 2.2)."""
    scanner.space()
    name = scanner.astring()
    condstore, resync = False, None
    if scanner.try_space():
        scanner.take(b"(")
        while True:
            parameter = scanner.word()
            if parameter == b"CONDSTORE":
                condstore = True
            elif parameter == b"QRESYNC":
                resync = _resync(scanner)
            else:
                raise Bad("unknown parameter")
            if scanner.try_take(b")"):
                break
            scanner.space()
    scanner.end()
    return Selection(name, condstore, resync)


def _resync(scanner: Scanner) -> Resync:
    """RFC 7162 section 3.2.5. Mod-sequences begin at 1; clients that know none yet say 0, as in CHANGEDSINCE."""
    scanner.space()
    scanner.take(b"(")
    uid_validity = scanner.number()
    scanner.space()
    modseq = scanner.number(MODSEQ_MAX)
    if not uid_validity:
        raise Bad("UIDVALIDITY is not 0")
    known_uids = numbers = uids = None
    if scanner.try_space():
        if scanner.peek() != 0x28:
            known_uids = _known(scanner)
            more = scanner.try_space()
        else:
            more = True
        if more:
            scanner.take(b"(")
            numbers = _known(scanner)
            scanner.space()
            uids = _known(scanner)
            scanner.take(b")")
    scanner.take(b")")
    return Resync(uid_validity, modseq, known_uids, numbers, uids)


def _known(scanner: Scanner) -> Ranges:
    """A set of UIDs or numbers that the client knows: `*` and `$` name nothing known (RFC 7162 section 7)."""
    ranges = scanner.sequence()
    if ranges is None or ranges[-1][1] == STAR:
        raise Bad("what is known has numbers")
    return ranges


@COMMANDS.command("SELECT", states=AUTHENTICATED, syntax=select_syntax)
async def select(session: ImapSession, selection: Selection) -> Reply:
    """RFC 9051 section 6.3.2."""
    return await _open(session, selection, read_only=False)


@COMMANDS.command("EXAMINE", states=AUTHENTICATED, syntax=select_syntax)
async def examine(session: ImapSession, selection: Selection) -> Reply:
    """RFC 9051 section 6.3.3."""
    return await _open(session, selection, read_only=True)


async def _open(session: ImapSession, selection: Selection, *, read_only: bool) -> Reply:
    if selection.resync is not None and not session.qresync:
        raise Bad("QRESYNC was not enabled")
    if session.uidonly and selection.resync is not None and selection.resync.known_numbers is not None:
        raise Bad("message numbers cannot be used after ENABLE UIDONLY", code=b"UIDREQUIRED")
    if session.deselect():
        session.send(b"* OK [CLOSED] The mailbox that was selected is closed\r\n")
    folder = session.find_selectable(session.name_text(selection.name), "lr")
    rights = session.rights(folder)
    if not any(right in rights for right in "iswte"):  # RFC 4314 section 5.2
        read_only = True
    if selection.condstore or selection.resync is not None:
        session.enable_condstore()
    view = View(session, folder, read_only=read_only)
    first_recent = folder.first_recent_uid
    if read_only:
        view.recent.update(uid for uid in _from(view.uids, first_recent))
    else:
        view.recent.update(_from(view.uids, session.services.store.claim_recent(folder)))
    view.announced_recent = len(view.recent)
    view.learn_keywords()
    session.view = view
    session.state = State.SELECTED
    session.send(_opening(session, view))
    if session.rev2:
        session.send(session.listed(folder, selection.name))
    if selection.resync is not None:
        session.send(_catch_up(session, view, selection.resync))
    if folder.first_recent_uid != first_recent:
        try:
            await session.services.store.save_folder(folder)
        except PortError:
            pass  # which messages were \\Recent is not worth refusing the mailbox for
    code = b"READ-ONLY" if read_only else b"READ-WRITE"
    return session.ok(session.verb + b" completed", code)


def _from(uids: list[int], first: int) -> list[int]:
    if not uids or uids[-1] < first:
        return []
    return [uid for uid in uids if uid >= first]


def _opening(session: ImapSession, view: View) -> bytes:
    """The untagged responses of SELECT (RFC 9051 section 6.3.2, RFC 3501 section 6.3.1)."""
    folder = view.folder
    uid_next = view.uids[-1] + 1 if view.uids and view.uids[-1] >= folder.uid_next else folder.uid_next
    out = [
        view.flags_line(),
        view.permanent_flags_line(),
        b"* %d EXISTS\r\n" % view.count,
    ]
    if not session.rev2:
        out.append(b"* %d RECENT\r\n" % len(view.recent))
        unseen = 0 if session.uidonly else view.first_unseen()
        if unseen:
            out.append(b"* OK [UNSEEN %d] First unseen\r\n" % unseen)
    out.append(b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % folder.uid_validity)
    out.append(b"* OK [UIDNEXT %d] Predicted next UID\r\n" % uid_next)
    hidden = session.settings.capabilities_hidden
    if "CONDSTORE" not in hidden:
        out.append(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % folder.highest_modseq)
    if "OBJECTID" not in hidden:
        out.append(b"* OK [MAILBOXID (%s)] Mailbox identifier\r\n" % folder.mailbox_id.encode())
    return b"".join(out)


def _catch_up(session: ImapSession, view: View, resync: Resync) -> bytes:
    """What happened since the client last looked (RFC 7162 section 3.2.5)."""
    folder = view.folder
    if resync.uid_validity != folder.uid_validity:
        return b""
    known = resync.known_uids
    bounds = resolve(known, max(folder.uid_next - 1, 0)) if known is not None else None
    vanished = folder.vanished_since(resync.modseq)
    if vanished is None:
        vanished = _missing(view, bounds, folder.uid_next, _first_doubt(view, resync))
    elif bounds is not None:
        vanished = [uid for uid in vanished if contains(bounds, uid)]
    out = []
    if vanished:
        out.append(b"* VANISHED (EARLIER) %s\r\n" % format_set(vanished))
    for number, message in enumerate(view.messages, 1):
        if message.modseq > resync.modseq and (bounds is None or contains(bounds, message.uid)):
            out.append(session.flags_response(view, number, message))
    return b"".join(out)


def _first_doubt(view: View, resync: Resync) -> int:
    """The first UID about which the client's pairs of numbers and UIDs leave doubt (RFC 7162 section 3.2.5.2)."""
    if resync.known_numbers is None or resync.known_number_uids is None:
        return 1
    numbers = [n for low, high in resolve(resync.known_numbers, view.count) for n in range(low, high + 1)]
    limit = view.uids[-1] if view.uids else 0
    uids = [
        u
        for low, high in resolve(resync.known_number_uids, limit)[:1000]
        for u in range(low, min(high, low + 100_000) + 1)
    ]
    first = 1
    for number, uid in zip(numbers, uids, strict=False):
        if number > view.count or view.uids[number - 1] != uid:
            break
        first = uid + 1
    return first


MISSING_MAX = 1_000_000
"""UIDs looked at when the history does not reach back far enough."""


def _missing(view: View, bounds: Ranges | None, uid_next: int, first: int) -> list[int]:
    """UIDs that are not there: more than is needed, never less (RFC 7162 section 3.2.6 allows it)."""
    there = set(view.uids)
    ranges = bounds if bounds is not None else ((1, uid_next - 1),)
    missing: list[int] = []
    for low, high in ranges:
        for uid in range(max(low, first), min(high, uid_next - 1) + 1):
            if uid not in there:
                missing.append(uid)
                if len(missing) >= MISSING_MAX:
                    return missing
    return missing


# --- CLOSE, UNSELECT, CHECK, EXPUNGE ----------------------------------------------------------------------------------


@COMMANDS.command("CLOSE", states=SELECTED, syntax=nothing)
async def close(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.4.1: what is \\Deleted goes, and nothing is said of it."""
    view = session.view
    assert view is not None
    if not view.read_only and "e" in session.rights(view.folder):
        await session.services.store.expunge(view.folder, view.deleted_messages())
    session.deselect()
    return session.ok(b"CLOSE completed")


@COMMANDS.command("UNSELECT", states=SELECTED, syntax=nothing, capability="UNSELECT")
async def unselect(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.4.2."""
    session.deselect()
    return session.ok(b"UNSELECT completed")


@COMMANDS.command("CHECK", states=SELECTED, syntax=nothing)
async def check(session: ImapSession, _: None) -> Reply:
    """RFC 3501 section 6.4.1: everything acknowledged is kept already."""
    return session.ok(b"CHECK completed")


@COMMANDS.command("EXPUNGE", states=SELECTED, syntax=nothing)
async def expunge(session: ImapSession, _: None) -> Reply:
    """RFC 9051 section 6.4.3."""
    return await _expunge(session, None)


def uid_expunge_syntax(scanner: Scanner) -> Ranges | None:
    """A sequence set of UIDs."""
    scanner.space()
    ranges = scanner.sequence()
    scanner.end()
    return ranges if ranges is not None else ()


@COMMANDS.command("UID EXPUNGE", states=SELECTED, syntax=uid_expunge_syntax, capability="UIDPLUS")
async def uid_expunge(session: ImapSession, ranges: Ranges) -> Reply:
    """RFC 9051 section 6.4.9."""
    view = session.view
    assert view is not None
    return await _expunge(session, ranges if ranges != () else spans(view.saved))


async def _expunge(session: ImapSession, ranges: Ranges | None) -> Reply:
    view = session.view
    assert view is not None
    if view.read_only:
        raise No("the mailbox is read-only", code=b"CANNOT")
    access.require(session, view.folder, "e")
    messages = view.deleted_messages()
    if ranges is not None:
        wanted = resolve(ranges, view.uids[-1] if view.uids else 0)
        messages = [message for message in messages if contains(wanted, message.uid)]
    await session.services.store.expunge(view.folder, messages)
    code = b"HIGHESTMODSEQ %d" % view.folder.highest_modseq if session.qresync and messages else b""
    return session.ok(session.verb + b" completed", code)


# --- CREATE, DELETE, RENAME, SUBSCRIBE --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Creation:
    """The arguments of CREATE."""

    name: bytes
    special_uses: tuple[str, ...] = ()


def create_syntax(scanner: Scanner) -> Creation:
    """A mailbox, and `(USE (\\Sent …))` (RFC 6154 section 3)."""
    scanner.space()
    name = scanner.astring()
    uses: list[str] = []
    if scanner.try_space():
        scanner.take(b"(")
        if scanner.word() != b"USE":
            raise Bad("unknown parameter")
        scanner.space()
        uses = scanner.flag_list()
        scanner.take(b")")
    scanner.end()
    return Creation(name, tuple(uses))


@COMMANDS.command("CREATE", states=AUTHENTICATED, syntax=create_syntax)
async def create(session: ImapSession, creation: Creation) -> Reply:
    """RFC 9051 section 6.3.4, RFC 6154 section 3."""
    name = check_new(session.name_text(creation.name))
    mailbox, inner = access.locate_new(session, name)
    use = ""
    if creation.special_uses:
        if "CREATE-SPECIAL-USE" in session.settings.capabilities_hidden:
            raise Bad("unknown parameter")
        use = special_use(mailbox, creation.special_uses)
    folder = await session.services.store.create_folder(mailbox, inner, special_use=use)
    await _inherit_acl(session, mailbox, folder)
    name_changed(session, folder)
    session.tell_composed(folder, creation.name)
    code = b"" if "OBJECTID" in session.settings.capabilities_hidden else b"MAILBOXID (%s)" % folder.mailbox_id.encode()
    return session.ok(b"CREATE completed", code)


def special_use(mailbox: Any, wanted: tuple[str, ...], mine: Any = None) -> str:
    """The one special use that a mailbox shall have and none but `mine` has. Raises No [USEATTR]."""
    known = SPECIAL_USES.get(wanted[0].lower())
    if known is None or len(wanted) > 1:
        raise No("a mailbox can have one of the special uses of RFC 6154", code=b"USEATTR")
    if any(folder.special_use == known and folder is not mine for folder in mailbox.folders.values()):
        raise No(f"another mailbox is used as {known}", code=b"USEATTR")
    return known


async def _inherit_acl(session: ImapSession, mailbox: Any, folder: Any) -> None:
    """A new mailbox has the access control list of the one above it (RFC 4314 section 4, CREATE)."""
    parents = [mailbox.folders[name] for name in above(folder.name) if name in mailbox.folders]
    acl = access.read_acl(session, parents[-1]) if parents else {}
    if acl:
        await access.write_acl(session, folder, acl)


@COMMANDS.command("DELETE", states=AUTHENTICATED, syntax=one_mailbox)
async def delete(session: ImapSession, octets: bytes) -> Reply:
    """RFC 9051 section 6.3.5. One's own selected mailbox is left first."""
    name = session.name_text(octets)
    if name == "INBOX":
        raise No("INBOX cannot be deleted", code=b"CANNOT")
    folder = session.find(name)
    access.require(session, folder, "x")
    if folder.owner is None:
        raise No("newsgroups are not deleted from here", code=b"NOPERM")
    if not folder.selectable and any(other.startswith(folder.name + "/") for other in folder.owner.folders):
        raise No(f"{name} has mailboxes below it", code=b"HASCHILDREN")
    if session.view is not None and session.view.folder is folder:
        session.deselect()
    gone = folder.name
    await session.services.store.delete_folder(folder)
    name_changed(session, folder, gone=gone)
    return session.ok(b"DELETE completed")


def rename_syntax(scanner: Scanner) -> tuple[bytes, bytes]:
    """Two mailbox names."""
    scanner.space()
    old = scanner.astring()
    scanner.space()
    new = scanner.astring()
    scanner.end()
    return old, new


@COMMANDS.command("RENAME", states=AUTHENTICATED, syntax=rename_syntax)
async def rename(session: ImapSession, names: tuple[bytes, bytes]) -> Reply:
    """RFC 9051 section 6.3.6. INBOX gives its messages away and stays."""
    folder = session.find(session.name_text(names[0]))
    new = check_new(session.name_text(names[1]))
    if folder.owner is None:
        raise No("newsgroups are not renamed from here", code=b"NOPERM")
    access.require(session, folder, "x")
    mailbox, inner = access.locate_new(session, new)
    if mailbox is not folder.owner:
        raise No("a mailbox cannot be given to another user", code=b"NOPERM")
    old = folder.name
    if old != "INBOX" and inner.startswith(old + SEPARATOR):
        raise No("a mailbox cannot be moved below itself", code=b"CANNOT")
    await session.services.store.rename_folder(folder, inner)
    if old == "INBOX":  # which stays, and keeps its annotations (RFC 5464 section 4.1)
        folder = mailbox.folders[inner]
        await copy_annotations(session, mailbox.folders["INBOX"], folder)
    name_changed(session, folder, old_name=old)
    return session.ok(b"RENAME completed")


@COMMANDS.command("SUBSCRIBE", states=AUTHENTICATED, syntax=one_mailbox)
async def subscribe(session: ImapSession, octets: bytes) -> Reply:
    """RFC 9051 section 6.3.7."""
    name = check_new(session.name_text(octets))
    try:
        session.find(name)
    except NoSuchMailbox:
        raise No("there is no such mailbox", code=b"NONEXISTENT") from None
    await session.services.store.subscribe(session.mailbox, name, True)
    subscription_changed(session, name)
    return session.ok(b"SUBSCRIBE completed")


@COMMANDS.command("UNSUBSCRIBE", states=AUTHENTICATED, syntax=one_mailbox)
async def unsubscribe(session: ImapSession, octets: bytes) -> Reply:
    """RFC 9051 section 6.3.8. A name that is not subscribed is no error."""
    name = session.name_text(octets).removesuffix("/")
    await session.services.store.subscribe(session.mailbox, name, False)
    subscription_changed(session, name)
    return session.ok(b"UNSUBSCRIBE completed")
