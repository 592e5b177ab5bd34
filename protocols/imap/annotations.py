"""How the annotations of METADATA (RFC 5464) are named and kept."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from .errors import Bad
from .names import quote

if TYPE_CHECKING:
    from .session import ImapSession

ENTRY_OCTETS_MAX = 512
KEY = "metadata"
SPECIAL_USE_ENTRY = "/private/specialuse"
"""RFC 6154 section 4: what LIST says, and a way to change it."""


def _scopes(session: ImapSession, folder: Any) -> dict[str, str]:
    """Where `/private` and `/shared` entries are kept: private ones belong to the user."""
    if folder is None:
        return {"/private": f"mailbox:{session.user}", "/shared": "server"}
    return {"/private": f"folder:{folder.folder_id}", "/shared": f"folder:{folder.folder_id}"}


def _key(session: ImapSession, folder: Any, root: str) -> str:
    return f"{KEY}:{session.user}" if root == "/private" and folder is not None else KEY


def read(session: ImapSession, folder: Any, root: str) -> dict[str, bytes]:
    """All entries below `/private` or `/shared`, those that are made of what a mailbox is among them."""
    entries = read_kept(session, folder, root)
    if root == "/private" and folder is not None and folder.owner is session.mailbox and folder.special_use:
        entries[SPECIAL_USE_ENTRY] = folder.special_use.encode()
    return entries


def read_kept(session: ImapSession, folder: Any, root: str) -> dict[str, bytes]:
    """All entries below `/private` or `/shared` that somebody set."""
    kept = session.services.store.annotations.get((_scopes(session, folder)[root], _key(session, folder, root)))
    return {name: base64.b64decode(value) for name, value in json.loads(kept).items()} if kept else {}


async def write(session: ImapSession, folder: Any, root: str, entries: dict[str, bytes]) -> None:
    """Keep all entries below `/private` or `/shared`."""
    value = json.dumps({name: base64.b64encode(octets).decode() for name, octets in sorted(entries.items())}).encode()
    scope = _scopes(session, folder)[root]
    await session.services.store.annotate(scope, _key(session, folder, root), value if entries else None)


async def copy_annotations(session: ImapSession, source: Any, target: Any) -> None:
    """Give a folder all annotations of another, each user's private ones too."""
    store = session.services.store
    for (scope, key), value in list(store.annotations.items()):
        if scope == f"folder:{source.folder_id}" and key.partition(":")[0] == KEY:
            await store.annotate(f"folder:{target.folder_id}", key, value)


def entry_name(octets: bytes, *, roots: bool = False) -> str:
    """An entry name, lower case; with `roots`, `/private` and `/shared` themselves too. Raises Bad."""
    try:
        name = octets.decode("ascii").lower()
    except UnicodeDecodeError:
        raise Bad("an entry name is ASCII") from None
    if roots and name in ("/private", "/shared"):
        return name
    if len(name) > ENTRY_OCTETS_MAX or not name.startswith(("/private/", "/shared/")):
        raise Bad("an entry name begins with /private/ or /shared/")
    if name.endswith("/") or "//" in name or any(c in "*%" or ord(c) < 32 for c in name):
        raise Bad("that is no entry name")
    return name


def root_of(name: str) -> str:
    """`/private` or `/shared`."""
    return "/private" if name.startswith("/private") else "/shared"


def find(session: ImapSession, folder: Any, name: str, depth: int) -> dict[str, bytes]:
    """The entry and, as far as `depth` (-1: all) reaches, those below it."""
    entries = read(session, folder, root_of(name))
    found = {}
    for known, value in entries.items():
        if known == name:
            found[known] = value
        elif depth and known.startswith(name + "/"):
            levels = known[len(name) :].count("/")
            if depth < 0 or levels <= depth:
                found[known] = value
    return found


def metadata_value(octets: bytes) -> bytes:
    """A value as it is sent."""
    if b"\0" in octets:
        return b"~{%d}\r\n%b" % (len(octets), octets)
    return quote(octets)


def list_metadata(session: ImapSession, name: str, folder: Any, names: tuple[str, ...]) -> bytes:
    """`* METADATA` of LIST RETURN (METADATA …) (RFC 9590)."""
    pairs = []
    for entry in names:
        value = read(session, folder, root_of(entry)).get(entry)
        pairs.append(
            quote(entry.encode("ascii", "replace")) + b" " + (b"NIL" if value is None else metadata_value(value))
        )
    return b"* METADATA %b (%b)\r\n" % (session.name_octets(name), b" ".join(pairs))
