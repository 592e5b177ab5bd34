"""IMAP URLs of CATENATE (RFC 4469, RFC 5092): a message or a part of one in a mailbox of this user, on this server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from protocols.ports import PortError
from protocols.registry import SyntaxProblem

from .errors import No
from .sections import NoSuchSection, parse_section

if TYPE_CHECKING:
    from .session import ImapSession

_URL = re.compile(
    rb"(?:imap://(?P<server>[^/]*))?/(?P<mailbox>[^;?]+?)(?:;UIDVALIDITY=(?P<validity>[0-9]+))?"
    rb"/?;UID=(?P<uid>[0-9]+)(?:/;SECTION=(?P<section>[^;]+?))?(?:/;PARTIAL=(?P<start>[0-9]+)(?:\.(?P<length>[0-9]+))?)?",
    re.IGNORECASE,
)


async def fetch_url(session: ImapSession, url: bytes) -> bytes:
    """The octets that a URL names. Raises No [BADURL …]."""
    refusal = No("the URL cannot be read here", code=b"BADURL " + quoted_url(url))
    match = _URL.fullmatch(url)
    if match is None:
        raise refusal
    server = match["server"]
    if server is not None:
        user, at, _ = server.rpartition(b"@")
        name = unquote_to_bytes(user.partition(b";")[0]).decode("utf-8", "replace")
        if at and name and name != session.user:
            raise refusal
    try:
        mailbox = unquote_to_bytes(match["mailbox"]).decode("utf-8")
        folder = session.find_selectable("INBOX" if mailbox.upper() == "INBOX" else mailbox, "r")
        if match["validity"] and int(match["validity"]) != folder.uid_validity:
            raise refusal
        message = folder.by_uid(int(match["uid"]))
        if message is None:
            raise refusal
        octets = await session.services.conversion.octets(message)
        if match["section"]:
            section = parse_section(unquote_to_bytes(match["section"]))
            _, part = await session.services.conversion.structure(message)
            found = section.cut(octets, part)
            if found is None:
                raise refusal
            octets = found
    except (PortError, SyntaxProblem, NoSuchSection, UnicodeDecodeError):
        raise refusal from None
    if match["start"]:
        start = int(match["start"])
        octets = octets[start : start + int(match["length"])] if match["length"] else octets[start:]
    return octets


def quoted_url(url: bytes) -> bytes:
    """The URL fit for a response code (RFC 4469 section 3.2)."""
    return b'"' + bytes(octet for octet in url if 0x20 < octet < 0x7F and octet not in b'"[]\\')[:400] + b'"'
