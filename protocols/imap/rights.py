"""ACL (RFC 4314) and QUOTA (RFC 9208)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMailbox
from protocols.reply import Reply

from . import access
from .access import ALL_RIGHTS, VIRTUAL_RIGHTS, shown
from .errors import Bad, No
from .hub import rights_changed
from .mailboxes import one_mailbox
from .names import encode_utf7, quote
from .scanner import Scanner
from .states import AUTHENTICATED, COMMANDS

if TYPE_CHECKING:
    from .session import ImapSession

IDENTIFIERS_MAX = 500
"""Entries of one access control list."""


def _expand(rights: str) -> str:
    """Rights in the order of RFC 4314. Raises Bad for letters that are none."""
    wanted = set()
    for right in rights:
        if right not in ALL_RIGHTS and right not in VIRTUAL_RIGHTS:
            raise Bad("unknown right")
        wanted |= set(VIRTUAL_RIGHTS.get(right, right))
    return "".join(right for right in ALL_RIGHTS if right in wanted)


def _identifier(octets: bytes) -> str:
    try:
        name = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("an identifier is UTF-8") from None
    if not name.strip("-"):
        raise Bad("an identifier is missing")
    return name.casefold()


def acl_syntax(scanner: Scanner) -> tuple[bytes, bytes, str]:
    """A mailbox, an identifier, rights with `+` or `-` in front."""
    scanner.space()
    name = scanner.astring()
    scanner.space()
    identifier = scanner.astring()
    scanner.space()
    rights = scanner.astring().decode("ascii", "replace")
    scanner.end()
    return name, identifier, rights


def two_strings(scanner: Scanner) -> tuple[bytes, bytes]:
    """A mailbox and an identifier."""
    scanner.space()
    name = scanner.astring()
    scanner.space()
    identifier = scanner.astring()
    scanner.end()
    return name, identifier


def _administered(session: ImapSession, octets: bytes) -> Any:
    folder = session.find(session.name_text(octets))
    access.require(session, folder, "a")
    return folder


@COMMANDS.command("SETACL", states=AUTHENTICATED, syntax=acl_syntax, capability="ACL")
async def setacl(session: ImapSession, arguments: tuple[bytes, bytes, str]) -> Reply:
    """RFC 4314 section 3.1. The owner's own rights are fixed."""
    folder = _administered(session, arguments[0])
    identifier = _identifier(arguments[1])
    text = arguments[2]
    mode = text[:1] if text[:1] in ("+", "-") else ""
    rights = _expand(text.removeprefix(mode))
    if identifier.removeprefix("-") == folder.owner.name:
        raise No("the owner's rights cannot be changed", code=b"CANNOT")
    before = access.read_acl(session, folder)
    acl = dict(before)
    old = acl.get(identifier, "")
    if mode == "+":
        rights = _expand(old + rights)
    elif mode == "-":
        rights = "".join(right for right in old if right not in rights)
    acl[identifier] = rights
    if not rights:
        del acl[identifier]
    if len(acl) > IDENTIFIERS_MAX:
        raise No("the access control list is too long", code=b"LIMIT")
    await access.write_acl(session, folder, acl)
    rights_changed(session, folder, before)
    return session.ok(b"SETACL completed")


@COMMANDS.command("DELETEACL", states=AUTHENTICATED, syntax=two_strings, capability="ACL")
async def deleteacl(session: ImapSession, arguments: tuple[bytes, bytes]) -> Reply:
    """RFC 4314 section 3.2."""
    folder = _administered(session, arguments[0])
    before = access.read_acl(session, folder)
    acl = dict(before)
    if acl.pop(_identifier(arguments[1]), None) is not None:
        await access.write_acl(session, folder, acl)
        rights_changed(session, folder, before)
    return session.ok(b"DELETEACL completed")


@COMMANDS.command("GETACL", states=AUTHENTICATED, syntax=one_mailbox, capability="ACL")
async def getacl(session: ImapSession, octets: bytes) -> Reply:
    """RFC 4314 section 3.3."""
    folder = _administered(session, octets)
    pairs = [(folder.owner.name, ALL_RIGHTS), *sorted(access.read_acl(session, folder).items())]
    text = b"".join([b" %b %b" % (quote(name.encode()), shown(rights)) for name, rights in pairs])
    name = session.name_octets(session.folder_name(folder))
    return b"* ACL %b%b\r\n" % (name, text) + session.ok(b"GETACL completed")


