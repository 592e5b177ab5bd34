"""MIME structure of a message as offsets into its octets (RFC 2045, RFC 2046), found in one linear pass.

What the RFCs leave open is done as Dovecot does it, because IMAP clients have met Dovecot: a boundary matches as a
prefix of a line, the longest of several wins, then the innermost; after an end boundary its boundary is forgotten; a
boundary inside a header ends the header; an enclosing boundary ends everything inside; what has no end boundary runs to
the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .headers import HeaderBlock, unfold
from .parameters import decode_parameters, join_sections, split_parameters, strip_comments

BOUNDARY_OCTETS_MAX: Final = 200
"""RFC 2046 section 5.1.1 allows 70. Longer ones are cut, both where declared and (as prefixes) where used."""


WORD_OCTETS_MAX: Final = 1000
"""In so many octets the word that a field begins with has to stand."""
OCTETS_PER_PART_MIN: Final = 512
"""On average, behind the first PARTS_FREE: what is cut finer is no mail."""
PARTS_FREE: Final = 500


@dataclass(frozen=True, slots=True)
class MimeLimits:
    """What is looked into. Whatever lies beyond stays part of the octets and of the body of the part around it."""

    depth_max: int = 100
    """Multiparts and messages inside one another."""
    parts_max: int = 10_000
    """Parts of one message, all levels together; fewer where they are smaller than OCTETS_PER_PART_MIN on average."""
    header_fields_max: int = 10_000
    """Fields of one header block."""
    parameters_max: int = 200
    """Parameters of one header field."""


DEFAULT: Final = MimeLimits()

_TYPE = re.compile(rb"[ \t]*([^\x00-\x20()<>@,;:\\\"/\[\]?=\x7f]+)[ \t]*/[ \t]*([^\x00-\x20()<>@,;:\\\"/\[\]?=\x7f]+)")
_UNSEPARATED = re.compile(rb"[^\x00-\x20;=\"]{1,200}[ \t\r\n]+(?=[A-Za-z0-9*-]{1,40}=)")
_CONTENT_TYPE = re.compile(rb"(?i:content-type)[ \t]*+:((?:[^\n]*+\n(?=[ \t]))*+[^\n]*+)")
_WORD = re.compile(rb"[ \t]*\"?([^\x00-\x20();\"\x7f]+)")


class Part:
    """One part (or the whole message): `octets[start:body_start]` is its header, `octets[body_start:end]` its body.

    Everything beyond offsets, type and children is computed when asked for. Header values (`content_id`, `description`,
    `location`, `md5`) are unfolded octets, RFC 2047 not decoded.
    A `multipart` without children, or a `message/rfc822` whose `message` is None, has a body that could not be looked
    into (no boundary, or over a limit): it is opaque.
    """

    __slots__ = (
        "_disposition",
        "_encoding",
        "_lines",
        "_params",
        "_raw_params",
        "body_start",
        "children",
        "content_type_value",
        "end",
        "headers",
        "limits",
        "message",
        "octets",
        "start",
        "subtype",
        "type",
    )

    def __init__(self, octets: bytes, start: int, header_end: int, body_start: int, limits: MimeLimits) -> None:
        self.octets = octets
        self.start = start
        self.body_start = body_start
        self.end = body_start
        self.limits = limits
        self.headers = HeaderBlock(octets, start, header_end, limits.header_fields_max)
        self.type = "text"
        self.subtype = "plain"
        self.children: tuple[Part, ...] = ()
        self.message: Part | None = None
        self.content_type_value = self._find_content_type(header_end)
        """Content-Type field, unfolded; None where there is none."""
        self._encoding: str | None = None
        self._lines = -1
        self._params: dict[str, str] | None = None
        self._raw_params: list[tuple[bytes, bytes]] | None = None
        self._disposition: tuple[str | None, list[tuple[bytes, bytes]], dict[str, str]] | None = None

    def __repr__(self) -> str:
        return f"<Part {self.type}/{self.subtype} {self.start}:{self.body_start}:{self.end}>"

    def _find_content_type(self, header_end: int) -> bytes | None:
        """The first Content-Type field of the header, found without the others: most parts are asked for no more."""
        start = self.start
        if header_end - start > self.limits.header_fields_max:  # the limit of fields might matter
            return self.headers.get(b"content-type")
        header = self.octets[start:header_end].lower()
        at = header.find(b"content-type")
        while at >= 0:
            if at == 0 or header[at - 1] == 10:
                match = _CONTENT_TYPE.match(self.octets, start + at, header_end)
                if match is not None:
                    return unfold(match[1])
            at = header.find(b"content-type", at + 1)
        return None

    @property
    def content_type(self) -> str:
        """`type/subtype`, lower case."""
        return f"{self.type}/{self.subtype}"

    @property
    def header(self) -> bytes:
        """Octets of the header with its blank line."""
        return self.octets[self.start : self.body_start]

    @property
    def body(self) -> bytes:
        """Octets of the body as they stand (not decoded)."""
        return self.octets[self.body_start : self.end]

    @property
    def size(self) -> int:
        """Octets of the body."""
        return self.end - self.body_start

    @property
    def lines(self) -> int:
        """Line ends in the body."""
        if self._lines < 0:
            self._lines = self.octets.count(b"\n", self.body_start, self.end)
        return self._lines

    @property
    def raw_params(self) -> list[tuple[bytes, bytes]]:
        """Content-Type parameters as BODYSTRUCTURE shows them: (lower-case name, value), `name*` still encoded."""
        if self._raw_params is None:
            value = self.content_type_value
            self._raw_params = [] if value is None else _parameters(value, self.limits.parameters_max)
        return self._raw_params

    @property
    def params(self) -> dict[str, str]:
        """Content-Type parameters, RFC 2231 decoded, in order."""
        if self._params is None:
            self._params = decode_parameters(self.raw_params)
        return self._params

    @property
    def encoding(self) -> str:
        """Content-Transfer-Encoding, lower case; `7bit` where there is none."""
        if self._encoding is None:
            value = self.headers.get(b"content-transfer-encoding")
            match = None if value is None else _WORD.match(strip_comments(value[:WORD_OCTETS_MAX]))
            self._encoding = "7bit" if match is None else match[1].decode("ascii", "replace").lower()
        return self._encoding

    def _read_disposition(self) -> tuple[str | None, list[tuple[bytes, bytes]], dict[str, str]]:
        if self._disposition is None:
            value = self.headers.get(b"content-disposition")
            match = None if value is None else _WORD.match(strip_comments(value[:WORD_OCTETS_MAX]))
            if value is None or match is None:
                self._disposition = (None, [], {})
            else:
                word = match[1].decode("ascii", "replace").lower()
                raw = _parameters(value, self.limits.parameters_max)
                if word[:1].isalpha() and "=" in word:
                    # "Content-Disposition: filename=x" without the word
                    word, raw = "attachment", join_sections(split_parameters(value, 0, self.limits.parameters_max))
                self._disposition = (word, raw, decode_parameters(raw))
        return self._disposition

    @property
    def disposition(self) -> str | None:
        """Content-Disposition without parameters, lower case (RFC 2183)."""
        return self._read_disposition()[0]

    @property
    def disposition_params(self) -> dict[str, str]:
        """Content-Disposition parameters, RFC 2231 decoded, in order."""
        return self._read_disposition()[2]

    @property
    def raw_disposition_params(self) -> list[tuple[bytes, bytes]]:
        """Content-Disposition parameters as BODYSTRUCTURE shows them."""
        return self._read_disposition()[1]

    @property
    def content_id(self) -> bytes | None:
        """Content-ID with its angle brackets."""
        return self.headers.get(b"content-id")

    @property
    def description(self) -> bytes | None:
        """Content-Description."""
        return self.headers.get(b"content-description")

    @property
    def location(self) -> bytes | None:
        """Content-Location (RFC 2557 section 4)."""
        return self.headers.get(b"content-location")

    @property
    def md5(self) -> bytes | None:
        """Content-MD5 (RFC 1864)."""
        return self.headers.get(b"content-md5")

    @property
    def language(self) -> list[str]:
        """Content-Language tags (RFC 3282)."""
        value = self.headers.get(b"content-language")
        if value is None:
            return []
        items = strip_comments(value[: WORD_OCTETS_MAX * 4]).decode("ascii", "replace").split(",")
        return [tag for item in items if (tag := item.strip())]

    def walk(self) -> list[Part]:
        """This part and all parts inside it, in the order of the octets."""
        found = []
        pending = [self]
        while pending:
            part = pending.pop()
            found.append(part)
            if part.message is not None:
                pending.append(part.message)
            pending.extend(reversed(part.children))
        return found


def _parameters(value: bytes, parameters_max: int) -> list[tuple[bytes, bytes]]:
    start = value.find(b";")
    if b"(" in value[: max(start, 0)]:
        value = strip_comments(value[:WORD_OCTETS_MAX]) + value[WORD_OCTETS_MAX:]
        start = max(value.find(b";"), 0)
    # "multipart/mixed boundary=x": the first semicolon is forgotten
    unseparated = _UNSEPARATED.match(value.lstrip(b" \t\r\n"))
    if unseparated is not None:
        value, start = value.lstrip(b" \t\r\n"), unseparated.end()
    elif start < 0:
        return []
    return join_sections(split_parameters(value, start, parameters_max))


@lru_cache(maxsize=1024)
def _media_type(value: bytes) -> tuple[str, str] | None:
    if b"(" in value:
        value = strip_comments(value)
    match = _TYPE.match(value)
    if match is None:
        return None
    return match[1].decode("latin-1").lower(), match[2].decode("latin-1").lower()


class _Open:
    """A multipart or message whose end is not known yet."""

    __slots__ = ("bound", "children", "digest", "mark", "next", "part")

    def __init__(self, part: Part, mark: bytes | None) -> None:
        self.part = part
        self.mark = mark
        """LF, "--" and the boundary; None for a message, and after the end boundary."""
        self.next = -1
        """Where the mark stands next; -1: not before an enclosing one."""
        self.bound = 0
        """Where the next mark of those around it stands, or the length of the octets."""
        self.children: list[Part] = []
        self.digest = part.subtype == "digest"


HOPS_MAX: Final = 4
HOP_FROM_OCTETS: Final = 8192


def _find_mark(octets: bytes, mark: bytes, start: int, end: int) -> int:
    """Where `mark` (LF, two hyphens, boundary) stands, or -1.

    Base64 has no hyphens, and a single octet is looked for ten times as fast: hop from hyphen to hyphen first.
    """
    at = start
    for _ in range(HOPS_MAX if end - start > HOP_FROM_OCTETS else 0):
        hyphen = octets.find(b"-", at + 1, end)
        if hyphen < 0:
            return -1
        if octets.startswith(mark, hyphen - 1, end):
            return hyphen - 1
        at = hyphen
    return octets.find(mark, at, end)


class _Parser:
    __slots__ = ("_event_known", "_last_event", "_length", "_limits", "_octets", "_open", "_parts", "_parts_max")

    def __init__(self, octets: bytes, limits: MimeLimits) -> None:
        self._octets = octets
        self._length = len(octets)
        self._limits = limits
        self._open: list[_Open] = []
        self._parts = 0
        self._last_event: int | None = None
        self._event_known = False
        self._parts_max = min(limits.parts_max, PARTS_FREE + len(octets) // OCTETS_PER_PART_MIN)

    def parse(self) -> Part:
        root = self._descend(0)
        while self._open:
            event = self._event()
            if event is None or self._parts >= self._parts_max:
                if event is not None:
                    self._take_rest()
                self._close(0, self._length)
                break
            self._cross(event)
        return root

    def _take_rest(self) -> None:
        """Over the limit: what is left belongs to the body of the last part, so that nothing of it is lost."""
        last: Part | None = next((frame.children[-1] for frame in reversed(self._open) if frame.children), None)
        while last is not None:
            last.end = self._length
            last = last.children[-1] if last.children else last.message

    def _descend(self, start: int) -> Part:
        """The part that begins at `start`, and the messages inside messages that begin with it."""
        first = None
        outer: Part | None = None
        while True:
            part = self._begin(start)
            if outer is not None:
                outer.message = part
            first = first or part
            if not self._enter(part):
                break
            if part.type == "multipart":
                break
            outer = part
            start = part.body_start
        if not self._open or self._open[-1].part is not part:
            event = self._event()
            part.end = self._length if event is None else self._before(self._open[event].next, part.body_start)
        return first

    def _begin(self, start: int) -> Part:
        """Header of the part at `start`."""
        octets = self._octets
        self._parts += 1
        event = self._event() if self._open else None
        limit = self._length if event is None else self._open[event].next + 1
        if octets.startswith((b"\r\n", b"\n"), start, limit):
            header_end = start
            body_start = start + (2 if octets[start] == 13 else 1)
        else:
            header_end = limit
            crlf = octets.find(b"\n\r\n", start, limit)
            bare = octets.find(b"\n\n", start, limit if crlf < 0 else crlf + 1)
            if bare >= 0:
                header_end = bare + 1
                body_start = bare + 2
            elif crlf >= 0:
                header_end = crlf + 1
                body_start = crlf + 3
            else:
                if event is not None:
                    header_end = self._before(limit - 1, start)
                body_start = header_end
        if limit - body_start <= 4 and not octets[body_start:limit].strip():
            # nothing behind the header: a line in it that is no field is the body of a sender who forgot the blank line
            garbage = HeaderBlock(octets, start, header_end).first_garbage()
            if garbage >= start and not octets.startswith((b"From ", b">From "), garbage):
                header_end = body_start = garbage
        part = Part(octets, start, header_end, body_start, self._limits)
        value = part.content_type_value
        found = None if value is None else _media_type(value[:WORD_OCTETS_MAX])
        if found is not None:
            part.type, part.subtype = found
        elif value is None and self._open and self._open[-1].digest and self._open[-1].mark is not None:
            part.type, part.subtype = "message", "rfc822"
        return part

    def _enter(self, part: Part) -> bool:
        """Open a multipart or message, where limits allow. False: the part is a leaf."""
        if part.type == "multipart":
            if len(self._open) >= self._limits.depth_max:
                return False
            boundary = next((value for name, value in part.raw_params if name == b"boundary"), b"")
            if not boundary:
                boundary = part.params.get("boundary", "").encode("utf-8", "replace")
            boundary = boundary.rstrip(b" \t\r\n")[:BOUNDARY_OCTETS_MAX]
            if not boundary:
                return False
            frame = _Open(part, b"\n--" + boundary)
            frame.bound = self._bound(len(self._open))
            if self._octets.find(frame.mark or b"", part.start, part.body_start) >= 0:
                self._restore_blank_line(part, frame.mark or b"")
            self._open.append(frame)
            self._search(len(self._open) - 1, part.body_start - 1)
            self._event_known = False
            return True
        if part.type == "message" and part.subtype in {"rfc822", "global"}:
            if len(self._open) >= self._limits.depth_max or self._parts >= self._parts_max:
                return False
            self._open.append(_Open(part, None))
            return True
        return False

    def _restore_blank_line(self, part: Part, mark: bytes) -> None:
        """The header holds the part's own boundary, its blank line is missing: it ends where the fields end.

        (Seen in the wild; Python's email and MimeKit read such messages too.)
        """
        boundary_at = self._octets.find(mark, part.start, part.body_start) + 1
        garbage_at = part.headers.first_garbage(behind_a_field=True)  # there may be a From line of mbox
        end = min(boundary_at, garbage_at) if garbage_at >= part.start else boundary_at
        part.body_start = part.end = end
        part.headers = HeaderBlock(self._octets, part.start, end, self._limits.header_fields_max)

    def _search(self, index: int, start: int) -> None:
        """Find the next mark of an open multipart, no farther than the next mark of those around it."""
        frame = self._open[index]
        mark = frame.mark
        if mark is None:
            return
        frame.next = _find_mark(self._octets, mark, max(start, 0), frame.bound + len(mark))

    def _bound(self, index: int) -> int:
        """Where the next mark of the multiparts around `self._open[index]` stands."""
        for outer in reversed(self._open[:index]):
            if outer.mark is not None:
                return outer.next if 0 <= outer.next < outer.bound else outer.bound
        return self._length

    def _event(self) -> int | None:
        """`_next_event`, looked for anew only where something was opened or gone over since."""
        if not self._event_known:
            self._last_event = self._next_event()
            self._event_known = True
        return self._last_event

    def _next_event(self) -> int | None:
        """Index of the open multipart whose mark comes first; of several in one place the longest, then the innermost.

        No mark is looked for behind those around it, so the innermost one found comes first.
        """
        best: int | None = None
        best_next = best_length = 0
        for index in range(len(self._open) - 1, -1, -1):
            frame = self._open[index]
            if frame.mark is None or frame.next < 0:
                continue
            if best is None or (frame.next == best_next and len(frame.mark) > best_length):
                best, best_next, best_length = index, frame.next, len(frame.mark)
            if frame.next > best_next or frame.bound > best_next:
                break
        return best

    def _before(self, newline: int, least: int) -> int:
        """End of what stands before the line end at `newline` (the LF): that line end belongs to the boundary."""
        if newline > 0 and self._octets[newline - 1] == 13:
            newline -= 1
        return max(newline, least)

    def _close(self, index: int, end: int) -> None:
        """End all that is open from `index` on."""
        for frame in reversed(self._open[index:]):
            part = frame.part
            # the line end before a boundary may be the blank line of a header, which is not taken away
            last = frame.children[-1] if frame.children else part.message
            end = max(end, part.body_start if last is None else last.end)
            part.end = end
            part.children = tuple(frame.children)
        del self._open[index:]

    def _cross(self, index: int) -> None:
        """Go over the boundary line of `self._open[index]`."""
        frame = self._open[index]
        assert frame.mark is not None
        octets = self._octets
        newline = frame.next
        self._event_known = False
        self._close(index + 1, self._before(newline, 0))
        after = newline + len(frame.mark)
        final = octets.startswith(b"--", after)
        start = octets.find(b"\n", after) + 1
        if final:
            frame.mark = None
            position = after
        else:
            position = max(start - 1, after)
        # a shorter mark of an enclosing multipart may have stood here too, and limited the search of those inside it
        if frame.bound <= newline:
            self._search_again(index, newline, position)
        if final:
            return
        self._search(index, position)
        if start == 0:
            return
        child = self._descend(start)
        frame.children.append(child)

    def _search_again(self, index: int, newline: int, position: int) -> None:
        """Find the next marks of those around `self._open[index]` whose last one stood at `newline`; mend bounds."""
        moved = False
        for outer in range(index + 1):
            enclosing = self._open[outer]
            enclosing.bound = self._bound(outer)
            if outer < index and enclosing.mark is not None and (moved or 0 <= enclosing.next <= newline):
                self._search(outer, position)
                moved = True


def parse(octets: bytes, limits: MimeLimits = DEFAULT) -> Part:
    """Structure of a message. Never raises; time and memory are linear in `octets` (times `depth_max` at worst).

    Where there is not one LF, the lines end in CR, as on a Macintosh: offsets are those of `octets`, but the parts' own
    `octets` have LF in their place.
    """
    if b"\n" not in octets and b"\r" in octets:
        octets = octets.replace(b"\r", b"\n")
    return _Parser(octets, limits).parse()


__all__ = ["BOUNDARY_OCTETS_MAX", "DEFAULT", "MimeLimits", "Part", "parse", "unfold"]
