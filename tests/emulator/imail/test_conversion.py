"""emulator/imail: identity, the property round trip of the corpus, and messages changed property by property."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail import inbound, inbound_stages, outbound
from emulator.imail.mime_writer import Allow
from emulator.properties import MAPI_CC, MAPI_TO, Attachment, PropertyMessage, Recipient
from emulator.property_tags import (
    PR_ATTACH_DATA_BIN,
    PR_ATTACH_LONG_FILENAME,
    PR_ATTACH_MIME_TAG,
    PR_BODY,
    PR_DISPLAY_NAME,
    PR_EMAIL_ADDRESS,
    PR_HTML,
    PR_IMPORTANCE,
    PR_MESSAGE_CLASS,
    PR_MESSAGE_SIZE,
    PR_RECIPIENT_TYPE,
    PR_SENDER_EMAIL_ADDRESS,
    PR_SENDER_NAME,
    PR_SENT_REPRESENTING_EMAIL_ADDRESS,
    PR_SUBJECT,
    PS_INTERNET_HEADERS,
    NamedProperty,
    key_name,
)
from protocols.mime import parse

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
ALL = Allow.EIGHT_BIT_MIME | Allow.BINARY_MIME | Allow.UTF8


def corpus() -> list[Path]:
    if not CORPUS.is_dir():
        pytest.skip("needs ../shared/corpus")
    return sorted(CORPUS.glob("*/*.eml"))


def values(message: PropertyMessage, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """(name, place, value) of all properties, those of rows and embedded messages too."""
    for key, value in message.properties.items():
        if key != PR_MESSAGE_SIZE:
            yield prefix + key_name(key), prefix, value
    for number, recipient in enumerate(message.recipients):
        for key, value in recipient.items():
            yield f"{prefix}recipient {key_name(key)}", f"{prefix}{number}", value
    for number, attachment in enumerate(message.attachments):
        for key, value in attachment.items():
            yield f"{prefix}attachment {key_name(key)}", f"{prefix}{number}", value
        if attachment.embedded is not None:
            yield from values(attachment.embedded, f"{prefix}embedded {number} ")


def check_generated(octets: bytes, allow: Allow) -> None:
    """What every generated message has to be."""
    assert octets.endswith(b"\r\n")
    root = parse(octets)
    for line in octets[: root.body_start].split(b"\r\n"):
        assert len(line) <= 998
    if not allow & Allow.BINARY_MIME:
        for part in root.walk():
            if not part.children and part.message is None and part.type not in {"message", "multipart"}:
                assert max(map(len, part.body.split(b"\r\n")), default=0) <= 998


def test_the_corpus_comes_back_octet_for_octet() -> None:
    for path in corpus():
        octets = path.read_bytes()
        message = inbound(octets)
        assert outbound(message) is octets
        list(values(message))
        assert outbound(message) is octets, "looking at properties changes nothing"


def test_seven_bit_generation_of_the_corpus() -> None:
    for path in corpus():
        message = inbound(path.read_bytes())
        message.forget_original()
        if not str(message[PR_MESSAGE_CLASS]).startswith("IPM.Note.SMIME"):
            # what was signed is never put right
            check_generated(outbound(message, allow=ALL), ALL)
        octets = outbound(message)
        if not str(message[PR_MESSAGE_CLASS]).startswith("IPM.Note.SMIME"):
            check_generated(octets, Allow.SEVEN_BIT)
        again = inbound(octets)
        assert again.get(PR_SUBJECT) == message.get(PR_SUBJECT)
        assert [row.email for row in again.recipients] == [row.email for row in message.recipients]


def test_the_durable_form_of_the_corpus() -> None:
    for path in corpus()[::7]:
        octets = path.read_bytes()
        message = inbound(octets)
        assert PropertyMessage.from_bytes(message.to_bytes()).octets == octets
        message[PR_SUBJECT] = "changed"
        again = PropertyMessage.from_bytes(message.to_bytes())
        assert again.modified
        assert list(values(again)) == list(values(message))
        assert again.octets == message.octets
        message.forget_original()
        again = PropertyMessage.from_bytes(message.to_bytes())
        assert list(values(again)) == list(values(message))


def test_an_empty_message() -> None:
    message = PropertyMessage()
    octets = outbound(message)
    assert b"MIME-Version: 1.0\r\n" in octets
    assert inbound(octets).get(PR_MESSAGE_CLASS) == "IPM.Note"


def compose() -> PropertyMessage:
    message = PropertyMessage()
    message[PR_SUBJECT] = "Re: Grüße – ein sehr langer Betreff, der nicht auf eine Zeile passt, weil er so lang ist"
    message[PR_SENDER_NAME] = "Jörg, der Absender"
    message[PR_SENDER_EMAIL_ADDRESS] = "joerg@example.com"
    message[PR_BODY] = "Guten Tag\r\n\r\nä\r\n" + "x" * 2000
    message[PR_HTML] = "<p>Guten Tag ä</p>".encode()
    message[PR_IMPORTANCE] = 2
    for name, address, kind in (("Ann", "ann@example.com", MAPI_TO), ("b@example.com", "b@example.com", MAPI_CC)):
        message.recipients.append(
            Recipient({PR_DISPLAY_NAME: name, PR_EMAIL_ADDRESS: address, PR_RECIPIENT_TYPE: kind})
        )
    message.attachments.append(
        Attachment(
            {
                PR_ATTACH_LONG_FILENAME: "Übersicht der Ergebnisse des Quartals.pdf",
                PR_ATTACH_DATA_BIN: bytes(range(256)),
                PR_ATTACH_MIME_TAG: "application/pdf",
            }
        )
    )
    inner = PropertyMessage()
    inner[PR_SUBJECT] = "inside"
    inner[PR_BODY] = "inner text\r\n"
    holder = Attachment()
    holder.embedded = inner
    message.attachments.append(holder)
    return message


@pytest.mark.parametrize("allow", [Allow.SEVEN_BIT, Allow.EIGHT_BIT_MIME, ALL])
def test_a_composed_message_is_what_other_parsers_read(allow: Allow) -> None:
    message = compose()
    octets = outbound(message, allow=allow)
    check_generated(octets, allow)
    if allow is Allow.SEVEN_BIT:
        assert octets.isascii()
    parsed = email.message_from_bytes(octets, policy=email.policy.default)
    assert parsed["subject"] == message[PR_SUBJECT]
    if allow is not ALL:  # the standard library does not read UTF-8 in phrases
        assert parsed["from"].addresses[0].display_name == "Jörg, der Absender"
    assert parsed["to"].addresses[0].addr_spec == "ann@example.com"
    body = parsed.get_body(("plain",))
    html = parsed.get_body(("html",))
    assert body is not None
    assert html is not None
    assert body.get_content().replace("\r\n", "\n").rstrip("\n") == message[PR_BODY].replace("\r\n", "\n")
    assert html.get_content().rstrip("\n") == "<p>Guten Tag ä</p>"
    pdf, inside = parsed.iter_attachments()
    assert pdf.get_filename() == "Übersicht der Ergebnisse des Quartals.pdf"
    assert pdf.get_content() == bytes(range(256))
    assert inside.get_content()["subject"] == "inside"
    again = inbound(octets)
    assert [row.email for row in again.recipients] == ["ann@example.com", "b@example.com"]
    assert again.attachments[1].embedded is not None
    assert again.attachments[1].embedded[PR_BODY] == "inner text\r\n"
    assert again[PR_IMPORTANCE] == 2


ORIGINAL = (
    b"Received: from a by b; Tue, 24 Nov 2026 07:00:00 +0000\r\n"
    b"Received: from c by a; Tue, 24 Nov 2026 06:59:00 +0000\r\n"
    b"From: Ann (comment) <ann@example.com>\r\nTo: b@example.com\r\nX-Odd:   kept   as it is\r\n"
    b"Subject: before\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nhello\r\n"
)


def test_a_changed_property_leaves_the_rest_alone() -> None:
    message = inbound(ORIGINAL)
    message[PR_SUBJECT] = "after"
    assert message.modified
    assert outbound(message) == ORIGINAL.replace(b"Subject: before\r\n", b"").replace(
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n",
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\nSubject: after\r\nThread-Topic: before\r\n",
    )
    assert message.octets == outbound(message)
    assert message.structure.headers.get(b"subject") == b"after"


def test_a_header_cannot_be_injected() -> None:
    message = inbound(ORIGINAL)
    message[PR_SUBJECT] = "a\r\nBcc: evil@example.com\r\n\r\nbody"
    message[PR_SENT_REPRESENTING_EMAIL_ADDRESS] = "x@y\r\nEvil: 1"
    octets = outbound(message)
    headers = inbound(octets).structure.headers
    assert "bcc" not in headers
    assert "evil" not in headers
    assert inbound(octets)[PR_SUBJECT] == message[PR_SUBJECT]


def test_stages() -> None:
    stages = inbound_stages(ORIGINAL)
    names = []
    try:
        while True:
            names.append(next(stages))
    except StopIteration as stop:
        message = stop.value
    assert names == ["structure", "header", "body"]
    assert message.octets is ORIGINAL


@settings(max_examples=100)
@given(st.binary(max_size=300), st.sampled_from([b"", b"Content-Type: multipart/report; boundary=a\r\n\r\n--a\r\n"]))
def test_arbitrary_octets(octets: bytes, prefix: bytes) -> None:
    message = inbound(prefix + octets)
    assert outbound(message) == prefix + octets
    list(values(message))
    message.forget_original()
    inbound(outbound(message))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=100)
@given(TEXT.map(str.strip), TEXT, st.binary(max_size=100), TEXT)
def test_arbitrary_properties(subject: str, body: str, data: bytes, name: str) -> None:
    message = PropertyMessage()
    message[PR_SUBJECT] = subject
    message[PR_BODY] = body = body.replace("\r", "").replace("\n", "\r\n")
    name = name.replace("\0", "").strip()
    message.attachments.append(
        Attachment({PR_ATTACH_DATA_BIN: data, PR_ATTACH_LONG_FILENAME: name, PR_ATTACH_MIME_TAG: "application/x-data"})
    )
    octets = outbound(message)
    check_generated(octets, Allow.SEVEN_BIT)
    assert octets.isascii()
    again = inbound(octets)
    assert again[PR_SUBJECT] == subject
    assert again[PR_BODY] == body
    assert again.attachments[0].data == data
    assert again.attachments[0].name == name or "=?" in name


def test_a_field_with_a_word_too_long_for_a_line_is_written_anew() -> None:
    message = inbound(b"X-Long: " + b"w" * 1200 + b"\r\nSubject: x\r\n\r\n")
    before = message.properties.as_dict()
    message.forget_original()
    octets = outbound(message)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    key = NamedProperty(PS_INTERNET_HEADERS, "x-long")
    assert inbound(octets)[key] == before[key] == "w" * 1200


def test_a_delivery_status_with_bare_line_ends_becomes_lines() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n"
        b"Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b\nAction: failed\n--b--\n"
    )
    message = inbound(octets)
    (attachment,) = message.attachments
    data = attachment.data
    assert data == b"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b\r\nAction: failed"
    message.forget_original()
    octets = outbound(message)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert inbound(octets).attachments[0].data == data
