"""Limits of emulator/imail: what lies over one is kept as octets, nothing is lost."""

from __future__ import annotations

import base64
import binascii

from benchmarks.pathological import KINDS
from emulator.imail import ConversionLimits, inbound, mac, outbound
from emulator.imail.tnef_stream import ATT_ATTACH_REND_DATA, attribute, write_stream
from emulator.properties import ATTACH_BY_VALUE
from emulator.property_tags import PR_ATTACH_METHOD, PR_HTML, PR_RTF_COMPRESSED, PR_SUBJECT
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


def test_dense_recipients_are_bounded_by_the_size_of_the_header() -> None:
    octets = b"To: " + b"a@b," * 25_000 + b"\r\nSubject: x\r\n\r\n"
    message = inbound(octets)
    assert len(message.recipients) == 5_000 + (len(octets) - 2) // 100
    message[PR_SUBJECT] = "y"
    assert outbound(message).count(b"a@b") == 25_000


def test_small_messages_in_great_number_stay_octets() -> None:
    part = b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: %03d\r\n\r\nbody\r\n"
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(part % number for number in range(230))
    attachments = inbound(octets).attachments
    assert [row.embeds for row in attachments] == [True] * (200 + len(octets) // 4096) + [False] * (
        30 - len(octets) // 4096
    )
    assert attachments[-1].data == b"Subject: 229\r\n\r\nbody\r\n"


def test_a_winmail_that_is_cut_too_fine_stays_a_file() -> None:
    stream = write_stream([attribute(2, ATT_ATTACH_REND_DATA, bytes(14))] * 1000)
    octets = b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(
        stream
    )
    (attachment,) = inbound(octets).attachments
    assert attachment.data == stream


def test_an_rtf_bomb_keeps_its_octets() -> None:
    octets = KINDS["TNEF: RTF bomb 2"](200_000)
    message = inbound(octets)
    packed = message[PR_RTF_COMPRESSED]
    assert len(packed) > 140_000
    assert 0 < len(message[PR_HTML]) < len(packed) * 8
    message.forget_original()
    assert inbound(outbound(message))[PR_RTF_COMPRESSED] == packed
