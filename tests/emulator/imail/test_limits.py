"""emulator/imail against messages made to hurt: time and depth stay bounded, nothing is lost."""

from __future__ import annotations

import time

import pytest

from emulator.imail import ConversionLimits, inbound, outbound
from emulator.properties import ATTACH_BY_VALUE, PropertyMessage
from emulator.property_tags import PR_ATTACH_METHOD

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
HOSTILE = {
    "attachments": MIXED + b"--b\r\nContent-Disposition: attachment; filename=x\r\n\r\nx\r\n" * 8000,
    "texts": MIXED + b"--b\r\n\r\nx\r\n" * 30_000,
    "headers": b"".join(b"X-%d: y\r\n" % number for number in range(30_000)) + b"\r\nbody",
    "recipients": b"To: " + b", ".join(b"a%d@b.c" % number for number in range(40_000)) + b"\r\n\r\n",
    "groups": b"To: " + b"a:" * 50_000 + b"\r\n\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 20_000 + b"\r\n\r\n",
    "messages": b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
    "uuencode": b"\r\n" + b"begin 644 a\r\n#86)C\r\n" * 15_000,
    "yenc": b"\r\n" + b"=ybegin name=a\r\nx\r\n" * 15_000,
    "report": b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
    b"Content-Type: message/delivery-status\r\n\r\n" + b"Final-Recipient: rfc822; a@b\r\nAction: failed\r\n\r\n" * 5000,
    "parameters": MIXED + b"--b\r\nContent-Type: a/b; " + b"a*0*=x;" * 50_000,
    "one line": b"\r\n" + b"x" * 500_000,
    "zeros": b"\r\n" + b"\0" * 500_000,
}


def everything(message: PropertyMessage) -> None:
    message.properties.items()
    for recipient in message.recipients:
        recipient.items()
    for attachment in message.attachments:
        attachment.items()
        if attachment.embedded is not None:
            everything(attachment.embedded)


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_messages_take_linear_time(name: str) -> None:
    octets = HOSTILE[name]
    before = time.process_time()
    message = inbound(octets)
    everything(message)
    assert outbound(message) is octets
    message.forget_original()
    inbound(outbound(message))
    assert time.process_time() - before < 8.0  # 0.1 to 1 s on an ordinary machine


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
