"""Mailbox names: modified UTF-7 (RFC 3501 section 5.1.3), their rules here, and LIST patterns."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from functools import lru_cache

from .errors import No

SEPARATOR = "/"
NAME_OCTETS_MAX = 1000
"""A whole name, UTF-8."""
LEVEL_OCTETS_MAX = 255
"""One level of it."""

_SHIFTED = re.compile(r"&([^-]*)-")
_RUN = re.compile(r"[^\x20-\x7e]+")


def encode_utf7(name: str) -> bytes:
    """Modified UTF-7. Lone surrogates do not occur: names are decoded strictly."""
    if name.isascii() and "&" not in name and name.isprintable():
        return name.encode("ascii")
    escaped = name.replace("&", "&-")
    return _RUN.sub(_encode_run, escaped).encode("ascii")


def _encode_run(match: re.Match[str]) -> str:
    octets = base64.b64encode(match[0].encode("utf-16-be", "surrogatepass")).rstrip(b"=").replace(b"/", b",")
    return f"&{octets.decode('ascii')}-"


def decode_utf7(octets: bytes) -> str:
    """Text of modified UTF-7. Raises ValueError where the octets are not that, or not in their only right form."""
    text = octets.decode("ascii")
    if "&" not in text:
        return text
    decoded = _SHIFTED.sub(_decode_run, text)
    if encode_utf7(decoded) != octets:
        raise ValueError("not the canonical form")
    return decoded


def _decode_run(match: re.Match[str]) -> str:
    run = match[1]
    if not run:
        return "&"
    try:
        octets = base64.b64decode(run.replace(",", "/") + "=" * (-len(run) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    return octets.decode("utf-16-be")


def decode_name(octets: bytes, *, utf8: bool) -> str:
    """A name as it came from the peer. `utf8`: the peer enabled UTF8=ACCEPT or IMAP4rev2 (then `&` is no escape).

    UTF-8 from a peer that enabled nothing is understood too: there is nothing else that it could mean.
    Raises No [CANNOT].
    """
    try:
        if utf8 or not octets.isascii():
            return normal(octets.decode("utf-8"))
        return normal(decode_utf7(octets))
    except (UnicodeDecodeError, ValueError):
        raise No("The mailbox name is not valid modified UTF-7", code=b"CANNOT") from None


def normal(name: str) -> str:
    """INBOX in capitals, as the first level too; composed as Net-Unicode is (RFC 9051 section 5.1)."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    if len(name) >= 5 and name[:5].upper() == "INBOX" and (len(name) == 5 or name[5] == SEPARATOR):
        return "INBOX" + name[5:]
    return name


def not_composed(octets: bytes) -> str:
    """The name as it came where it is not what we call the mailbox, for it was not composed (NFC); else nothing."""
    text = "" if octets.isascii() else octets.decode("utf-8", "replace")
    return "" if unicodedata.is_normalized("NFC", text) else text


def check_new(name: str) -> str:
    """A name fit to be made. A trailing separator only says that levels below will follow. Raises No [CANNOT]."""
    name = name.removesuffix(SEPARATOR)
    if not name or len(name.encode("utf-8", "surrogatepass")) > NAME_OCTETS_MAX:
        raise No("The mailbox name is empty or too long", code=b"CANNOT")
    for level in name.split(SEPARATOR):
        if not level or len(level.encode("utf-8", "surrogatepass")) > LEVEL_OCTETS_MAX:
            raise No("A level of the mailbox name is empty or too long", code=b"CANNOT")
        if level in {".", ".."}:
            raise No("A level of the mailbox name may not be . or ..", code=b"CANNOT")
    for character in name:
        point = ord(character)
        # RFC 9051 section 5.1: no controls, no line and paragraph separators. Wildcards could not be asked for.
        if point < 32 or 0x7F <= point < 0xA0 or point in {0x2028, 0x2029} or 0xD800 <= point < 0xE000:
            raise No("The mailbox name has a control character", code=b"CANNOT")
        if character in "*%":
            raise No("The mailbox name has a wildcard", code=b"CANNOT")
    return name


