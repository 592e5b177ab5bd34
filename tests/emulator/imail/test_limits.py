"""Limits of emulator/imail: what lies over one is kept as octets, nothing is lost."""

from __future__ import annotations

import binascii

from emulator.imail import ConversionLimits, inbound, mac, outbound
from emulator.properties import ATTACH_BY_VALUE
from emulator.property_tags import PR_ATTACH_METHOD, PR_SUBJECT
from protocols.mime import parse


def test_messages_that_are_too_deep_stay_octets() -> None:
    octets = b"Content-Type: message/rfc822\r\n\r\n" * 9 + b"Subject: x\r\n\r\n"
    message = inbound(octets, limits=ConversionLimits(embedded_depth_max=3))
    for _ in range(2):
        (attachment,) = message.attachments
        assert attachment.embedded is not None
        message = attachment.embedded
    (attachment,) = message.attachments
    assert attachment.embedded is None
    assert attachment[PR_ATTACH_METHOD] == ATTACH_BY_VALUE
    assert attachment.data == b"Content-Type: message/rfc822\r\n\r\n" * 6 + b"Subject: x\r\n\r\n"


def test_recipients_over_the_limit_stay_in_the_header() -> None:
    octets = b"To: " + b", ".join(b"a%d@b.c" % number for number in range(50)) + b"\r\n\r\n"
    message = inbound(octets, limits=ConversionLimits(recipients_max=10))
    assert len(message.recipients) == 10
    assert outbound(message) is octets


def test_recipients_over_the_limit_survive_another_change() -> None:
    octets = b"To: " + b", ".join(b"a%d@b.c" % number for number in range(40_000)) + b"\r\nSubject: x\r\n\r\n"
    message = inbound(octets)
    message[PR_SUBJECT] = "y"
    assert outbound(message).count(b"@b.c") == 40_000


def test_embedded_messages_over_the_limit_stay_octets() -> None:
    part = b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: %d\r\n\r\nbody\r\n"
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(part % number for number in range(5))
    message = inbound(octets, limits=ConversionLimits(embedded_messages_max=3))
    assert [attachment.embeds for attachment in message.attachments] == [True] * 3 + [False] * 2
    assert message.attachments[4].data == b"Subject: 4\r\n\r\nbody\r\n"
    message.forget_original()
    assert b"Subject: 4" in outbound(message)


def test_a_run_length_trap_stays_an_attachment() -> None:
    packed = b"\x01x\0TEXTCREA\0\0\x40\0\0\0\0\0\0\0\0\0a" + b"\x90\xff" * 200_000
    text = binascii.b2a_base64(packed, newline=False).rstrip(b"=").translate(bytes.maketrans(mac._BASE64, mac._HQX))
    octets = b"Content-Type: application/mac-binhex40\r\n\r\n:" + text + b":\r\n"
    (attachment,) = inbound(octets).attachments
    assert attachment.data.startswith(b":")


def test_parts_over_the_limit_belong_to_the_last_one() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 2000
    root = parse(octets)
    assert 500 <= len(root.children) < 1000
    assert root.children[-1].end == len(octets)
