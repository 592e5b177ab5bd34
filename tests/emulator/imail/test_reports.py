"""emulator/imail/reports.py and report_writer.py"""

from __future__ import annotations

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.reports import MAPI_ORIG
from emulator.properties import PropertyMessage, Recipient
from emulator.property_tags import (
    PR_BODY,
    PR_EMAIL_ADDRESS,
    PR_MESSAGE_CLASS,
    PR_NDR_DIAG_CODE,
    PR_NDR_STATUS_CODE,
    PR_ORIGINAL_MESSAGE_ID,
    PR_ORIGINAL_SUBJECT,
    PR_RECIPIENT_TYPE,
    PR_REMOTE_MTA,
    PR_SUPPLEMENTARY_INFO,
)
from protocols.mime import parse


def report(kind: str, fields: str) -> bytes:
    return (
        f"Subject: report\r\nTo: a@x\r\nContent-Type: multipart/report; report-type={kind}; boundary=b\r\n\r\n"
        f"--b\r\n\r\nfor people\r\n--b\r\nContent-Type: message/{kind}\r\n\r\n{fields}\r\n"
        "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: first\r\nMessage-ID: <1@x>\r\n\r\nx\r\n--b--\r\n"
    ).encode()


def delivery(action: str, status: str = "5.1.1") -> bytes:
    return report(
        "delivery-status",
        "Reporting-MTA: dns; mx.x\r\nArrival-Date: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\n"
        f"Final-Recipient: rfc822; nobody@x\r\nAction: {action}\r\nStatus: {status}\r\n"
        "Remote-MTA: dns; far.x\r\nDiagnostic-Code: smtp; 550 no such user\r\n",
    )


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("failed", "REPORT.IPM.Note.NDR"),
        ("delivered", "REPORT.IPM.Note.DR"),
        ("delayed", "REPORT.IPM.Note.Delayed.DR"),
        ("relayed", "REPORT.IPM.Note.Relayed.DR"),
        ("expanded", "REPORT.IPM.Note.Expanded.DR"),
    ],
)
def test_delivery_reports(action: str, name: str) -> None:
    message = inbound(delivery(action))
    for _ in range(2):
        assert message[PR_MESSAGE_CLASS] == name
        assert message[PR_ORIGINAL_SUBJECT] == "first"
        assert message[PR_ORIGINAL_MESSAGE_ID] == "<1@x>"
        assert message[PR_BODY] == "for people"
        to, row = message.recipients
        assert (to.email, row.email, row.type) == ("a@x", "nobody@x", MAPI_ORIG)
        assert row[PR_NDR_STATUS_CODE] == 511
        assert row[PR_NDR_DIAG_CODE] == 0
        assert row[PR_REMOTE_MTA] == "far.x"
        assert row[PR_SUPPLEMENTARY_INFO] == "smtp; 550 no such user"
        message.forget_original()
        octets = outbound(message)
        assert parse(octets).content_type == "multipart/report"
        message = inbound(octets)


@pytest.mark.parametrize(("disposition", "name"), [("displayed", "IPNRN"), ("deleted", "IPNNRN")])
def test_read_receipts(disposition: str, name: str) -> None:
    octets = report(
        "disposition-notification",
        "Final-Recipient: rfc822; a@x\r\nOriginal-Message-ID: <1@x>\r\n"
        f"Disposition: manual-action/MDN-sent; {disposition}\r\n",
    )
    message = inbound(octets)
    assert message[PR_MESSAGE_CLASS] == f"REPORT.IPM.Note.{name}"
    message.forget_original()
    assert inbound(outbound(message))[PR_MESSAGE_CLASS] == f"REPORT.IPM.Note.{name}"


def test_a_report_made_of_properties() -> None:
    message = PropertyMessage()
    message[PR_MESSAGE_CLASS] = "REPORT.IPM.Note.NDR"
    message[PR_BODY] = "It did not arrive.\r\n"
    message.recipients.append(
        Recipient(
            {PR_EMAIL_ADDRESS: "b@x", PR_RECIPIENT_TYPE: MAPI_ORIG, PR_NDR_STATUS_CODE: 520, PR_REMOTE_MTA: "m.x"}
        )
    )
    again = inbound(outbound(message))
    assert again[PR_MESSAGE_CLASS] == "REPORT.IPM.Note.NDR"
    (row,) = again.recipients
    assert (row.email, row[PR_NDR_STATUS_CODE], row[PR_REMOTE_MTA]) == ("b@x", 520, "m.x")


def test_a_report_without_its_machine_part_is_a_note() -> None:
    octets = b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
    assert inbound(octets)[PR_MESSAGE_CLASS] == "IPM.Note"
