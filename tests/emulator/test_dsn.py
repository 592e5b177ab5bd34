"""Delivery status notifications: their fields, when they are wanted, and that the standard library reads them."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import dsn

MESSAGE = b"Subject: x\r\nTo: y\r\n\r\nbody\r\n"


def make(
    *outcomes: dsn.Outcome, octets: bytes = MESSAGE, reverse_path: str = "a@x", **options: Any
) -> tuple[bytes, Any]:
    octets = dsn.report("h", reverse_path, options, octets, outcomes, arrived=0, now=60, token="t0ken")
    return octets, message_from_bytes(octets, policy=policy.SMTP)


FAILED = dsn.Outcome("b@y", dsn.FAILED, "5.1.1", "550 5.1.1 no", "far.example")


def test_fields() -> None:
    _, message = make(FAILED, envid="E1", recipients={"b@y": {"orcpt": "rfc822;o@y"}})
    assert message["To"] == "a@x"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message.get_param("report-type") == "delivery-status"
    _, status, returned = message.iter_parts()
    about, recipient = status.get_payload()
    assert about["Original-Envelope-Id"] == "E1"
    assert about["Arrival-Date"] == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert recipient["Original-Recipient"] == "rfc822;o@y"
    assert recipient["Remote-MTA"] == "dns; far.example"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no"
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content()["Subject"] == "x"


@pytest.mark.parametrize(
    ("action", "options", "octets", "kind"),
    [
        (dsn.FAILED, {}, MESSAGE, "message/rfc822"),
        (dsn.FAILED, {"ret": "FULL"}, MESSAGE, "message/rfc822"),
        (dsn.FAILED, {"ret": "HDRS"}, MESSAGE, "text/rfc822-headers"),
        (dsn.FAILED, {"body": "BINARYMIME"}, MESSAGE, "text/rfc822-headers"),
        (dsn.FAILED, {}, MESSAGE + b"x" * dsn.RETURNED_OCTETS_MAX, "text/rfc822-headers"),
        (dsn.FAILED, {"smtputf8": True}, MESSAGE, "message/global"),
        (dsn.DELIVERED, {"ret": "FULL"}, MESSAGE, "text/rfc822-headers"),
        (dsn.DELAYED, {"smtputf8": True}, MESSAGE, "message/global-headers"),
    ],
)
def test_what_is_returned(action: str, options: dict[str, Any], octets: bytes, kind: str) -> None:
    written, _ = make(dsn.Outcome("b@y", action, "2.0.0"), octets=octets, **options)
    assert f"Content-Type: {kind}\r\n".encode() in written


def test_the_last_line_of_each_part_is_whole() -> None:
    written, _ = make(FAILED)  # the line end before a boundary belongs to the boundary (RFC 2046 section 5.1.1)
    for line in (b"<b@y> (far.example said): 550 5.1.1 no", b"Diagnostic-Code: smtp; 550 5.1.1 no", b"body"):
        assert line + b"\r\n\r\n--=_t0ken" in written


def test_in_utf8() -> None:
    octets, _ = make(dsn.Outcome("j\u00f6rg@y", dsn.FAILED, "5.1.1", "no"))
    assert b"Content-Type: message/global-delivery-status" in octets
    assert "Final-Recipient: utf-8;j\u00f6rg@y\r\n".encode() in octets


def test_the_boundary_is_not_in_the_message() -> None:
    _, message = make(FAILED, octets=b"Subject: x\r\n\r\n--=_t0ken--\r\n")
    assert message.get_boundary() == "=_t0ken_"
    assert len(list(message.iter_parts())) == 3


@pytest.mark.parametrize(
    ("notify", "action", "wanted"),
    [
        (None, dsn.FAILED, True),
        (None, dsn.DELIVERED, False),
        (None, dsn.DELAYED, False),
        ([], dsn.FAILED, False),
        (["SUCCESS"], dsn.FAILED, False),
        (["SUCCESS"], dsn.DELIVERED, True),
        (["SUCCESS"], dsn.RELAYED, True),
        (["FAILURE", "DELAY"], dsn.DELAYED, True),
    ],
)
def test_who_wants_to_know(notify: list[str] | None, action: str, wanted: bool) -> None:
    options = {"recipients": {"b@y": {} if notify is None else {"notify": notify}}}
    assert dsn.is_wanted(dsn.Outcome("b@y", action, "2.0.0"), options) is wanted


@given(st.text(max_size=60), st.text(max_size=60), st.binary(max_size=200))
def test_nothing_that_a_peer_said_breaks_out_of_its_field(text: str, remote: str, octets: bytes) -> None:
    written, _ = make(dsn.Outcome("b@y", dsn.FAILED, "5.0.0", text, remote), octets=octets)
    status = written.partition(b"delivery-status\r\n")[2].partition(b"\r\n\r\n")[2].partition(b"\r\n--=_t0ken")[0]
    names = {line.partition(b":")[0] for line in status.split(b"\r\n") if line}
    known = b"Reporting-MTA Arrival-Date Final-Recipient Action Status Remote-MTA Diagnostic-Code".split()
    assert names <= set(known)
