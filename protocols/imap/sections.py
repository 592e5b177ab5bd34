"""The `[section]` of FETCH BODY and BINARY: which octets of a message it names (RFC 9051 section 6.4.5.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from protocols.mime.structure import Part
from protocols.mime.transfer import decode_base64, decode_quoted_printable

from .errors import Bad, No
from .names import quote
from .scanner import Scanner

DEPTH_MAX = 64
"""Part numbers in one section."""
FIELDS_MAX = 500

_PATH = re.compile(rb"[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,8})*")


class NoSuchSection(Exception):
    """The message has no such part."""


@dataclass(frozen=True, slots=True)
class Section:
    """`1.2.HEADER.FIELDS (Subject)`: part numbers, what of that part, and field names."""

    path: tuple[int, ...] = ()
    what: str = ""
    """Empty (all of it), `HEADER`, `HEADER.FIELDS`, `HEADER.FIELDS.NOT`, `TEXT` or `MIME`."""
    fields: tuple[bytes, ...] = ()
    label: bytes = b""
    """As it is written in the response."""

    def cut(self, octets: bytes, root: Part) -> bytes | None:
        """The octets that the section names; None where the message has no such part."""
        if not self.path:
            return octets if not self.what else self._of_message(octets, root)
        part = find_part(root, self.path)
        if part is None:
            return None
        if self.what == "MIME":
            return octets[part.start : part.body_start]
        if not self.what:
            return octets[part.body_start : part.end]
        if part.message is None:
            return None
        return self._of_message(octets, part.message)

    def _of_message(self, octets: bytes, message: Part) -> bytes | None:
        if self.what == "TEXT":
            return octets[message.body_start : message.end]
        if self.what == "HEADER":
            return octets[message.start : message.body_start]
        if self.what == "HEADER.FIELDS":
            chosen = message.headers.fields(self.fields)
        elif self.what == "HEADER.FIELDS.NOT":
            chosen = message.headers.fields_not(self.fields)
        else:
            return None
        if chosen and not chosen.endswith(b"\n"):
            chosen += b"\r\n"
        return chosen + b"\r\n"


def find_part(root: Part, path: tuple[int, ...]) -> Part | None:
    """The part with these numbers. A message that is no multipart is its own part 1."""
    scope: Part | None = root
    part: Part | None = None
    for number in path:
        if scope is None:
            return None
        if scope.type == "multipart" and scope.children:
            if number > len(scope.children):
                return None
            part = scope.children[number - 1]
        elif number == 1 and scope.type != "multipart":
            part = scope
        else:
            return None
        scope = part if part.type == "multipart" and part.children and part is not scope else part.message
    return part


@lru_cache(maxsize=1024)
def parse_section(text: bytes) -> Section:
    """A section without literals, the text between the brackets. Raises Bad."""
    scanner = Scanner((text,))
    section = scan_section(scanner)
    scanner.end()
    return section


def scan_section(scanner: Scanner) -> Section:
    """Read a section up to (not including) its closing bracket."""
    path: tuple[int, ...] = ()
    label = b""
    numbers = scanner.try_match(_PATH)
    if numbers is not None:
        path = tuple(int(number) for number in numbers.split(b"."))
        if len(path) > DEPTH_MAX:
            raise Bad("the section is nested too deeply")
        label = numbers
        if not scanner.try_take(b"."):
            return Section(path, "", (), label)
        label += b"."
    elif scanner.at_end or scanner.peek() == 0x5D:
        return Section()
    what = scanner.word().decode("ascii")
    if what not in ("HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT") and not (what == "MIME" and path):
        raise Bad("unknown section")
    label += what.encode()
    fields: list[bytes] = []
    if what.startswith("HEADER.FIELDS"):
        scanner.space()
        scanner.take(b"(")
        while True:
            fields.append(scanner.astring())
            if len(fields) > FIELDS_MAX:
                raise Bad("there are too many fields")
            if scanner.try_take(b")"):
                break
            scanner.space()
            if scanner.try_take(b")"):
                break
        label += b" (" + b" ".join([field_name(name) for name in fields]) + b")"
    return Section(path, what, tuple(fields), label)


_PLAIN_NAME = re.compile(rb"[A-Za-z0-9!#$&'+,\-./:;<=>?@^_`|~]+")


def field_name(name: bytes) -> bytes:
    """A field name as it is written in a response."""
    return name if _PLAIN_NAME.fullmatch(name) else quote(name)


def decode_part(octets: bytes, part: Part) -> bytes:
    """The body of a part without its transfer encoding (RFC 3516). Raises No [UNKNOWN-CTE]."""
    body = octets[part.body_start : part.end]
    encoding = part.encoding
    if encoding in ("7bit", "8bit", "binary"):
        return body
    if encoding == "base64":
        return decode_base64(body)
    if encoding == "quoted-printable":
        return decode_quoted_printable(body)
    raise No("the transfer encoding of that part is not known", code=b"UNKNOWN-CTE")
