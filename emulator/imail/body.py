"""Body parts → body properties (MS-OXCMAIL section 2.1.3.3; MS-OXBBODY)."""

from __future__ import annotations

from typing import Final

from emulator.properties import Lazy, Value
from emulator.property_tags import (
    PR_BODY,
    PR_BODY_CONTENT_ID,
    PR_BODY_CONTENT_LOCATION,
    PR_HTML,
    PR_INTERNET_CPID,
    PR_NATIVE_BODY_INFO,
    PR_RTF_COMPRESSED,
    PR_RTF_IN_SYNC,
    Key,
)
from protocols.mime import Part, transfer
from protocols.mime.charsets import decode_text, is_known
from protocols.mime.words import decode_words

from .codepages import ISO_8859_1, US_ASCII, UTF_8, WINDOWS_1252, code_page, codec_of, has_code_page
from .enriched import html_from_enriched
from .layout import Layout
from .rtf_compression import store_rtf

Values = dict[Key, Value]

NATIVE_PLAIN, NATIVE_RTF, NATIVE_HTML, NATIVE_CLEAR_SIGNED = 1, 2, 3, 4


def decoded_body(part: Part) -> bytes:
    """Octets of a part behind its transfer encoding; as they stand where it is said to be base64 and is none."""
    body = part.body
    return body if _is_no_base64(body, part.encoding) else transfer.decode(body, part.encoding)


_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n"


def _is_no_base64(body: bytes, encoding: str) -> bool:
    """Whether a text declared as base64 is plainly something else: one octet in twenty is foreign to base64."""
    return encoding == "base64" and len(body.strip().translate(None, _BASE64)) * 20 > len(body)


def line_body(part: Part) -> bytes:
    """As `decoded_body`, where lone LFs in the encoded form are line ends that somebody converted."""
    body = part.body
    if part.encoding not in {"base64", "binary"} and b"\0" not in body:
        body = crlf_octets(body)
    return body if _is_no_base64(body, part.encoding) else transfer.decode(body, part.encoding)


def part_text(part: Part) -> str:
    """Text of a part in its charset, with CRLF line ends."""
    return crlf(decode_text(decoded_body(part), part.params.get("charset", "")))


def crlf(text: str) -> str:
    """The text with every LF made CRLF; a lone CR stays what it is."""
    if text.count("\n") == text.count("\r\n"):
        return text
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def joined_text(texts: list[str]) -> str:
    """Several texts as one, each beginning on a line of its own (KB Q183598)."""
    found: list[str] = []
    for text in texts:
        if found and not found[-1].endswith("\n"):
            found.append("\r\n")
        found.append(text)
    return "".join(found)


class PlainBody:
    """The text body. What decoding gave is kept until the text has been made of it."""

    __slots__ = ("_octets", "_page", "_parts")

    def __init__(self, parts: list[Part]) -> None:
        """`parts`: at least one."""
        self._parts = parts
        self._octets: bytes | None = None
        self._page = 0

    def octets(self) -> bytes:
        """Octets of the first part behind its transfer encoding."""
        if self._octets is None:
            self._octets = decoded_body(self._parts[0])
        return self._octets

    def text(self) -> str:
        """The text with CRLF line ends."""
        self.page()
        first = crlf(decode_text(self.octets(), self._parts[0].params.get("charset", "")))
        self._octets = None
        return joined_text([first, *map(part_text, self._parts[1:])]) if len(self._parts) > 1 else first

    def page(self) -> int:
        """Its code page."""
        if not self._page:
            self._page = usable_page(self.octets(), self._parts[0].params.get("charset", "")) or UTF_8
        return self._page


def usable_page(octets: bytes, charset: str) -> int:
    """Code page in which octets of this charset may stay as they are; 0 where they have to be converted to UTF-8.

    US-ASCII and ISO-8859-1 are what mailers write when they do not know: octets say it better.
    """
    if octets.isascii() and not charset:
        return US_ASCII
    if not charset or not is_known(charset) or not has_code_page(charset):
        return 0
    page = code_page(charset)
    if page in _WIDE:
        return 0
    if page == US_ASCII:
        return US_ASCII if octets.isascii() else 0
    if page == ISO_8859_1 and octets.translate(None, _C1) != octets:
        return WINDOWS_1252
    return page


_C1 = bytes(range(0x80, 0xA0))
_WIDE = frozenset({1200, 1201, 12000, 12001})
"""Code pages in which a line end is no CRLF (RFC 2781 section 4.1 keeps them out of text/*)."""


class _Html:
    """The HTML body, found once: its octets in its own charset where that has a code page, in UTF-8 otherwise."""

    __slots__ = ("_found", "_parts")

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._found: tuple[bytes, int] | None = None

    def _find(self) -> tuple[bytes, int]:
        if self._found is None:
            if len(self._parts) == 1:
                part = self._parts[0]
                charset = part.params.get("charset", "")
                octets = line_body(part)
                page = usable_page(octets, charset)
                if not page:
                    octets, page = decode_text(octets, charset).encode("utf-8", "replace"), UTF_8
            else:
                octets, page = joined_text(list(map(part_text, self._parts))).encode("utf-8", "replace"), UTF_8
            self._found = octets, page
        return self._found

    def octets(self) -> bytes:
        return self._find()[0]

    def page(self) -> int:
        return self._find()[1]


def crlf_octets(octets: bytes) -> bytes:
    """The octets with every LF made CRLF."""
    if octets.count(b"\n") == octets.count(b"\r\n"):
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def body_properties(layout: Layout, plain: PlainBody | None, values: Values) -> None:
    """Add the body properties. Texts are decoded when they are asked for."""
    html = layout.body("html")
    if plain is not None:
        values[PR_BODY] = Lazy(plain.text)
        values[PR_NATIVE_BODY_INFO] = NATIVE_PLAIN
        values[PR_INTERNET_CPID] = Lazy(plain.page)
    if html:
        form = _Html(html)
        values[PR_HTML] = Lazy(form.octets)
        values[PR_INTERNET_CPID] = Lazy(form.page)
        values[PR_NATIVE_BODY_INFO] = NATIVE_HTML
    _other_bodies(layout, values)
    for part in html or layout.body("plain"):
        content_id = part.content_id
        if content_id:
            values[PR_BODY_CONTENT_ID] = decode_words(content_id).strip().strip("<>")
        location = part.location
        if location:
            values[PR_BODY_CONTENT_LOCATION] = decode_words(location)
        break


def _other_bodies(layout: Layout, values: Values) -> None:
    """text/enriched is HTML in other words; text/rtf is the RTF body (MS-OXBBODY section 2.1)."""
    enriched = layout.body("enriched")
    if enriched and PR_HTML not in values:
        values[PR_HTML] = Lazy(lambda: _html_of(enriched))
        values[PR_INTERNET_CPID] = UTF_8
        values[PR_NATIVE_BODY_INFO] = NATIVE_HTML
    rtf = layout.body("rtf")
    if rtf:
        values[PR_RTF_COMPRESSED] = store_rtf(decoded_body(rtf[0]))
        values[PR_RTF_IN_SYNC] = False


def _html_of(parts: list[Part]) -> bytes:
    found = [html_from_enriched(part_text(part), richtext=part.subtype == "richtext") for part in parts]
    return "<br>\r\n".join(found).encode("utf-8", "replace")


def body_text(octets: bytes, page: int) -> str:
    """Text of octets in a code page."""
    return octets.decode(codec_of(page), "replace")
