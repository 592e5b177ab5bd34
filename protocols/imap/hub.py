"""News between IMAP sessions that no folder tells: names, subscriptions, annotations (RFC 5465 sections 5.4 to 5.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .session import ImapSession

HUB_KEY = "imap.hub"


def hub(session: ImapSession) -> list[Any]:
    """The sessions' NOTIFYs, for events that no folder tells: names, subscriptions, annotations."""
    listeners: list[Any] = session.services.shared.setdefault(HUB_KEY, [])
    return listeners


def name_changed(session: ImapSession, folder: Any, attributes: bytes, *, old_name: str = "", gone: str = "") -> None:
    """A mailbox was made, renamed (`old_name` in its mailbox) or deleted (`gone`): tell who wants to hear of it."""
    for notify in tuple(hub(session)):
        listener: ImapSession = notify.session
        if folder.owner is not listener.mailbox and "l" not in listener.rights(folder):
            continue
        name = listener.folder_name(folder)
        prefix = name[: len(name) - len(folder.name)]
        if gone:
            name = prefix + gone
        if "MAILBOXNAME" in notify.events_of(name, folder) and listener is not session:
            line = b'* LIST (%b) "/" %b' % (attributes, listener.name_octets(name))
            if old_name:
                line += b' ("OLDNAME" (%b))' % listener.name_octets(prefix + old_name)
            notify.say(line + b"\r\n")
        if not gone:
            notify.watch(name, folder)


def subscription_changed(session: ImapSession, name: str, subscribed: bool) -> None:
    """A name was subscribed to or not any more: tell the user's other sessions."""
    folder = session.mailbox.folders.get(name)
    for notify in tuple(hub(session)):
        listener: ImapSession = notify.session
        if listener.mailbox is not session.mailbox or listener is session:
            continue
        if "SUBSCRIPTIONCHANGE" in notify.events_of(name, folder):
            attributes = b"\\Subscribed" if subscribed else b""
            notify.say(b'* LIST (%b) "/" %b\r\n' % (attributes, listener.name_octets(name)))


def metadata_changed(session: ImapSession, folder: Any, entries: list[str]) -> None:
    """Annotations were set: tell who wants to hear of it, and may."""
    for notify in tuple(hub(session)):
        listener: ImapSession = notify.session
        shown = [entry for entry in entries if entry.startswith("/shared/") or listener.user == session.user]
        if listener is session or not shown:
            continue
        if folder is None:
            wanted = any("SERVERMETADATACHANGE" in group.events for group in notify.groups)
            where = b'""'
        else:
            if folder.owner is not listener.mailbox and "r" not in listener.rights(folder):
                continue
            name = listener.folder_name(folder)
            wanted = "MAILBOXMETADATACHANGE" in notify.events_of(name, folder)
            where = listener.name_octets(name)
        if wanted:
            notify.say(b"* METADATA %b %b\r\n" % (where, " ".join(shown).encode()))
