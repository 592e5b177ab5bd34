"""Who may do what where: the three namespaces (RFC 2342) and the rights of RFC 4314.

alice's own folders          INBOX, Sent, …            all rights, which nobody can take away
other users' folders         Other Users/bob/INBOX     what bob gave by SETACL
public folders, newsgroups   Public Folders/misc.test  reading for all, posting where the group allows it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from protocols.ports import NoSuchMailbox

from .errors import No
from .names import SEPARATOR

if TYPE_CHECKING:
    from .session import ImapSession

OTHER_USERS = "Other Users/"
ALL_RIGHTS = "lrswipkxtea"
"""RFC 4314 section 2.1, in its order."""
PUBLIC_RIGHTS = "lrsw"
POSTING_RIGHTS = "lrswip"

VIRTUAL_RIGHTS = {"c": "kx", "d": "xte"}
"""Rights of RFC 2086 and what they stand for (RFC 4314 section 2.1.1)."""

ACL_KEY = "acl"


def read_acl(session: ImapSession, folder: Any) -> dict[str, str]:
    """The rights that were given on a folder: identifier → rights. `-bob` takes rights away from bob."""
    kept = session.services.store.annotations.get((f"folder:{folder.folder_id}", ACL_KEY))
    return json.loads(kept) if kept else {}


async def write_acl(session: ImapSession, folder: Any, acl: Mapping[str, str]) -> None:
    """Keep the rights of a folder."""
    value = json.dumps(dict(acl), sort_keys=True).encode() if acl else None
    await session.services.store.annotate(f"folder:{folder.folder_id}", ACL_KEY, value)


def rights(session: ImapSession, folder: Any) -> str:
    """The rights of the session's user on a folder, in the order of RFC 4314."""
    if folder.owner is session.mailbox:
        return ALL_RIGHTS
    if folder.owner is None:
        posting = folder.posting == "y" and session.settings.posting_allowed
        return POSTING_RIGHTS if posting else PUBLIC_RIGHTS
    return rights_by(session, read_acl(session, folder))


def shown(rights: str) -> bytes:
    """Rights as they are sent: the virtual ones are added for clients of RFC 2086."""
    extra = "".join(right for right, parts in VIRTUAL_RIGHTS.items() if any(part in rights for part in parts))
    return (rights + extra).encode()


def rights_by(session: ImapSession, acl: Mapping[str, str]) -> str:
    """What an access control list gives to the session's user, who is not the owner."""
    if not acl:
        return ""
    user = session.user
    given = set(acl.get("anyone", "") + acl.get("authuser", "") + acl.get(user, ""))
    taken = set(acl.get("-anyone", "") + acl.get("-authuser", "") + acl.get("-" + user, ""))
    return "".join(right for right in ALL_RIGHTS if right in given and right not in taken)


def require(session: ImapSession, folder: Any, need: str) -> None:
    """Raises No [NOPERM] where a right is missing; [NONEXISTENT] where the user may not even know of the folder."""
    if folder.owner is session.mailbox:
        return
    have = rights(session, folder)
    if any(right not in have for right in need):
        if "l" not in have:
            raise NoSuchMailbox("there is no such mailbox")
        raise No("you have no right to do this", code=b"NOPERM")


def find(session: ImapSession, name: str) -> Any:
    """The folder of a name as the user writes it. Raises NoSuchMailbox."""
    folder = session.mailbox.folders.get(name)
    if folder is not None:
        return folder
    public = session.settings.public_namespace
    store = session.services.store
    if public and name.startswith(public):
        folder = store.newsgroups.get(name[len(public) :])
    elif name.startswith(OTHER_USERS):
        user, _, rest = name[len(OTHER_USERS) :].partition(SEPARATOR)
        mailbox = store.mailboxes.get(user)
        if mailbox is not None and mailbox is not session.mailbox:
            if rest[:5].upper() == "INBOX" and rest[5:6] in ("", SEPARATOR):
                rest = "INBOX" + rest[5:]
            folder = mailbox.folders.get(rest)
            if folder is not None and "l" not in rights(session, folder):
                folder = None
    if folder is None:
        raise NoSuchMailbox(f"there is no mailbox {name}")
    return folder


def reserved(session: ImapSession, name: str) -> bool:
    """Whether a name lies in (or is the root of) a namespace that is not the user's own."""
    for prefix in (session.settings.public_namespace, OTHER_USERS):
        if prefix and (name.startswith(prefix) or name == prefix.removesuffix(SEPARATOR)):
            return True
    return False


def locate_new(session: ImapSession, name: str) -> tuple[Any, str]:
    """The mailbox and the name in it where a folder of that name would be made. Raises No [NOPERM]."""
    if not reserved(session, name):
        return session.mailbox, name
    if name.startswith(OTHER_USERS):
        user, _, rest = name[len(OTHER_USERS) :].partition(SEPARATOR)
        mailbox = session.services.store.mailboxes.get(user)
        parent = rest
        while mailbox is not None and SEPARATOR in parent:
            parent = parent.rpartition(SEPARATOR)[0]
            folder = mailbox.folders.get(parent)
            if folder is not None:
                require(session, folder, "k")
                return mailbox, rest
    raise No("mailboxes cannot be made there", code=b"NOPERM")
