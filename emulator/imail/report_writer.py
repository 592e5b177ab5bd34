"""Reports as multipart/report (RFC 6522); the part for programs from properties where none was kept (RFC 3464)."""

from __future__ import annotations

from typing import Final

from emulator.properties import PropertyMessage, Recipient, from_filetime
from emulator.property_tags import (
    PR_DSN_ACTION,
    PR_MESSAGE_CLASS,
    PR_NDR_STATUS_CODE,
    PR_ORIGINAL_DELIVERY_TIME,
    PR_ORIGINAL_MESSAGE_ID,
    PR_REMOTE_MTA,
    PR_REPORT_TIME,
    PR_SENDER_EMAIL_ADDRESS,
    PR_SUPPLEMENTARY_INFO,
)
from protocols.mime.address import format_mailbox
from protocols.mime.dates import format_date
from protocols.mime.words import encode_words

from .mime_writer import Entity
from .reports import CLASS_NOT_READ, CLASS_READ, CLASSES, MAPI_ORIG

_ACTIONS: Final = {1: "failed", 2: "delayed", 3: "delivered", 4: "relayed", 5: "expanded"}
_STATUS_OF: Final = {"failed": 500, "delayed": 400}


def report_type(message: PropertyMessage) -> str:
    """`delivery-status`, `disposition-notification`, or "" for a message that is no report."""
    kind = str(message.get(PR_MESSAGE_CLASS, "")).lower()
    if kind in {CLASS_READ.lower(), CLASS_NOT_READ.lower()}:
        return "disposition-notification"
    return "delivery-status" if kind in {name.lower() for name in CLASSES.values()} else ""


def report_entity(message: PropertyMessage, kind: str, body: Entity | None, parts: list[Entity]) -> Entity:
    """multipart/report: text for people, text for programs, the message it is about."""
    machine = [part for part in parts if part.media_type.endswith(kind)]
    children = [body] if body is not None else [Entity("text/plain", [("charset", "us-ascii")])]
    if not machine:
        children.append(_delivery_status(message) if kind == "delivery-status" else _disposition(message))
    return Entity("multipart/report", [("report-type", kind)], children=children + parts)


def _line(name: str, text: str) -> bytes:
    return name.encode("ascii") + b": " + encode_words(" ".join(text.split()), len(name) + 2) + b"\r\n"


def _date(name: str, value: int | None) -> bytes:
    moment = None if value is None else from_filetime(value)
    return b"" if moment is None else name.encode("ascii") + b": " + format_date(moment) + b"\r\n"


def _address(email: str) -> bytes:
    return b"rfc822; " + format_mailbox(email.encode("ascii", "replace"))


def _delivery_status(message: PropertyMessage) -> Entity:
    sender = str(message.get(PR_SENDER_EMAIL_ADDRESS, ""))
    host = sender.rpartition("@")[2] if sender.isascii() and "@" in sender else "unknown"
    out = [_line("Reporting-MTA", f"dns; {host}"), _date("Arrival-Date", message.get(PR_ORIGINAL_DELIVERY_TIME))]
    kind = str(message.get(PR_MESSAGE_CLASS, "")).lower()
    default = next((action for action, name in CLASSES.items() if name.lower() == kind), "failed")
    rows = [row for row in message.recipients if row.type == MAPI_ORIG or row.get(PR_DSN_ACTION) is not None]
    out += [b"\r\n" + _recipient_fields(row, default) for row in rows]
    return Entity("message/delivery-status", data=b"".join(out))


def _recipient_fields(row: Recipient, default: str) -> bytes:
    action = _ACTIONS.get(row.get(PR_DSN_ACTION, 0), default)
    status = int(row.get(PR_NDR_STATUS_CODE, _STATUS_OF.get(action, 200)))
    out = [
        b"Final-Recipient: " + _address(row.email) + b"\r\n",
        _line("Action", action),
        _line("Status", f"{status // 100 % 10}.{status // 10 % 10}.{status % 10}"),
    ]
    remote = row.get(PR_REMOTE_MTA)
    if remote:
        out.append(_line("Remote-MTA", f"dns; {remote}"))
    diagnostic = row.get(PR_SUPPLEMENTARY_INFO)
    if diagnostic:
        out.append(_line("Diagnostic-Code", diagnostic if ";" in diagnostic else f"smtp; {diagnostic}"))
    out.append(_date("Last-Attempt-Date", row.get(PR_REPORT_TIME)))
    return b"".join(out)


def _disposition(message: PropertyMessage) -> Entity:
    read = str(message.get(PR_MESSAGE_CLASS, "")).lower() == CLASS_READ.lower()
    out = [b"Final-Recipient: " + _address(str(message.get(PR_SENDER_EMAIL_ADDRESS, ""))) + b"\r\n"]
    identifier = message.get(PR_ORIGINAL_MESSAGE_ID)
    if identifier:
        out.append(_line("Original-Message-ID", identifier))
    out.append(_line("Disposition", f"manual-action/MDN-sent-manually; {'displayed' if read else 'deleted'}"))
    return Entity("message/disposition-notification", data=b"".join(out))
