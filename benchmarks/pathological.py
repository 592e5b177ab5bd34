"""Messages made to hurt: what costs a converter most by the octet, each kind in any size.

benchmarks/conversion.py --pathological measures them, tests/emulator/imail/test_pathological.py holds their cost to be
linear.
"""

from __future__ import annotations

import base64
import binascii
import random
import struct
from collections.abc import Callable

from emulator.imail.mac import _BASE64, _HQX
from emulator.imail.rtf_compression import _PREBUF, store_rtf
from emulator.imail.tnef import IID_IMESSAGE
from emulator.imail.tnef_stream import (
    ATT_ATTACH_REND_DATA,
    ATT_ATTACH_TITLE,
    ATT_ATTACHMENT,
    ATT_MSG_PROPS,
    ATT_RECIP_TABLE,
    ATT_SUBJECT,
    attribute,
    write_stream,
)
from emulator.property_tags import PS_PUBLIC_STRINGS

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


def nested_outermost(octets: int) -> bytes:
    level = b"Content-Type: multipart/mixed; boundary=z%03d\r\n\r\n--z%03d\r\n"
    return b"".join([level % (number, number) for number in range(99)]) + fill(b"--z000\r\n\r\nx\r\n", octets)


def nested_in_turn(octets: int) -> bytes:
    level = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n"
    boundaries = [(b"%03d" % number) * 23 for number in range(99)]
    lines = b"".join([b"--%b\r\n\r\nx\r\n" % boundary for boundary in reversed(boundaries)])
    return b"".join([level % (boundary, boundary) for boundary in boundaries]) + fill(lines, octets)


def nested_again(octets: int) -> bytes:
    out = [b"Content-Type: multipart/mixed; boundary=top\r\n\r\n"]
    level = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    number = 0
    while sum(map(len, out)) < octets:
        out.append(b"--top\r\n" + b"".join([level % (number + depth, number + depth) for depth in range(90)]))
        number += 90
    return b"".join(out)


def nested_at_random(octets: int) -> bytes:
    draw = random.Random(1)
    level = b"Content-Type: multipart/mixed; boundary=z%03d\r\n\r\n--z%03d\r\n"
    levels = [level % (depth, depth) for depth in range(99)]
    out = [b"".join(levels)]
    size = 0
    while size < octets:
        depth = draw.randrange(99)
        out.append(b"--z%03d\r\n" % depth + b"".join(levels[depth:])[:2000])
        size += len(out[-1])
    return b"".join(out)


def nested_then(unit: bytes) -> Maker:
    level = b"Content-Type: multipart/mixed; boundary=z%03d\r\n\r\n--z%03d\r\n"
    head = b"".join([level % (depth, depth) for depth in range(99)])
    return lambda octets: head + b"\r\n" + fill(unit, octets)


def tnef_named(octets: int) -> bytes:
    name = struct.pack("<II", 1, 6) + "ab\0".encode("utf-16-le") + b"\0\0"
    row = struct.pack("<HH", 3, 0x8000) + PS_PUBLIC_STRINGS.bytes_le + name + struct.pack("<I", 5)
    count = octets // len(row)
    return write_stream([attribute(1, ATT_MSG_PROPS, struct.pack("<I", count) + row * count)])


