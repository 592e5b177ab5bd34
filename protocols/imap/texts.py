"""Text of messages as people read it: for SEARCH TEXT and BODY, for SORT and for PREVIEW. Decoded and case-folded."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import unescape

from protocols.mime.charsets import decode_text
from protocols.mime.structure import Part
from protocols.mime.transfer import decode
from protocols.mime.words import decode_words

from .envelope import nstring

PREVIEW_CHARACTERS_MAX = 200
"""RFC 8970 section 3.1."""
PREVIEW_OCTETS_MAX = 65536
"""How much of a part is looked at for a preview."""

_SPACES = re.compile(r"\s+")
_HIDDEN = re.compile(r"<(style|script|head|title)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def fold(text: str) -> str:
    """The form in which texts are looked for: as i;unicode-casemap (RFC 5051), and `ß` is `ss`."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", text.casefold())


@lru_cache(maxsize=4096)
def _title(character: str) -> str:
    title = character.title()
    return title if len(title) == 1 else character


def collated(text: str) -> str:
    """The form in which texts are put into order: i;unicode-casemap (RFC 5051 section 2), capitals before `[` and `_`.

    As it was made for order it knows no foldings that change lengths; `fold` is kinder to who searches.
    """
    if text.isascii():
        return text.upper()
    return unicodedata.normalize("NFKD", "".join(map(_title, text)))


def header_text(value: bytes) -> str:
    """A header field's value, encoded words decoded, case-folded."""
    return fold(decode_words(value))


def part_text(octets: bytes, part: Part) -> str:
    """The text of a text part, decoded."""
    body = decode(octets[part.body_start : part.end], part.encoding)
    return decode_text(body, part.params.get("charset", ""))


def body_contains(octets: bytes, root: Part, needle: str) -> bool:
    """Whether a body (not the header of the message) holds the case-folded text: text parts and headers of parts."""
    for part in root.walk() if root.children or root.message is not None else (root,):
        if part is not root and needle in fold(decode_words(octets[part.start : part.body_start])):
            return True
        if part.type == "text":
            text = part_text(octets, part)
        elif part.type == "multipart" and not part.children:  # it has no parts after all: what is there is its text
            text = decode_text(octets[part.body_start : part.end])
        else:
            continue
        if needle in fold(text):
            return True
    return False


def header_contains(octets: bytes, root: Part, needle: str) -> bool:
    """Whether the message's header holds the case-folded text, as it stands, unfolded or decoded."""
    raw = octets[root.start : root.body_start]
    text = fold(decode_text(raw))
    if needle in text:
        return True
    if not raw.isascii():
        return any(needle in header_text(value) for _, value in root.headers)
    if "\n " in text or "\n\t" in text:
        text = text.replace("\r\n ", " ").replace("\r\n\t", "\t").replace("\n ", " ").replace("\n\t", "\t")
        if needle in text:
            return True
    return b"=?" in raw and any(needle in header_text(value) for _, value in root.headers if b"=?" in value)


def _first_text(root: Part) -> Part | None:
    found = None
    for part in root.walk():
        if part.type == "text" and part.disposition != "attachment" and part.size:
            if part.subtype == "plain":
                return part
            found = found or part
    return found


def preview(octets: bytes, root: Part) -> str:
    """The first words of a message."""
    part = _first_text(root)
    if part is None:
        return ""
    body = decode(octets[part.body_start : min(part.end, part.body_start + PREVIEW_OCTETS_MAX)], part.encoding)
    text = decode_text(body, part.params.get("charset", ""))
    if part.subtype == "html":
        text = unescape(_TAG.sub(" ", _HIDDEN.sub(" ", text)))
    text = "".join(character for character in text if character.isprintable() or character.isspace())
    return _SPACES.sub(" ", text).strip()[:PREVIEW_CHARACTERS_MAX]


def preview_value(octets: bytes, root: Part) -> bytes:
    """PREVIEW's value: an `nstring` in UTF-8."""
    return nstring(preview(octets, root).encode("utf-8", "replace"))