_ATOM = re.compile(rb"[A-Za-z0-9!#$&'+,\-./:;<=>?@^_`|~\[]+")


def quote(octets: bytes) -> bytes:
    """The shortest `astring` form that every client understands: quoted, or a literal where quoting cannot do it."""
    if b"\r" in octets or b"\n" in octets or b"\0" in octets or not octets.isascii() or len(octets) > 1024:
        return b"{%d}\r\n%s" % (len(octets), octets)
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def quote_utf8(text: str) -> bytes:
    """A quoted string with UTF-8 in it, for peers that enabled it."""
    octets = text.encode("utf-8", "replace")
    if b"\r" in octets or b"\n" in octets or b"\0" in octets:
        return b"{%d}\r\n%s" % (len(octets), octets)
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@lru_cache(maxsize=4096)
def encode_name(name: str, utf8: bool) -> bytes:
    """A name as it is sent: an atom where it can be one, else quoted."""
    if utf8:
        octets = name.encode("utf-8", "replace")
        if _ATOM.fullmatch(octets) and octets.upper() != b"NIL":
            return octets
        return quote_utf8(name)
    octets = encode_utf7(name)
    return octets if _ATOM.fullmatch(octets) and octets.upper() != b"NIL" else quote(octets)


class Pattern:
    """A LIST pattern: `*` matches all, `%` all but the separator (RFC 9051 section 6.3.9).

    INBOX matches in any case, as the first level of a name too (section 5.1). All positions at which the pattern may
    stand are followed at once, as bits of one number: time is linear in the name, whatever the pattern.
    """

    __slots__ = ("_all", "_end", "_inbox", "_level", "_masks", "_skip", "_start", "text")

    def __init__(self, text: str) -> None:
        text = re.sub(r"[*%]*\*[*%]*", "*", normal(text))
        text = re.sub(r"%+", "%", text)
        self.text = text
        self._masks: dict[str, int] = {}
        for index, character in enumerate(text):
            self._masks[character] = self._masks.get(character, 0) | 1 << index
        self._all = self._masks.pop("*", 0)
        self._level = self._masks.pop("%", 0)
        self._inbox = {letter: self._masks.get(letter, 0) | self._masks.get(letter.lower(), 0) for letter in "INBOX"}
        self._skip = self._all | self._level
        self._end = 1 << len(text)
        self._start = 1 | (self._skip & 1) << 1

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        if self.text == "*":
            return True
        states = self._start
        if name[:5] == "INBOX" and name[5:6] in ("", SEPARATOR):
            states = self._follow(states, "INBOX", self._inbox)
            name = name[5:]
        return bool(self._follow(states, name, self._masks) & self._end)

    def _follow(self, states: int, text: str, masks: dict[str, int]) -> int:
        skip = self._skip
        for character in text:
            stay = self._all if character == SEPARATOR else skip
            states = (states & masks.get(character, 0)) << 1 | states & stay
            states |= (states & skip) << 1
            if not states:
                break
        return states


class EncodedPattern(Pattern):
    """A pattern whose wildcards stand inside of a run of modified UTF-7: names are compared as they are written."""

    __slots__ = ()

    def matches(self, name: str) -> bool:
        return super().matches(encode_utf7(name).decode("ascii"))


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Pattern:
    """The pattern, kept for the next LIST."""
    return Pattern(text)


def read_pattern(reference: bytes, octets: bytes, *, utf8: bool) -> Pattern:
    """The pattern of a reference name and a mailbox name with wildcards, as they came. Raises No [CANNOT]."""
    whole = reference + octets
    try:
        return compile_pattern(decode_name(whole, utf8=utf8))
    except No:
        if utf8 or not whole.isascii():
            raise
        return EncodedPattern(whole.decode("ascii"))


def above(name: str) -> list[str]:
    """The names of the levels above, outermost first."""
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:depth]) for depth in range(1, len(parts))]
