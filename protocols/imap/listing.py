"""LIST with its extensions, LSUB, STATUS and NAMESPACE (RFC 9051 sections 6.3.9 to 6.3.11, RFC 5258, 5819, 6154)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protocols.reply import Reply

from . import access
from .annotations import entry_name, list_metadata
from .dialogue import nothing
from .errors import Bad
from .names import SEPARATOR, Pattern, above, read_pattern
from .scanner import Scanner
from .states import AUTHENTICATED, COMMANDS

if TYPE_CHECKING:
    from .session import ImapSession

PATTERNS_MAX = 100

STATUS_ITEMS = (
    "MESSAGES",
    "RECENT",
    "UIDNEXT",
    "UIDVALIDITY",
    "UNSEEN",
    "DELETED",
    "SIZE",
    "HIGHESTMODSEQ",
    "MAILBOXID",
    "APPENDLIMIT",
    "DELETED-STORAGE",
)
_ITEM_NEEDS = {
    "SIZE": "STATUS=SIZE",
    "HIGHESTMODSEQ": "CONDSTORE",
    "MAILBOXID": "OBJECTID",
    "APPENDLIMIT": "APPENDLIMIT",
    "DELETED-STORAGE": "QUOTA",
}


# --- what there is ----------------------------------------------------------------------------------------------------


def visible(session: ImapSession) -> dict[str, Any]:
    """All names that the user may see, with their folders; None for the root of a namespace."""
    names: dict[str, Any] = dict(session.mailbox.folders)
    store = session.services.store
    for mailbox in _sharing(session):
        shown = {
            f"{access.OTHER_USERS}{mailbox.name}{SEPARATOR}{folder.name}": folder
            for folder in mailbox.folders.values()
            if "l" in access.rights(session, folder)
        }
        if shown:
            names.update(shown)
            for name in shown:  # levels that were not shared lead to those that were
                for parent in above(name):
                    names.setdefault(parent, None)
    public = session.settings.public_namespace
    if public and store.newsgroups:
        if public.endswith(SEPARATOR):
            names[public.removesuffix(SEPARATOR)] = None
        for name, folder in store.newsgroups.items():
            names[public + name] = folder
    return names


def _sharing(session: ImapSession) -> Iterable[Any]:
    """Mailboxes of others who shared something: found by the ACLs that are kept."""
    store = session.services.store
    if "ACL" in session.settings.capabilities_hidden:
        return []
    owners = set()
    for scope, key in store.annotations:
        if key == access.ACL_KEY and scope.startswith("folder:"):
            folder = store.folders_by_id.get(int(scope[7:]))
            if folder is not None and folder.owner is not None and folder.owner is not session.mailbox:
                owners.add(folder.owner.name)
    return [store.mailboxes[name] for name in sorted(owners) if name in store.mailboxes]


def in_order(names: Iterable[str]) -> list[str]:
    """INBOX first, then by name."""
    return sorted(names, key=lambda name: (name != "INBOX", name))


# --- LIST -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Listing:
    """The arguments of LIST."""

    reference: bytes = b""
    patterns: list[bytes] = field(default_factory=list)
    selection: set[str] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    extended: bool = False


_SELECTION = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
_RETURN = frozenset({"SUBSCRIBED", "CHILDREN", "STATUS", "SPECIAL-USE", "MYRIGHTS", "METADATA"})


def list_syntax(scanner: Scanner) -> Listing:
    """`[(selection)] reference pattern|(patterns) [RETURN (…)]`."""
    listing = Listing()
    scanner.space()
    if scanner.peek() == 0x28:
        listing.extended = True
        listing.selection = _options(scanner, _SELECTION, listing)
        scanner.space()
        if "RECURSIVEMATCH" in listing.selection and listing.selection <= {"RECURSIVEMATCH", "REMOTE"}:
            raise Bad("RECURSIVEMATCH needs another selection option")
    listing.reference = scanner.astring()
    scanner.space()
    if scanner.try_take(b"("):
        listing.extended = True
        while True:
            listing.patterns.append(scanner.list_mailbox())
            if len(listing.patterns) > PATTERNS_MAX:
                raise Bad("there are too many patterns")
            if scanner.try_take(b")"):
                break
            scanner.space()
    else:
        listing.patterns.append(scanner.list_mailbox())
    if scanner.try_space():
        if scanner.word() != b"RETURN":
            raise Bad("RETURN is missing")
        listing.extended = True
        scanner.space()
        listing.returned = _options(scanner, _RETURN, listing)
    scanner.end()
    return listing


def _options(scanner: Scanner, known: frozenset[str], listing: Listing) -> set[str]:
    scanner.take(b"(")
    options: set[str] = set()
    scanner.skip_spaces()
    while not scanner.try_take(b")"):
        if options:
            scanner.space()
        word = scanner.word().decode("ascii")
        if word not in known:
            raise Bad("unknown option")
        options.add(word)
        if word == "STATUS":
            scanner.space()
            listing.status = status_items(scanner)
        elif word == "METADATA":
            scanner.space()
            listing.metadata = _entries(scanner)
    return options


def _entries(scanner: Scanner) -> tuple[str, ...]:
    scanner.take(b"(")
    names = []
    while True:
        names.append(entry_name(scanner.astring()))
        if scanner.try_take(b")"):
            return tuple(names)
        scanner.space()


@dataclass(slots=True)
class _Match:
    """One line of the answer."""

    name: str
    folder: Any
    exists: bool
    child_info: bool = False


@COMMANDS.command("LIST", states=AUTHENTICATED, syntax=list_syntax)
async def list_(session: ImapSession, listing: Listing) -> Reply:
    """RFC 9051 section 6.3.9."""
    if not listing.extended and listing.patterns == [b""]:
        root = _root(session, listing.reference.decode("utf-8", "replace"))
        return list_response(session, root, ["\\Noselect"]) + b"\r\n" + session.ok(b"LIST completed")
    if "HIGHESTMODSEQ" in listing.status:
        session.enable_condstore()
    patterns = [read_pattern(listing.reference, text, utf8=session.utf8) for text in listing.patterns]
    names = visible(session)
    parents = {parent for name in names for parent in above(name)}
    out: list[bytes] = []
    for match in _matches(session, listing, patterns, names):
        out.append(_list_line(session, listing, match, parents))
        if match.folder is not None:
            out.append(_more_of(session, listing, match))
    session.send(b"".join(out))
    return session.ok(b"LIST completed")


def _root(session: ImapSession, reference: str) -> str:
    """The root of a reference name: the prefix of its namespace."""
    prefixes = [session.settings.public_namespace]
    if "ACL" not in session.settings.capabilities_hidden:
        prefixes.append(access.OTHER_USERS)
    return next((prefix for prefix in prefixes if prefix and reference.startswith(prefix)), "")


def _more_of(session: ImapSession, listing: Listing, match: _Match) -> bytes:
    """STATUS, MYRIGHTS and METADATA of a mailbox, as far as RETURN asks for them and the user's rights reach."""
    name, folder = match.name, match.folder
    rights = session.rights(folder)
    out = b""
    if listing.status and folder.selectable and "r" in rights:
        out += status_line(session, name, folder, listing.status)
    if "MYRIGHTS" in listing.returned and folder.selectable:
        out += b"* MYRIGHTS %b %b\r\n" % (session.name_octets(name), access.shown(rights))
    if listing.metadata and "r" in rights:
        out += list_metadata(session, name, folder, listing.metadata)
    return out


