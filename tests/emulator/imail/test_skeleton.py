"""emulator/imail/skeleton.py: what was not changed keeps its octets."""

from __future__ import annotations

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.mime_writer import Allow
from emulator.properties import Attachment, PropertyMessage
from emulator.property_tags import (
    PR_ATTACH_DATA_BIN,
    PR_ATTACH_LONG_FILENAME,
    PR_ATTACH_MIME_TAG,
    PR_BODY,
    PR_SUBJECT,
)
from protocols.mime import parse

SIGNED = (
    b'Content-Type: multipart/signed; micalg="pgp-sha256";\r\n\tprotocol="application/pgp-signature"; boundary=sig\r\n'
    b"\r\n--sig\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"  What w\xc3\xa4s signed \r\n\r\n--sig\r\n"
    b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n--sig--\r\n"
)
LIST = (
    b"From: a@example.com\r\nTo: b@example.com\r\nSubject: before\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=list\r\n\r\n--list\r\n"
    + SIGNED
    + b"\r\n--list\r\nContent-Type: text/plain\r\n\r\nfooter of the list\r\n--list\r\n"
    b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--list--\r\n"
)


def add(message: PropertyMessage) -> None:
    values = {PR_ATTACH_LONG_FILENAME: "new.bin", PR_ATTACH_DATA_BIN: b"\0new", PR_ATTACH_MIME_TAG: "application/x-new"}
    message.attachments.append(Attachment(values))


def change_subject(message: PropertyMessage) -> None:
    message[PR_SUBJECT] = "after"


def rename(message: PropertyMessage) -> None:
    message.attachments[-1][PR_ATTACH_LONG_FILENAME] = "b.pdf"


def remove(message: PropertyMessage) -> None:
    del message.attachments[-1]


@pytest.mark.parametrize("change", [change_subject, add, rename, remove])
@pytest.mark.parametrize("allow", [Allow.SEVEN_BIT, Allow.EIGHT_BIT_MIME])
def test_a_signed_part_keeps_its_octets(change, allow) -> None:
    message = inbound(LIST)
    assert [row.name for row in message.attachments] == ["signature.asc", "a.pdf"]
    change(message)
    octets = outbound(message, allow=allow)
    assert octets != LIST
    assert SIGNED in octets
    again = inbound(octets)
    expected = {
        change_subject: ["signature.asc", "a.pdf"],
        add: ["signature.asc", "a.pdf", "new.bin"],
        rename: ["signature.asc", "b.pdf"],
        remove: ["signature.asc"],
    }[change]
    assert [row.name for row in again.attachments] == expected
    assert again[PR_BODY] == message[PR_BODY]


def test_a_changed_subject_changes_nothing_else() -> None:
    message = inbound(LIST)
    message[PR_SUBJECT] = "after"
    octets = outbound(message)
    assert octets.partition(b"\r\n\r\n")[2] == LIST.partition(b"\r\n\r\n")[2]
    assert b"Subject: after\r\n" in octets


def test_a_signature_over_what_was_taken_away_goes() -> None:
    message = inbound(LIST)
    del message.attachments[0]
    octets = outbound(message)
    assert b"multipart/signed" not in octets
    assert inbound(octets)[PR_BODY] == message[PR_BODY]


def test_an_attachment_beside_a_single_text() -> None:
    message = inbound(b"Subject: x\r\nContent-Type: text/plain; charset=koi8-r\r\nX-Kept: y\r\n\r\n\xd0\xd2\r\n")
    add(message)
    root = parse(outbound(message, allow=Allow.EIGHT_BIT_MIME))
    assert root.content_type == "multipart/mixed"
    text, new = root.children
    assert text.header == b"Content-Type: text/plain; charset=koi8-r\r\n\r\n"
    assert text.body == b"\xd0\xd2\r\n"
    assert new.content_type == "application/x-new"
    assert root.headers.get(b"x-kept") == b"y"


def test_a_changed_body_is_generated() -> None:
    message = inbound(LIST)
    message[PR_BODY] = "new text\r\n"
    octets = outbound(message)
    assert b"multipart/signed" not in octets
    assert inbound(octets)[PR_BODY] == "new text\r\n"


def test_eight_bit_octets_are_encoded_for_a_peer_that_wants_seven() -> None:
    message = inbound(b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa4\r\n")
    message[PR_SUBJECT] = "y"
    assert outbound(message).isascii()
    assert inbound(outbound(message))[PR_BODY] == "ä\r\n"