def tnef_attributes(octets: int) -> bytes:
    return write_stream([attribute(1, ATT_SUBJECT, b"a\0")] * (octets // 13))


def tnef_titles(octets: int) -> bytes:
    titles = [attribute(2, ATT_ATTACH_TITLE, b"a\0")] * (octets // 13)
    return write_stream([attribute(2, ATT_ATTACH_REND_DATA, bytes(14)), *titles])


def tnef_many_values(octets: int) -> bytes:
    values = (struct.pack("<I", 2) + b"a\0\0\0") * (octets // 8)
    head = struct.pack("<I", 1) + struct.pack("<HHI", 0x101E, 0x6600, octets // 8)
    return write_stream([attribute(1, ATT_MSG_PROPS, head + values)])


def tnef_embedded(octets: int) -> bytes:
    inner = write_stream([attribute(1, ATT_SUBJECT, b"a\0"), attribute(1, ATT_MSG_PROPS, bytes(octets))])
    for _ in range(19):
        value = IID_IMESSAGE.bytes_le + inner
        value += bytes(-len(value) % 4)
        properties = struct.pack("<IHHII", 1, 0x000D, 0x3701, 1, len(value)) + value
        inner = write_stream([attribute(2, ATT_ATTACH_REND_DATA, bytes(14)), attribute(2, ATT_ATTACHMENT, properties)])
    return inner


def tnef_bomb(start: bytes, distance: int) -> Callable[[int], bytes]:
    """Compressed RTF that grows to eight times its size: references of 17 octets to what stands `distance` before."""

    def make(octets: int) -> bytes:
        out = bytearray()
        position = len(_PREBUF)
        for at in range(0, len(start), 8):
            out += b"\0" + start[at : at + 8].ljust(8, b"}")
            position += 8
        while len(out) < octets:
            out.append(0xFF)
            for _ in range(8):
                out += ((position - distance) % 4096 << 4 | 15).to_bytes(2, "big")
                position += 17
        packed = struct.pack("<IIII", len(out) + 12, 0x7FFF_FFFF, 0x75465A4C, 0) + out
        head = struct.pack("<IHHII", 1, 0x102, 0x1009, 1, len(packed))
        return write_stream([attribute(1, ATT_MSG_PROPS, head + packed + bytes(-len(packed) % 4))])

    return make


def binhex_runs(octets: int) -> bytes:
    packed = b"\x01x\0TEXTCREA\0\0\x40\0\0\0\0\0\0\0\0\0a" + b"\x90\x02" * (octets * 3 // 8)
    text = binascii.b2a_base64(packed, newline=False).rstrip(b"=").translate(bytes.maketrans(_BASE64, _HQX))
    return b"Content-Type: application/mac-binhex40\r\n\r\n:" + text + b":\r\n"


def messages_in_base64(octets: int) -> bytes:
    message = b"Subject: x\r\n\r\n" + b"y" * int(octets / 1.37**12)
    for _ in range(12):
        head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        message = head + base64.encodebytes(message)
    return message


def decoded(unit: bytes) -> Maker:
    head = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return lambda octets: head + base64.encodebytes(fill(unit, octets * 3 // 4))


APPLEDOUBLE = (
    b"--b\r\nContent-Type: multipart/appledouble; boundary=c\r\n\r\n--c\r\nContent-Type: application/applefile\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAUWBwACAAA=\r\n--c\r\nContent-Type: a/b\r\n\r\ny\r\n--c--\r\n"
    + b" "
    * 100
)

KINDS: dict[str, Maker] = {
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
    "depth: 99, outermost": nested_outermost,
    "depth: long boundaries in turn": nested_in_turn,
    "depth: opened again and again": nested_again,
    "depth: random re-entry": nested_at_random,
    "depth: 99 then near marks": nested_then(b"\n--" + b"y" * 40),
    "depth: 99 then base64": nested_then(b"A" * 76 + b"\r\n"),
    "boundary: hyphen lines": parts(b"--x\r\n"),
    "parts: 256 octets, files": parts(
        (
            b'--b\r\nContent-Type: a/b; name=x.y\r\nContent-Disposition: attachment; filename="abc d.txt"\r\n'
            b"Content-Transfer-Encoding: base64\r\nContent-ID: <a@b>\r\nContent-Description: x\r\n"
            b"\r\neA==\r\n"
        )
        + b"eHh4" * 18
        + b"\r\n"
    ),
    "parts: text": parts(b"--b\r\n\r\n" + b"x" * 250 + b"\r\n"),
    "parts: html": parts(b"--b\r\nContent-Type: text/html\r\n\r\n" + b"x" * 230 + b"\r\n"),
    "parts: related": parts(
        b"--b\r\nContent-ID: <x@y>\r\nContent-Type: image/png\r\n\r\n" + b"x" * 200 + b"\r\n",
        b'Content-Type: multipart/related; boundary=b; start="<z>"\r\n\r\n',
    ),
    "parts: alternative": parts(
        b"--b\r\nContent-Type: text/html\r\n\r\n" + b"x" * 230 + b"\r\n",
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n",
    ),
    "parts: messages of 256": parts(
        (
            b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\nFrom: a@b\r\nTo: c@d\r\n"
            b"Date: Tue, 24 Nov 2026 07:00:00 +0000\r\nMessage-ID: <x@y>\r\n\r\n"
        )
        + b"x" * 100
        + b"\r\n"
    ),
    "parts: tiny multiparts": parts(
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n" + b" " * 180
    ),
    "parts: AppleDouble, encoded": parts(APPLEDOUBLE),
    "parts: calendars": parts(
        b"--b\r\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\nBEGIN:VCALENDAR\r\n"
        + b"x" * 200
        + b"\r\n"
    ),
    "parts: winmail": parts(b"--b\r\nContent-Type: application/ms-tnef\r\n\r\nx\r\n"),
    "parts: 2231 names": parts(
        b"--b\r\nContent-Type: a/b; name*0*=utf-8''%E4%E4; name*1=x; name*2*=%41\r\n\r\nx\r\n" + b"y" * 150 + b"\r\n"
    ),
    "header: folds in X": lambda n: b"X-A: x\r\n" + fill(b" y\r\n", n) + b"\r\n",
    "header: X words": field(b"X-A", b"=?utf-8?q?=C3=A4?= x "),
    "header: encoded each": numbered(b"", b"X-%d: =?utf-8?q?=C3=A4?=\r\n"),
    "header: Received": lambda n: (
        fill(b"Received: from a by b with SMTP id x; Tue, 24 Nov 2026 07:00:00 +0000\r\n", n) + b"\r\n"
    ),
    "header: same X": lambda n: fill(b"X-A: y\r\n", n) + b"\r\n",
    "header: same Subject": lambda n: fill(b"Subject: =?utf-8?q?a?=\r\n", n) + b"\r\n",
    "header: Content-Type fields": lambda n: fill(b"Content-Type: text/plain; a=b\r\n", n) + b"\r\n",
    "header: Resent": lambda n: fill(b"Resent-To: a@b\r\n", n) + b"\r\n",
    "header: CR only": lambda n: fill(b"X-A: y\r", n) + b"\r",
    "header: 8-bit": field(b"X-A", b"\xe4 "),
    "header: 8-bit utf8 broken": field(b"Subject", b"\xc3\xa4\xff "),
    "header: tabs": lambda n: b"Subject:" + b"\t" * n + b"\r\n\r\n",
    "References 1MB folded": lambda n: b"References: x\r\n" + fill(b" <abcdefgh@example.com>\r\n", n) + b"\r\n",
    "Keywords": field(b"Keywords", b"a,"),
    "Reply-To: addresses": field(b"Reply-To", b"a@b,"),
    "From: addresses": field(b"From", b"a@b,"),
    "Sender: garbage": field(b"Sender", b"a b "),
    "To: named": field(b"To", b"A B <a@b.c>, "),
    "To: quoted names": field(b"To", b'"A, B" <a@b.c>, '),
    "To: comments names": field(b"To", b"a@b.c (A B), "),
    "To: B words": field(b"To", b"=?utf-8?b?w6Q=?= <a@b>,"),
    "To: words distinct": lambda n: (
        b"To: " + b"".join(b"=?utf-8?q?=C3=A4%d?= <a%d@b>," % (k, k) for k in range(n // 32)) + b"\r\n\r\n"
    ),
    "To: unknown charset": lambda n: (
        b"To: " + b"".join(b"=?x%d?q?=C3=A4?= <a@b>," % (k) for k in range(n // 28)) + b"\r\n\r\n"
    ),
    "To: semicolons": field(b"To", b"a@b;"),
    "To: nested groups": field(b"To", b"a:b:c@d;;,"),
    "To: angle words": field(b"To", b"<a b c d ", tail=b">"),
    "To: utf8": field(b"To", "ä <ä@ö>,".encode()),
    "To: literal": field(b"To", b"a@[1.2.3.4],"),
    "To: dquote in local": field(b"To", b'"a b"@c,'),
    "Cc and Bcc": lambda n: (
        b"To: "
        + fill(b"a@b,", n // 3)
        + b"\r\nCc: "
        + fill(b"a@b,", n // 3)
        + b"\r\nBcc: "
        + fill(b"a@b,", n // 3)
        + b"\r\n\r\n"
    ),
    "Subject: cut characters": field(b"Subject", b"=?utf-8?b?w6Q=?= =?utf-8?q?=C3?= "),
    "Subject: charsets known": lambda n: (
        b"Subject: " + fill(b"=?koi8-r?q?=E4?= =?iso-8859-5?q?=E4?= =?shift_jis?b?g0E=?= ", n) + b"\r\n\r\n"
    ),
    "Subject: charsets 2022": lambda n: b"Subject: " + fill(b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?= x ", n) + b"\r\n\r\n",
    "Subject: unknown random": lambda n: (
        b"Subject: " + b"".join(b"=?win-%d?q?=E4?= " % k for k in range(n // 20)) + b"\r\n\r\n"
    ),
    "Subject: cp": lambda n: b"Subject: " + b"".join(b"=?8859-%d?q?=E4?= " % k for k in range(n // 20)) + b"\r\n\r\n",
    "Date: long": field(b"Date", b"1 "),
    "Content-Type: 10000 sections": numbered(b"Content-Type: text/plain", b"; a*%d*=%%41%%42%%43", b"\r\n\r\nx"),
    "Content-Type: sections of many": lambda n: (
        b"Content-Type: text/plain" + b"".join(b"; a%d*0=x" % k for k in range(n // 10)) + b"\r\n\r\nx"
    ),
    "Content-Type: nested comments": lambda n: (
        b"Content-Type: text/plain" + b"(" * (n // 2) + b")" * (n // 2) + b"; charset=utf-8\r\n\r\nx"
    ),
    "Content-Type: boundary long": lambda n: (
        b'Content-Type: multipart/mixed; boundary="' + b"a" * n + b'"\r\n\r\n--' + b"a" * 200 + b"\r\n\r\nx"
    ),
    "Content-Type: spaces": lambda n: b"Content-Type: text/plain" + b" " * n + b"; charset=utf-8\r\n\r\nx",
    "Content-Type: semis": field(b"Content-Type", b";", head=b"text/plain"),
    "Content-Type: equals": field(b"Content-Type", b"=", head=b"text/plain; a"),
    "Content-Type: quotes": field(b"Content-Type", b'; a="b"', head=b"text/plain"),
    "Content-Disposition: comments": field(b"Content-Disposition", b"(a)", head=b"attachment"),
    "name: encoded words": field(b"Content-Type", b"=?utf-8?q?=C3=A4?= ", head=b'a/b; name="', tail=b'"'),
    "Content-ID long": field(b"Content-ID", b"<a>"),
    "qp: lines": body(QP, b"=C3=A4 \r\n"),
    "qp: lone cr": body(QP, b"a\r"),
    "qp: LF blanks": body(QP, b" \n"),
    "qp: all": body(QP, b"=41"),
    "qp html": body(b"Content-Type: text/html; charset=utf-8\r\n" + QP, b"=C3=A4<b>"),
    "base64: lines each padded": body(BASE64, b"AAA=\r\n"),
    "base64: lines each padded 2": body(BASE64, b"AA==\r\n"),
    "base64: text lines padded": body(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", b"YWI=\r\n"
    ),
    "base64: equals": body(BASE64, b"="),
    "base64: one per line": body(BASE64, b"A\r\n"),
    "base64: A=": body(BASE64, b"A="),
    "base64 of lines": decoded(b"\n"),
    "base64 of begin": decoded(b"begin 644 a\n#86)C\n`\nend\n"),
    "uu: one-char lines": body(b"\r\nbegin 644 a", b"!  \r\n"),
    "uu: long lines": body(b"\r\nbegin 644 a", b"M" + b"A" * 60 + b"\r\n"),
    "uu: wrong lines": body(b"\r\nbegin 644 a", b"MA\r\n"),
    "uu: begin pairs": body(b"", b"begin 644 a\r\n#\r\n"),
    "uu: cte": body(b"Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode", b"#86)C\r\n"),
    "uu: cte bad": body(b"Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode", b"~\r\n"),
    "yEnc: blocks": body(b"", b"=ybegin line=128 size=1 name=a\r\nk\r\n=yend size=1\r\n"),
    "yEnc: ==": body(b"\r\n=ybegin line=128 size=9 name=a", b"=="),
    "yEnc: nothing": body(b"\r\n=ybegin line=128 size=9 name=a", b"ab" * 30 + b"\r\n"),
    "HTML: 1e6 tags": body(b"Content-Type: text/html", b"<b>"),
    "HTML: entities": body(b"Content-Type: text/html", b"&amp;"),
    "HTML 8-bit latin": body(b"Content-Type: text/html; charset=iso-8859-1", b"\xe4"),
    "enriched: mix": body(b"Content-Type: text/enriched", b"<bold>a</bold>\r\n"),
    "enriched: <<": body(b"Content-Type: text/enriched", b"<<"),
    "enriched: lines": body(b"Content-Type: text/enriched", b"a\r\n"),
    "enriched: param": body(b"Content-Type: text/enriched", b"<param>a</param>"),
    "richtext: nl": body(b"Content-Type: text/richtext", b"<nl>"),
    "RTF: f": body(RTF + b"\r\n\r\n{\\rtf1", b"\\f"),
    "RTF: \\f ": body(RTF + b"\r\n\r\n{\\rtf1", b"\\f1 "),
    "RTF: \\f1x": body(RTF + b"\r\n\r\n{\\rtf1", b"\\f1 x"),
    "RTF: fx alternating": body(
        RTF + b"\r\n\r\n{\\rtf1{\\fonttbl{\\f0\\fcharset204 x;}{\\f1\\fcharset0 y;}}", b"\\f1 x\\f0 y"
    ),
    "RTF: plain": body(RTF + b"\r\n\r\n{\\rtf1", b"\\plain x"),
    "RTF: par": body(RTF + b"\r\n\r\n{\\rtf1", b"\\par x"),
    "RTF: u": body(RTF + b"\r\n\r\n{\\rtf1", b"\\u8?"),
    "RTF: u high": body(RTF + b"\r\n\r\n{\\rtf1", b"\\u55357?\\u56832?"),
    "RTF: {\\*": body(RTF + b"\r\n\r\n{\\rtf1", b"{\\*\\x y}"),
    "RTF: {x}": body(RTF + b"\r\n\r\n{\\rtf1", b"{x}"),
    "RTF: symbols": body(RTF + b"\r\n\r\n{\\rtf1", b"\\~"),
    "RTF: newlines": body(RTF + b"\r\n\r\n{\\rtf1", b"x\n"),
    "RTF: hex": body(RTF + b"\r\n\r\n{\\rtf1", b"\\'e4"),
    "RTF: hex x": body(RTF + b"\r\n\r\n{\\rtf1", b"\\'e4x"),
    "RTF: html text": body(RTF + b"\r\n\r\n{\\rtf1\\ansi\\fromhtml1 ", b"{\\*\\htmltag64 <b>}\\htmlrtf x\\htmlrtf0 y"),
    "RTF: ansicpg": body(RTF + b"\r\n\r\n{\\rtf1", b"\\ansicpg1252 x"),
    "RTF: ansicpg unknown": numbered(RTF + b"\r\n\r\n{\\rtf1", b"\\ansicpg%d x\\f1 "),
    "RTF: long number": body(RTF + b"\r\n\r\n{\\rtf1", b"\\u1234567890 "),
    "TNEF: named": tnef(tnef_named),
    "TNEF: attributes": tnef(tnef_attributes),
    "TNEF: multi-valued": tnef(tnef_many_values),
    "TNEF: embedded 19": tnef(tnef_embedded),
    "TNEF: titles": tnef(tnef_titles),
    "TNEF: RTF bomb": tnef(tnef_bomb(b"{\\rtf1 ", 1)),
    "TNEF: RTF bomb 2": tnef(tnef_bomb(b"{\\rtf1\\fromhtml1 \\'e4\\u8 ?", 11)),
    "BinHex: runs": binhex_runs,
    "report: fields": body(
        REPORT,
        (
            b"Final-Recipient: rfc822; a@b\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 no\r\n"
            b"Remote-MTA: dns; x\r\nLast-Attempt-Date: Tue, 24 Nov 2026 07:00:00 +0000\r\n\r\n"
        ),
    ),
    "report: one block": body(REPORT, b"X-A: b\r\n"),
    "report: many status parts": parts(
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; a@b\r\nAction: failed\r\n\r\n"
        + b"x" * 150,
        b"Content-Type: multipart/report; boundary=b\r\n\r\n",
    ),
    "report: rfc822-headers": lambda n: (
        (
            b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
            b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n\r\n"
            b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        )
        + fill(b"X-A: b\r\n", n)
        + b"\r\n--b--\r\n"
    ),
    "UTF-7 dense": body(b"Content-Type: text/plain; charset=utf-7", b"+AOQ-"),
    "UTF-7 broken": body(b"Content-Type: text/plain; charset=utf-7", b"+\xe4-"),
    "ISO-2022-JP storm 2": body(b"Content-Type: text/plain; charset=iso-2022-jp", b"\x1b$BF|\x1b(B"),
    "ISO-2022-JP broken": body(b"Content-Type: text/plain; charset=iso-2022-jp", b"\x1b$B\xff\x1b(B"),
    "ISO-2022-CN": body(b"Content-Type: text/plain; charset=iso-2022-cn", b"\x0e!!\x0f"),
    "ISO-2022-KR": body(b"Content-Type: text/plain; charset=iso-2022-kr", b"\x0e!!\x0f"),
    "hz": body(b"Content-Type: text/plain; charset=hz-gb-2312", b"~{!!~}"),
    "hz broken": body(b"Content-Type: text/plain; charset=hz-gb-2312", b"~\xff"),
    "utf-8 broken": body(b"Content-Type: text/plain; charset=utf-8", b"\xff"),
    "utf-8 broken mixed": body(b"Content-Type: text/plain; charset=utf-8", b"\xc3\xa4\xff"),
    "big5 broken": body(b"Content-Type: text/plain; charset=big5", b"\xff\x80"),
    "sjis broken": body(b"Content-Type: text/plain; charset=shift_jis", b"\xff\x80a"),
    "gb18030 broken": body(b"Content-Type: text/plain; charset=gb2312", b"\xff\x80a"),
    "cp874 broken": body(b"Content-Type: text/plain; charset=windows-1253", b"\xaa\xd2a"),
    "utf-16 body": body(b"Content-Type: text/plain; charset=utf-16", b"\xd8\x00"),
    "utf-8 html broken": body(b"Content-Type: text/html; charset=utf-8", b"\xff"),
    "unknown charset html": body(b"Content-Type: text/html; charset=x-nix", b"\xff\xe4"),
    "LF only body": lambda n: b"Subject: x\n\n" + b"\n" * n,
    "CR only body": lambda n: b"Subject: x\n\n" + b"\r" * n,
    "mixed EOL": lambda n: b"Subject: x\n\n" + fill(b"a\nb\r\nc\rd", n),
    "NULs": lambda n: b"Subject: x\r\n\r\n" + b"\0" * n,
    "NULs in header": field(b"X-A", b"\0"),
    "smime opaque": lambda n: (
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(bytes(n * 3 // 4))
    ),
    "signed many": lambda n: (
        b"Content-Type: multipart/signed; boundary=s; protocol=x\r\n\r\n--s\r\n"
        + fill(b"Content-Type: multipart/signed; boundary=t; protocol=x\r\n\r\n--t\r\n\r\nx\r\n--t--\r\n", n)
        + b"\r\n--s--\r\n"
    ),
    "long text line": lambda n: b"Subject: x\r\n\r\n" + b"x" * n,
    "text lines": lambda n: b"Subject: x\r\n\r\n" + fill(b"x\r\n", n),
    "plain 8bit": lambda n: b"Subject: x\r\n\r\n" + fill("ä\r\n".encode(), n),
    "bound with regex chars": lambda n: (
        b'Content-Type: multipart/mixed; boundary="(.*)+$"\r\n\r\n'
        + fill(b"--(.*)+$\r\n\r\n" + b"y" * 250 + b"\r\n", n)
    ),
    "messages in base64": messages_in_base64,
}