def _matches(
    session: ImapSession, listing: Listing, patterns: list[Pattern], names: dict[str, Any]
) -> Iterable[_Match]:
    selection = listing.selection
    subscriptions = session.mailbox.subscriptions
    if "SUBSCRIBED" in selection:
        candidates = set(subscriptions)
    elif "SPECIAL-USE" in selection:
        candidates = {name for name, folder in names.items() if folder is not None and folder.special_use}
    else:
        candidates = set(names)
    if "SUBSCRIBED" in selection and "SPECIAL-USE" in selection:
        candidates = {name for name in candidates if getattr(names.get(name), "special_use", "")}
    found = {name for name in candidates if any(pattern.matches(name) for pattern in patterns)}
    if not any(pattern.text.endswith("%") for pattern in patterns):
        found = {name for name in found if name in subscriptions or not _only_leads_on(name, names.get(name))}
    parents: set[str] = set()
    if "RECURSIVEMATCH" in selection:
        # names that match, for a child that is selected; not for children alone that are listed themselves, unless the
        # name is listed anyway (RFC 5258 section 3.5)
        parents = {
            parent
            for name in candidates
            for parent in above(name)
            if (parent in found or name not in found) and any(pattern.matches(parent) for pattern in patterns)
        }
    for name in in_order(found | parents):
        yield _Match(name, names.get(name), name in names, name in parents)


