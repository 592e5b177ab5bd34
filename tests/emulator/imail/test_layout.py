"""emulator/imail/layout.py: what is body and what is attached."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.imail import inbound
from emulator.property_tags import PR_ATTACH_FLAGS, PR_BODY, PR_HTML

PLAIN = b"Content-Type: text/plain\r\n\r\nplain\r\n"
HTML = b"Content-Type: text/html\r\n\r\n<p>html\r\n"
IMAGE = b"Content-Type: image/png; name=i.png\r\nContent-ID: <i>\r\n\r\nPNG\r\n"
FILE = b"Content-Type: text/plain; name=f.txt\r\nContent-Disposition: attachment; filename=f.txt\r\n\r\nfile\r\n"


def test_the_root_of_a_related_is_of_the_type_that_it_names() -> None:
    message = inbound(multipart("related", IMAGE, HTML, parameters="; type=text/html"))
    assert message[PR_HTML] == b"<p>html"
    assert [row.name for row in message.attachments] == ["i.png"]


def multipart(subtype: str, *parts: bytes, parameters: str = "") -> bytes:
    mark = f"{subtype}{len(parts)}"
    head = f"Content-Type: multipart/{subtype}; boundary={mark}{parameters}\r\n\r\n".encode()
    return head + b"".join(b"--%s\r\n%s" % (mark.encode(), part) for part in parts) + b"--%s--\r\n" % mark.encode()


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (PLAIN, ("plain\r\n", None, [])),
        (multipart("alternative", PLAIN, HTML), ("plain", b"<p>html", [])),
        (multipart("mixed", PLAIN, FILE), ("plain", None, ["f.txt"])),
        (multipart("mixed", PLAIN, PLAIN), ("plain\r\nplain", None, [])),
        (multipart("alternative", PLAIN, multipart("related", HTML, IMAGE)), ("plain", b"<p>html", ["i.png*"])),
        (
            multipart(
                "related", IMAGE, HTML.replace(b"\r\n\r\n", b"\r\nContent-ID: <r>\r\n\r\n"), parameters='; start="<r>"'
            ),
            (None, b"<p>html", ["i.png*"]),
        ),
        (
            multipart("mixed", multipart("alternative", PLAIN, HTML), IMAGE, FILE),
            ("plain", b"<p>html", ["i.png", "f.txt"]),
        ),
        (FILE, (None, None, ["f.txt"])),
        (multipart("alternative", PLAIN, b"\r\n\r\n"), ("plain", None, [])),
        (
            multipart("mixed", PLAIN, b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n"),
            ("plain", None, [""]),
        ),
        (
            multipart("alternative", PLAIN, b"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n"),
            ("plain", None, [""]),
        ),
        (b"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n", (None, None, [""])),
    ],
)
def test_layout(octets: bytes, expected: Any) -> None:
    message = inbound(octets)
    names = [row.name + ("*" if row[PR_ATTACH_FLAGS] else "") for row in message.attachments]
    assert (message.get(PR_BODY), message.get(PR_HTML), names) == expected


def test_a_multipart_without_a_body_is_no_attachment() -> None:
    message = inbound(b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
    assert list(message.attachments) == []
