"""News between IMAP sessions that no folder tells: names, subscriptions, annotations, rights (RFC 5465 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import access
from .names import SEPARATOR, above

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .session import ImapSession

HUB_KEY = "imap.hub"


def hub(session: ImapSession) -> list[Any]:
    """The sessions' NOTIFYs, for events that no folder tells: names, subscriptions, annotations."""
    listeners: list[Any] = session.services.shared.setdefault(HUB_KEY, [])
    return listeners


def _may_list(listener: ImapSession, folder: Any) -> bool:
    return folder.owner is listener.mailbox or "l" in listener.rights(folder)


def name_changed(session: ImapSession, folder: Any, *, old_name: str = "", gone: str = "") -> None:
    """A mailbox was made, renamed (`old_name` in its mailbox) or deleted (`gone`): tell who wants to hear of it.

    What is made or deleted affects the name above it, too (RFC 5465 section 5.4).
    """
    for notify in tuple(hub(session)):
        listener: ImapSession = notify.session
        if not _may_list(listener, folder):
            continue
        name = listener.folder_name(folder)
        prefix = name[: len(name) - len(folder.name)]
        if gone:
            name = prefix + gone
        if listener is not session and "MAILBOXNAME" in notify.events_of(name, folder):
            notify.say_name(name, old_name=prefix + old_name if old_name else "")
            if not old_name and (parents := above(name)):
                notify.say_name(parents[-1])
        notify.reconsider(name, folder)
        if old_name and folder.owner is not None:
            for below in tuple(folder.owner.folders.values()):
                if below.name.startswith(folder.name + SEPARATOR):
                    notify.reconsider(listener.folder_name(below), below)


def rights_changed(session: ImapSession, folder: Any, before: Mapping[str, str]) -> None:
    """Rights on a mailbox are others than in the list `before`: what a user may see has come, or has gone."""
    for notify in tuple(hub(session)):
        listener: ImapSession = notify.session
        if folder.owner is listener.mailbox or listener is session:
            continue
        old, new = access.rights_by(listener, before), listener.rights(folder)
        name = listener.folder_name(folder)
        if ("l" in old) != ("l" in new):
            if "MAILBOXNAME" in notify.events_of(name, folder):
                notify.say_name(name)
            elif folder in notify.watches:
                notify.say_no_access(name)
        notify.reconsider(name, folder)


def subscription_changed(session: ImapSession, name: str) -> None:
    """A name was subscribed to or not any more: tell the user's other sessions."""
    folder = session.mailbox.folders.get(name)
    for notify in tuple(hub(session)):
        listener: ImapSession = notify.session
        if listener.mailbox is not session.mailbox:
            continue
        if listener is not session and "SUBSCRIPTIONCHANGE" in notify.events_of(name, folder):
            notify.say_name(name)
        if folder is not None:
            notify.reconsider(name, folder)


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