def _only_leads_on(name: str, folder: Any) -> bool:
    """Whether a name is there for the levels below it alone: only `%` lists it (RFC 4314 section 4, LIST)."""
    return folder is None and name.startswith(access.OTHER_USERS) and name.count(SEPARATOR) > 1


def _list_line(session: ImapSession, listing: Listing, match: _Match, parents: set[str]) -> bytes:
    told = "SUBSCRIBED" in (listing.returned | listing.selection)
    attributes = attributes_of(
        session,
        match.folder,
        exists=match.exists,
        subscribed=told and match.name in session.mailbox.subscriptions,
        children=match.name in parents,
    )
    line = list_response(session, match.name, attributes)
    if match.child_info:
        line += (
            b' ("CHILDINFO" ("SUBSCRIBED"))' if "SUBSCRIBED" in listing.selection else b' ("CHILDINFO" ("SPECIAL-USE"))'
        )
    return line + b"\r\n"


def attributes_of(session: ImapSession, folder: Any, *, exists: bool, subscribed: bool, children: bool) -> list[str]:
    """The attributes of a name (RFC 9051 section 7.3.1); a `folder` of None is the root of a namespace."""
    attributes = []
    if not exists:
        attributes.append("\\NonExistent")
    elif folder is None or not folder.selectable:
        attributes.append("\\Noselect")
    if subscribed:
        attributes.append("\\Subscribed")
    if "CHILDREN" not in session.settings.capabilities_hidden:
        attributes.append("\\HasChildren" if children else "\\HasNoChildren")
    if folder is not None and folder.special_use and folder.owner is session.mailbox:
        attributes.append(folder.special_use)
    return attributes


def list_response(session: ImapSession, name: str, attributes: Iterable[str]) -> bytes:
    """`* LIST (attributes) "/" name`, without the line's end."""
    return b'* LIST (%b) "/" %b' % (" ".join(attributes).encode(), session.name_octets(name))


def lsub_syntax(scanner: Scanner) -> Listing:
    """`reference pattern`."""
    scanner.space()
    reference = scanner.astring()
    scanner.space()
    pattern = scanner.list_mailbox()
    scanner.end()
    return Listing(reference, [pattern])


@COMMANDS.command("LSUB", states=AUTHENTICATED, syntax=lsub_syntax)
async def lsub(session: ImapSession, listing: Listing) -> Reply:
    """RFC 3501 section 6.3.9: with `%`, a name above a subscribed one is \\Noselect."""
    pattern = read_pattern(listing.reference, listing.patterns[0], utf8=session.utf8)
    subscriptions = session.mailbox.subscriptions
    names = {name: b"" for name in subscriptions if pattern.matches(name)}
    if pattern.text.endswith("%"):
        for name in subscriptions:
            for parent in above(name):
                if parent not in names and pattern.matches(parent):
                    names[parent] = b"\\Noselect"
    verb = session.verb if session.verb != b"RLSUB" else b"LSUB"
    out = [b'* %b (%b) "/" %b\r\n' % (verb, names[name], session.name_octets(name)) for name in in_order(names)]
    return b"".join(out) + session.ok(session.verb + b" completed")


