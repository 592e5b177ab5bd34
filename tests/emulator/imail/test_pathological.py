"""Messages made to hurt, each at two sizes: four times the octets must not take more than some four times the time."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Callable

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.rtf_compression import store_rtf
from emulator.imail.tnef_stream import ATT_ATTACH_REND_DATA, ATT_MSG_PROPS, ATT_RECIP_TABLE, attribute, write_stream
from emulator.properties import PropertyMessage
from protocols.imap.envelope import bodystructure, envelope

SMALL, FACTOR, RATIO_MAX = 6000, 4, 9.0
"""A quadratic step makes the ratio 16. What takes less than this is not worth a ratio:"""
SECONDS_IDLE = 0.02

Maker = Callable[[int], bytes]
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def fill(unit: bytes, octets: int) -> bytes:
    return (unit * (octets // len(unit) + 1))[:octets]


def field(name: bytes, unit: bytes, head: bytes = b"", tail: bytes = b"") -> Maker:
    return lambda octets: name + b": " + head + fill(unit, octets) + tail + b"\r\n\r\nx\r\n"


def body(head: bytes, unit: bytes) -> Maker:
    return lambda octets: head + b"\r\n\r\n" + fill(unit, octets)


def parts(unit: bytes, head: bytes = MIXED) -> Maker:
    return lambda octets: head + fill(unit, octets)


def numbered(head: bytes, line: bytes, tail: bytes = b"\r\nx") -> Maker:
    return lambda octets: head + b"".join([line % number for number in range(octets // len(line))]) + tail


def tnef(make: Callable[[int], bytes]) -> Maker:
    return lambda octets: (
        b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + (base64.encodebytes(make(octets * 3 // 4)))
    )


def tnef_properties(octets: int) -> bytes:
    rows = b"".join([struct.pack("<HHI", 3, 0x6600 + number % 0x500, 5) for number in range(octets // 8)])
    return write_stream([attribute(1, ATT_MSG_PROPS, struct.pack("<I", octets // 8) + rows)])


def tnef_recipients(octets: int) -> bytes:
    row = struct.pack("<IHHI", 1, 3, 0x0C15, 1)
    return write_stream([attribute(1, ATT_RECIP_TABLE, struct.pack("<I", octets // len(row)) + fill(row, octets))])


def tnef_absurd(octets: int) -> bytes:
    lengths = struct.pack("<I", 0xFFFFFFFF) + struct.pack("<HHI", 0x101F, 0x6600, 0xFFFFFFFF)
    return write_stream([attribute(1, ATT_MSG_PROPS, lengths + bytes(octets))])


def tnef_rtf(octets: int) -> bytes:
    packed = store_rtf(b"{\\rtf1\\fromhtml1 " + fill(b"{\\*\\htmltag64 <b>}", octets))
    head = struct.pack("<IHHII", 1, 0x102, 0x1009, 1, len(packed))
    return write_stream([attribute(1, ATT_MSG_PROPS, head + packed + bytes(-len(packed) % 4))])


def nested(octets: int) -> bytes:
    level = b"Content-Type: multipart/mixed; boundary=z%03d\r\n\r\n--z%03d\r\n"
    return b"".join([level % (number, number) for number in range(98)]) + fill(b"--z097\r\n\r\nx\r\n", octets)


def prefixes(octets: int) -> bytes:
    level = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n"
    return b"".join([level % (b"a" * (n + 1), b"a" * (n + 1)) for n in range(98)]) + fill(b"--a\r\n\r\nx\r\n", octets)


def apple_single(octets: int) -> bytes:
    count = octets // 24
    entries = b"".join([struct.pack(">III", 100 + number, 26, octets // 2) for number in range(count)])
    file = struct.pack(">II16xH", 0x51600, 0x20000, count) + entries + bytes(octets // 2)
    return b"Content-Type: application/applefile\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(
        file
    )


QP = b"Content-Transfer-Encoding: quoted-printable"
BASE64 = b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64"
RTF = b"Content-Type: text/rtf"
REPORT = (
    b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
    b"Content-Type: message/delivery-status\r\n\r\n"
)

MESSAGES: dict[str, Maker] = {
    "To: groups that never end": field(b"To", b"a:"),
    "To: many @": field(b"To", b"a@"),
    "To: words": field(b"To", b"a ", tail=b"@b"),
    "To: dots and blanks": field(b"To", b"a . ", tail=b"@b"),
    "To: angle brackets": field(b"To", b"<"),
    "To: route": field(b"To", b"@a,", head=b"<"),
    "To: comments": field(b"To", b"()"),
    "To: comments that never end": field(b"To", b"((a)"),
    "To: comments inside comments": lambda n: b"To: " + b"(" * (n // 2) + b")" * (n // 2) + b" a@b\r\n\r\n",
    "To: quotes": field(b"To", b'"a" '),
    "To: quotes that never end": field(b"To", b'\\"'),
    "To: brackets": field(b"To", b"["),
    "To: commas": field(b"To", b","),
    "To: addresses": field(b"To", b"a@b,"),
    "To: groups": field(b"To", b"a:b@c;"),
    "To: encoded words": field(b"To", b"=?utf-8?q?=C3=A4?= <a@b>,"),
    "To: fields": lambda n: fill(b"To: a@b.c\r\n", n) + b"\r\nx",
    "Subject: encoded words": field(b"Subject", b"=?utf-8?q?a?= "),
    "Subject: begun words": field(b"Subject", b"=?a?q?"),
    "Subject: question marks": field(b"Subject", b"?", head=b"=?a?q?"),
    "Subject: blanks between words": field(b"Subject", b" ", head=b"=?a?q?a?=", tail=b"=?a?q?a?="),
    "Subject: charsets": numbered(b"Subject: ", b"=?x%d?q?=E4?= ", b"\r\n\r\n"),
    "Subject: words": field(b"Subject", b"word "),
    "Subject: folds": lambda n: b"Subject: x\r\n" + fill(b" \r\n", n) + b"\r\n",
    "References": field(b"References", b"<a@b> "),
    "Date: comments": field(b"Date", b"("),
    "Content-Type: parameters": field(b"Content-Type", b"; a=b", head=b"text/plain"),
    "Content-Type: sections": numbered(b"Content-Type: text/plain", b"; a*%d*=%%41", b"\r\n\r\nx"),
    "Content-Type: long value": field(b"Content-Type", b"%E4", head=b"text/plain; name*=utf-8''"),
    "Content-Type: escapes": field(b"Content-Type", b'\\"', head=b'text/plain; a="'),
    "Content-Type: comments": field(b"Content-Type", b"(", head=b"text/plain; "),
    "Content-Type: no parameters": field(b"Content-Type", b"a ", head=b"text/plain; "),
    "Content-Disposition: no word": field(b"Content-Disposition", b"x;", head=b"filename="),
    "Content-Disposition: long name": field(b"Content-Disposition", b"a.", head=b'attachment; filename="', tail=b'"'),
    "Content-Language: tags": field(b"Content-Language", b"en,"),
    "header: fields": numbered(b"", b"X-%d: y\r\n"),
    "header: lines without colon": lambda n: fill(b"no colon\r\n", n),
    "header: blanks before a colon": lambda n: b"a" + b" " * n + b"x\r\n\r\n",
    "header: one long name": lambda n: b"a" * n,
    "parts: empty": parts(b"--b\r\n"),
    "parts: files": parts(b"--b\r\nContent-Type: a/b; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n"),
    "parts: messages": parts(b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx\r\n"),
    "parts: digest": parts(
        b"--b\r\n\r\nSubject: x\r\n\r\nx\r\n", b"Content-Type: multipart/digest; boundary=b\r\n\r\n"
    ),
    "parts: AppleDouble": parts(
        b"--b\r\nContent-Type: multipart/appledouble; boundary=c\r\n\r\n--c\r\n"
        b"Content-Type: application/applefile\r\n\r\nx\r\n--c\r\nContent-Type: a/b\r\n\r\ny\r\n--c--\r\n"
    ),
    "boundary: nearly": parts(b"--a\r\n"),
    "boundary: dashes": lambda n: b"Content-Type: multipart/mixed; boundary=" + b"-" * 70 + b"b\r\n\r\n\n" + b"-" * n,
    "boundary: long and nearly": parts(
        b"\n--" + b"a" * 150, b"Content-Type: multipart/mixed; boundary=" + b"a" * 190 + b"\r\n\r\n"
    ),
    "depth: innermost": nested,
    "depth: prefixes of one another": prefixes,
    "depth: messages": lambda n: fill(b"Content-Type: message/rfc822\r\n\r\n", n),
    "quoted-printable: soft breaks": body(QP, b"=\r\n"),
    "quoted-printable: blanks": body(QP, b" \r\n"),
    "quoted-printable: nothing encoded": body(QP, b"="),
    "base64: junk": body(BASE64, b"!A"),
    "base64: padding": body(BASE64, b"AA="),
    "uuencode: begin lines": body(b"", b"begin 644 a\r\n"),
    "uuencode: files": body(b"", b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n"),
    "uuencode: no end": body(b"\r\nbegin 644 a", b"#86)C\r\n"),
    "yEnc: begin lines": body(b"", b"=ybegin name=a\r\nx\r\n"),
    "yEnc: escapes": body(b"\r\n=ybegin line=128 size=9 name=a", b"=a"),
    "HTML: tags": body(b"Content-Type: text/html", b"<a<b<"),
    "enriched: tags": body(b"Content-Type: text/enriched", b"<bold>"),
    "enriched: nothing closed": body(b"Content-Type: text/enriched", b"<a"),
    "RTF: groups": body(RTF, b"{}"),
    "RTF: groups that never end": body(RTF, b"{"),
    "RTF: fonts": body(RTF + b"\r\n\r\n{\\rtf1{\\fonttbl", b"{\\f1\\fcharset204 x;}"),
    "RTF: HTML": body(RTF + b"\r\n\r\n{\\rtf1\\ansi\\fromhtml1 ", b"{\\*\\htmltag64 <b>}"),
    "RTF: characters": body(RTF + b"\r\n\r\n{\\rtf1", b"\\u228 ?\\'e4"),
    "TNEF: properties": tnef(tnef_properties),
    "TNEF: recipients": tnef(tnef_recipients),
    "TNEF: attachments": tnef(lambda n: write_stream([attribute(2, ATT_ATTACH_REND_DATA, bytes(14))] * (n // 25))),
    "TNEF: absurd lengths": tnef(tnef_absurd),
    "TNEF: RTF": tnef(tnef_rtf),
    "AppleSingle: entries": apple_single,
    "BinHex: colons": body(b"Content-Type: application/mac-binhex40", b"\n:"),
    "BinHex: blanks": body(b"Content-Type: application/mac-binhex40", b"\n" + b" " * 500),
    "report: recipients": body(REPORT, b"Final-Recipient: rfc822; a@b\r\nAction: failed\r\n\r\n"),
    "report: blank lines": body(REPORT, b"\r\n"),
    "message/partial": body(b"Content-Type: message/partial; id=x; number=1; total=2", b"Subject: x\r\n"),
    "UTF-7": body(b"Content-Type: text/plain; charset=utf-7", b"+AAA-"),
    "ISO-2022-JP": body(b"Content-Type: text/plain; charset=iso-2022-jp", b"\x1b$B\x1b(B"),
}


def everything(message: PropertyMessage) -> None:
    message.properties.items()
    for recipient in message.recipients:
        recipient.items()
    for attachment in message.attachments:
        attachment.items()
        if attachment.embedded is not None:
            everything(attachment.embedded)


def seconds(octets: bytes) -> float:
    """Processor time of both conversions and of what IMAP asks for."""
    before = time.thread_time()
    message = inbound(octets)
    everything(message)
    envelope(message.structure)
    bodystructure(message.structure)
    assert outbound(message) is octets
    message.forget_original()
    outbound(message)
    return time.thread_time() - before


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_time_is_linear(name: str) -> None:
    make = MESSAGES[name]
    small, large = make(SMALL), make(SMALL * FACTOR)
    measured = []
    least = seconds(large)
    for _ in range(4):  # another process may have had the caches: the best of several is what counts
        if least < SECONDS_IDLE:
            return
        ratio = least / seconds(small)
        if ratio < RATIO_MAX:
            return
        measured.append(ratio)
        least = min(least, seconds(large))
    pytest.fail(f"{FACTOR} times the octets took {', '.join(f'{ratio:.1f}' for ratio in measured)} times the time")
