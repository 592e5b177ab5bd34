"""Body parts → body properties (MS-OXCMAIL section 2.1.3.3; MS-OXBBODY)."""

from __future__ import annotations

from emulator.properties import Lazy, Value
from emulator.property_tags import (
    PR_BODY,
    PR_BODY_CONTENT_ID,
    PR_BODY_CONTENT_LOCATION,
    PR_HTML,
    PR_INTERNET_CPID,
    PR_NATIVE_BODY_INFO,
    Key,
)
from protocols.mime import Part, transfer
from protocols.mime.charsets import decode_text, is_known
from protocols.mime.words import decode_words

from .codepages import UTF_8, code_page, codec_of, has_code_page
from .layout import Layout

Values = dict[Key, Value]

NATIVE_PLAIN, NATIVE_RTF, NATIVE_HTML, NATIVE_CLEAR_SIGNED = 1, 2, 3, 4


def decoded_body(part: Part) -> bytes:
    """Octets of a part behind its transfer encoding."""
    return transfer.decode(part.body, part.encoding)


def part_text(part: Part) -> str:
    """Text of a part in its charset, with CRLF line ends."""
    return crlf(decode_text(decoded_body(part), part.params.get("charset", "")))


def crlf(text: str) -> str:
    """The text with every LF made CRLF; a lone CR stays what it is."""
    if text.count("\n") == text.count("\r\n"):
        return text
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def joined_text(parts: list[Part]) -> str:
    """Several parts as one text, each beginning on a line of its own (KB Q183598)."""
    texts: list[str] = []
    for part in parts:
        if texts and not texts[-1].endswith("\n"):
            texts.append("\r\n")
        texts.append(part_text(part))
    return "".join(texts)


def charset_usable(charset: str) -> bool:
    """Whether octets in this charset may stay octets, beside their code page."""
    return bool(charset) and is_known(charset) and has_code_page(charset)


def html_page(parts: list[Part]) -> int:
    """Code page in which `html_octets` are."""
    charset = parts[0].params.get("charset", "")
    return code_page(charset) if len(parts) == 1 and charset_usable(charset) else UTF_8


def html_octets(parts: list[Part]) -> bytes:
    """HTML body: the part's own octets where its charset has a code page, UTF-8 otherwise."""
    if len(parts) == 1 and charset_usable(parts[0].params.get("charset", "")):
        return decoded_body(parts[0])
    if len(parts) == 1:
        octets = decoded_body(parts[0])
        return decode_text(octets, parts[0].params.get("charset", "")).encode("utf-8", "replace")
    return joined_text(parts).encode("utf-8", "replace")


def body_properties(layout: Layout, values: Values) -> None:
    """Add the body properties. Texts are decoded when they are asked for."""
    plain = layout.body("plain")
    html = layout.body("html")
    if html:
        values[PR_INTERNET_CPID] = html_page(html)
    elif plain:
        charset = plain[0].params.get("charset", "")
        values[PR_INTERNET_CPID] = code_page(charset) if charset_usable(charset) else _undeclared_page(plain[0])
    if plain:
        values[PR_BODY] = Lazy(lambda: joined_text(plain))
        values[PR_NATIVE_BODY_INFO] = NATIVE_PLAIN
    if html:
        values[PR_HTML] = Lazy(lambda: html_octets(html))
        values[PR_NATIVE_BODY_INFO] = NATIVE_HTML
    for part in html or plain:
        content_id = part.content_id
        if content_id:
            values[PR_BODY_CONTENT_ID] = decode_words(content_id).strip().strip("<>")
        location = part.location
        if location:
            values[PR_BODY_CONTENT_LOCATION] = decode_words(location)
        break


def _undeclared_page(part: Part) -> int:
    """Without a charset: US-ASCII where the octets are, UTF-8 otherwise (RFC 2045 section 5.2)."""
    return 20127 if part.octets[part.body_start : part.end].isascii() and part.encoding[:1] in "78" else UTF_8


def body_text(octets: bytes, page: int) -> str:
    """Text of octets in a code page."""
    return octets.decode(codec_of(page), "replace")