# RFC 2193: the same, for clients that would follow a referral; there is never one
COMMANDS.command("RLIST", states=AUTHENTICATED, syntax=list_syntax, capability="MAILBOX-REFERRALS")(list_)
COMMANDS.command("RLSUB", states=AUTHENTICATED, syntax=lsub_syntax, capability="MAILBOX-REFERRALS")(lsub)


# --- STATUS -----------------------------------------------------------------------------------------------------------


def status_items(scanner: Scanner) -> tuple[str, ...]:
    """The items in parentheses. Raises Bad."""
    scanner.take(b"(")
    items: list[str] = []
    scanner.skip_spaces()
    while not scanner.try_take(b")"):
        if items:
            scanner.space()
            if scanner.try_take(b")"):
                break
        item = scanner.word().decode("ascii")
        if item not in STATUS_ITEMS:
            raise Bad("unknown status item")
        items.append(item)
    if not items:
        raise Bad("a status item is missing")
    return tuple(dict.fromkeys(items))


def status_syntax(scanner: Scanner) -> tuple[bytes, tuple[str, ...]]:
    """A mailbox and items."""
    scanner.space()
    name = scanner.astring()
    scanner.space()
    items = status_items(scanner)
    scanner.end()
    return name, items


@COMMANDS.command("STATUS", states=AUTHENTICATED, syntax=status_syntax)
async def status(session: ImapSession, arguments: tuple[bytes, tuple[str, ...]]) -> Reply:
    """RFC 9051 section 6.3.11. Works on the selected mailbox too."""
    name = session.name_text(arguments[0])
    items = arguments[1]
    for item in items:
        if _ITEM_NEEDS.get(item) in session.settings.capabilities_hidden:
            raise Bad("unknown status item")
    folder = session.find_selectable(name, "r")
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()
    return status_line(session, name, folder, items) + session.ok(b"STATUS completed")


def status_line(session: ImapSession, name: str, folder: Any, items: Iterable[str]) -> bytes:
    """The untagged STATUS response."""
    values = [b"%b %b" % (item.encode(), _status_value(session, folder, item)) for item in items]
    return b"* STATUS %b (%b)\r\n" % (session.name_octets(name), b" ".join(values))


def _status_value(session: ImapSession, folder: Any, item: str) -> bytes:
    if item == "MAILBOXID":
        return b"(%b)" % folder.mailbox_id.encode()
    if item == "RECENT":
        view = session.view
        if view is not None and view.folder is folder:
            return b"%d" % len(view.recent)
        return b"%d" % (len(folder.uids) - bisect_left(folder.uids, folder.first_recent_uid))
    if item == "DELETED-STORAGE":
        return b"%d" % sum(message.size for message in folder.messages if "\\Deleted" in message.flags)
    if item == "MESSAGES":
        return b"%d" % len(folder.messages)
    if item == "APPENDLIMIT":
        return b"%d" % session.limits.message_bytes_max
    return b"%d" % getattr(folder, _ATTRIBUTES[item])


_ATTRIBUTES = {
    "UIDNEXT": "uid_next",
    "UIDVALIDITY": "uid_validity",
    "UNSEEN": "unseen",
    "DELETED": "deleted",
    "SIZE": "size",
    "HIGHESTMODSEQ": "highest_modseq",
}


# --- NAMESPACE --------------------------------------------------------------------------------------------------------


@COMMANDS.command("NAMESPACE", states=AUTHENTICATED, syntax=nothing, capability="NAMESPACE")
async def namespace(session: ImapSession, _: None) -> Reply:
    """RFC 2342 (KB Q311468)."""
    others = b"NIL" if "ACL" in session.settings.capabilities_hidden else b'(("%b" "/"))' % access.OTHER_USERS.encode()
    public = session.settings.public_namespace
    groups = b'(("%b" "/"))' % public.encode("ascii", "replace") if public else b"NIL"
    return b'* NAMESPACE (("" "/")) %b %b\r\n' % (others, groups) + session.ok(b"NAMESPACE completed")