@COMMANDS.command("LISTRIGHTS", states=AUTHENTICATED, syntax=two_strings, capability="ACL")
async def listrights(session: ImapSession, arguments: tuple[bytes, bytes]) -> Reply:
    """RFC 4314 section 3.4: the owner has all rights, others can be given each by itself."""
    folder = _administered(session, arguments[0])
    identifier = _identifier(arguments[1])
    always, optional = b'""', b" ".join([right.encode() for right in (*ALL_RIGHTS, *VIRTUAL_RIGHTS)])
    text = shown(ALL_RIGHTS) if identifier == folder.owner.name else always + b" " + optional
    name = session.name_octets(session.folder_name(folder))
    line = b"* LISTRIGHTS %b %b %b\r\n" % (name, quote(arguments[1]), text)
    return line + session.ok(b"LISTRIGHTS completed")


@COMMANDS.command("MYRIGHTS", states=AUTHENTICATED, syntax=one_mailbox, capability="ACL")
async def myrights(session: ImapSession, octets: bytes) -> Reply:
    """RFC 4314 section 3.5."""
    folder = session.find(session.name_text(octets))
    name = session.name_octets(session.folder_name(folder))
    line = b"* MYRIGHTS %b %b\r\n" % (name, shown(session.rights(folder)))
    return line + session.ok(b"MYRIGHTS completed")


# --- QUOTA ------------------------------------------------------------------------------------------------------------


def _quota_line(session: ImapSession, mailbox: Any) -> bytes:
    """`* QUOTA "alice" (STORAGE 10 512)`, in units of 1024 octets; no resources where there is no limit."""
    limit = session.services.store.quota_bytes_max
    resources = b"STORAGE %d %d" % (-(-mailbox.size // 1024), limit // 1024) if limit else b""
    return b"* QUOTA %b (%b)\r\n" % (quote(encode_utf7(mailbox.name)), resources)


@COMMANDS.command("GETQUOTA", states=AUTHENTICATED, syntax=one_mailbox, capability="QUOTA")
async def getquota(session: ImapSession, root: bytes) -> Reply:
    """RFC 9208 section 4.1.1. Each user's mailbox is a quota root of that name."""
    if session.name_text(root) not in ("", session.user):
        raise No("there is no such quota root", code=b"NONEXISTENT")
    return _quota_line(session, session.mailbox) + session.ok(b"GETQUOTA completed")


@COMMANDS.command("GETQUOTAROOT", states=AUTHENTICATED, syntax=one_mailbox, capability="QUOTA")
async def getquotaroot(session: ImapSession, octets: bytes) -> Reply:
    """RFC 9208 section 4.1.2."""
    text = session.name_text(octets)
    try:
        folder = session.find(text)
    except NoSuchMailbox:
        if access.reserved(session, text):
            raise
        owner, name = session.mailbox, session.name_octets(text)  # the root that it would have
    else:
        access.require(session, folder, "r")
        owner, name = folder.owner, session.name_octets(session.folder_name(folder))
    if owner is not session.mailbox:
        return b"* QUOTAROOT %b\r\n" % name + session.ok(b"GETQUOTAROOT completed")
    root = quote(encode_utf7(session.user))
    line = b"* QUOTAROOT %b %b\r\n" % (name, root)
    return line + _quota_line(session, session.mailbox) + session.ok(b"GETQUOTAROOT completed")


def setquota_syntax(scanner: Scanner) -> bytes:
    """A root and a list of limits."""
    scanner.space()
    root = scanner.astring()
    scanner.space()
    scanner.take(b"(")
    scanner.until(b")")
    scanner.take(b")")
    scanner.end()
    return root


@COMMANDS.command("SETQUOTA", states=AUTHENTICATED, syntax=setquota_syntax, capability="QUOTA")
async def setquota(session: ImapSession, root: bytes) -> Reply:
    """RFC 9208 section 4.1.3: limits are set by whoever runs the server (QUOTASET is not advertised)."""
    raise No("quotas are set where the server is configured", code=b"NOPERM")
