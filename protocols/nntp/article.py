"""Netnews articles: whether they are well-formed (RFC 5536) and what the agents that take them in must add (RFC 5537).

Pure functions over octets. What was posted stays as it is, octet for octet; new fields are put in front, a Path field
is replaced by a longer one, and an Xref field of another server is taken out (this one makes its own at each reading).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from protocols.mime.dates import format_date, parse_date
from protocols.mime.headers import HeaderBlock

from .syntax import is_message_id

FUTURE_SECONDS_MAX = 24 * 3600
"""An article dated further ahead is refused (RFC 5537 section 3.5)."""
GROUP_NAME_OCTETS_MAX = 497 - len("LISTGROUP ")
"""A longer name could not be asked for (RFC 3977 section 3.1)."""

ONCE = frozenset(
    b"approved archive control date distribution expires followup-to from injection-date injection-info lines "
    b"message-id newsgroups organization path references reply-to sender subject summary supersedes user-agent "
    b"xref".split()
)
"""Fields that may stand in an article only once (RFC 5536 section 3)."""

_GROUP_NAME = re.compile(r"[^\s.,:!*?\[\]\\<>()\x00-\x20\x7f]+(?:\.[^\s.,:!*?\[\]\\<>()\x00-\x20\x7f]+)*")
_FIELD_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+")
_ADDRESS = re.compile(rb"[^\s@<>]+@[^\s@<>]+|\"[^\"]*\"@[^\s@<>]+")
_PATH = re.compile(rb"[!-~]+(?:[ \t]+[!-~]+)*")


class ArticleProblem(Exception):
    """The article cannot be taken; the text is fit for a reply."""


@dataclass(frozen=True, slots=True)
class Article:
    """An article that may be filed."""

    octets: bytes
    message_id: bytes
    newsgroups: tuple[str, ...]
    header: HeaderBlock
    """Of the article as it came, before fields were added."""

    def get(self, name: bytes) -> bytes:
        """The unfolded value of a field, or b""."""
        return self.header.get(name) or b""


def is_group_name(name: str) -> bool:
    """RFC 5536 section 3.1.4, with the letters that RFC 3977 section 4 adds (UTF-8)."""
    return len(name.encode("utf-8", "replace")) <= GROUP_NAME_OCTETS_MAX and _GROUP_NAME.fullmatch(name) is not None


def parse(octets: bytes) -> HeaderBlock:
    """The header of an article whose form is right: CRLF only, no NUL, an empty line, fields. Raises ArticleProblem."""
    if b"\0" in octets:
        raise ArticleProblem("the article has a NUL")
    pairs = octets.count(b"\r\n")
    if octets.count(b"\r") != pairs or octets.count(b"\n") != pairs:
        raise ArticleProblem("the article has a bare CR or LF")
    end = octets.find(b"\r\n\r\n")
    if end < 0 or octets.startswith(b"\r\n"):
        raise ArticleProblem("the article needs a header, an empty line and a body")
    header = HeaderBlock(octets, 0, end + 2)
    seen: set[bytes] = set()
    for name, colon, value in header.raw:
        if not name or not _FIELD_NAME.fullmatch(name) or colon != b":":
            raise ArticleProblem("a line of the header is no header field")
        shown = name.decode()
        if not value.startswith((b" ", b"\t")) and value.strip():
            raise ArticleProblem(f"a space is missing behind {shown}:")
        lower = name.lower()
        if lower in ONCE:
            if lower in seen:
                raise ArticleProblem(f"{shown} stands there twice")
            seen.add(lower)
            if not value.strip():
                raise ArticleProblem(f"{shown} is empty")
    return header


def _required(header: HeaderBlock, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in header:
            raise ArticleProblem(f"{name} is missing")


def _newsgroups(header: HeaderBlock, groups_max: int) -> tuple[str, ...]:
    value = (header.get(b"newsgroups") or b"").decode("utf-8", "replace")
    names = [name.strip() for name in value.split(",")]
    if len(names) > groups_max:
        raise ArticleProblem(f"more than {groups_max} newsgroups")
    for name in names:
        if not is_group_name(name):
            raise ArticleProblem("Newsgroups has an ill-formed name")
    return tuple(dict.fromkeys(names))


def _check_fields(header: HeaderBlock, now: float) -> None:
    if not _ADDRESS.search(header.get(b"from") or b""):
        raise ArticleProblem("From has no address")
    message_id = header.get(b"message-id")
    if message_id is not None and not _is_article_id(message_id):
        raise ArticleProblem("Message-ID is ill-formed")
    for name in (b"date", b"injection-date", b"expires"):
        value = header.get(name)
        if value is None:
            continue
        moment = parse_date(value)
        if moment is None:
            raise ArticleProblem(f"{name.decode().title()} is no date")
        limit = datetime.fromtimestamp(now, UTC) + timedelta(seconds=FUTURE_SECONDS_MAX)
        if name != b"expires" and moment > limit:
            raise ArticleProblem(f"{name.decode().title()} is in the future")


def _is_article_id(value: bytes) -> bool:
    # RFC 5536 section 3.1.3: <left@right>, without white space
    left, at, right = value[1:-1].rpartition(b"@")
    return is_message_id(value) and bool(left and at and right)


def _with_fields(header: HeaderBlock, added: bytes, dropped: frozenset[bytes]) -> bytes:
    """The article with `added` in front and the named fields taken out."""
    octets = header.octets
    if not any(name in header for name in dropped):
        return added + octets
    kept = b"".join([b"".join(field) for field in header.raw if field[0].lower() not in dropped])
    return added + kept + octets[header.end :]


def inject(octets: bytes, *, hostname: str, peer: str, now: float, new_id: bytes, groups_max: int) -> Article:
    """A proto-article made an article (RFC 5537 section 3.5). Raises ArticleProblem.

    Path is added, or lengthened with `.POSTED`; Message-ID (`new_id`) and Date where they are missing, and then
    Injection-Date too: an article that brought both may be injected elsewhere as well and must stay the same.
    """
    header = parse(octets)
    _required(header, ("From", "Newsgroups", "Subject"))
    for name in ("Xref", "Injection-Info"):
        if name in header:
            raise ArticleProblem(f"{name} must not be there before injection")
    path = header.get(b"path") or b"not-for-mail"
    if b".POSTED" in path:
        raise ArticleProblem("the article was injected before: Path has .POSTED")
    newsgroups = _newsgroups(header, groups_max)
    _check_fields(header, now)
    message_id = header.get(b"message-id")
    moment = format_date(datetime.fromtimestamp(int(now), UTC))
    added = [b"Path: %b!.POSTED.%b!%b\r\n" % (hostname.encode(), _diagnostic(peer), path)]
    if message_id is None:
        added.append(b"Message-ID: " + new_id + b"\r\n")
    if "Date" not in header:
        added.append(b"Date: " + moment + b"\r\n")
    if (message_id is None or "Date" not in header) and "Injection-Date" not in header:
        added.append(b"Injection-Date: " + moment + b"\r\n")
    whole = _with_fields(header, b"".join(added), frozenset((b"path",)))
    return Article(whole, message_id or new_id, newsgroups, header)


def relay(octets: bytes, *, hostname: str, peer: str, now: float, groups_max: int) -> Article:
    """An article from a peer (RFC 5537 sections 3.6 and 3.7): Path gets this server's name. Raises ArticleProblem."""
    header = parse(octets)
    _required(header, ("Date", "From", "Message-ID", "Newsgroups", "Path", "Subject"))
    newsgroups = _newsgroups(header, groups_max)
    _check_fields(header, now)
    path = header.get(b"path") or b""
    if not _PATH.fullmatch(path):
        raise ArticleProblem("Path is ill-formed")
    added = b"Path: %b!.SEEN.%b!%b\r\n" % (hostname.encode(), _diagnostic(peer), path)
    whole = _with_fields(header, added, frozenset((b"path", b"xref")))
    return Article(whole, header.get(b"message-id") or b"", newsgroups, header)


def _diagnostic(peer: str) -> bytes:
    """The peer's address as a path-identity: without its port, letters that a Path cannot hold left out."""
    address = peer.rpartition(":")[0] if peer.count(":") != 0 else peer
    kept = "".join(
        character for character in address if character.isascii() and (character.isalnum() or character in ".:-")
    )
    return (kept or "unknown").encode()


def is_in_path(article: Article, identity: str) -> bool:
    """Whether a server has had the article: its identity stands in Path, whatever its case (RFC 5537 section 3.2)."""
    wanted = identity.lower()
    return any(part.strip().lower() == wanted for part in article.get(b"path").decode("ascii", "replace").split("!"))
