"""Delivery reports and read receipts (RFC 3464, RFC 8098 → MS-OXCMAIL section 2.1.3.6; MS-OXOMSG section 2.2.2)."""

from __future__ import annotations

import re
from typing import Final

from emulator.properties import Recipient, Value, filetime
from emulator.property_tags import (
    PR_ADDRTYPE,
    PR_DISPLAY_NAME,
    PR_DSN_ACTION,
    PR_EMAIL_ADDRESS,
    PR_MESSAGE_CLASS,
    PR_NDR_DIAG_CODE,
    PR_NDR_REASON_CODE,
    PR_NDR_STATUS_CODE,
    PR_ORIGINAL_DELIVERY_TIME,
    PR_ORIGINAL_MESSAGE_ID,
    PR_ORIGINAL_SUBJECT,
    PR_RECIPIENT_TYPE,
    PR_REMOTE_MTA,
    PR_REPORT_TEXT,
    PR_REPORT_TIME,
    PR_ROWID,
    PR_SMTP_ADDRESS,
    PR_SUPPLEMENTARY_INFO,
    Key,
)
from protocols.mime import HeaderBlock, Part, transfer
from protocols.mime.charsets import decode_text
from protocols.mime.dates import parse_date
from protocols.mime.words import decode_words

Values = dict[Key, Value]

MAPI_ORIG: Final = 0
"""Type of the rows that say what became of a recipient: they are nobody's To or Cc."""
RECIPIENTS_MAX: Final = 5000

CLASSES: Final = {
    "failed": "REPORT.IPM.Note.NDR",
    "delayed": "REPORT.IPM.Note.Delayed.DR",
    "expanded": "REPORT.IPM.Note.Expanded.DR",
    "relayed": "REPORT.IPM.Note.Relayed.DR",
    "delivered": "REPORT.IPM.Note.DR",
}
"""By action (RFC 3464 section 2.3.3), the gravest first."""
CLASS_READ: Final = "REPORT.IPM.Note.IPNRN"
CLASS_NOT_READ: Final = "REPORT.IPM.Note.IPNNRN"
_ACTIONS: Final = {"failed": 1, "delayed": 2, "delivered": 3, "relayed": 4, "expanded": 5}
_STATUS: Final = re.compile(rb"([245])\.([0-9]{1,3})\.([0-9]{1,3})")
_NOT_REACHED: Final = 0
_TRANSFER_FAILED: Final = 0
_DIAGNOSTICS: Final = {(1, 1): 0, (1, 2): 48, (2, 2): 13, (2, 3): 7, (3, 4): 7, (4, 7): 5, (5, 3): 16, (7, 1): 29}
"""X.400 diagnostic codes for enhanced status codes (MS-OXCMAIL section 2.2.3.7.1.3); 0 = no address, 48 = bad O/R."""
_NO_DIAGNOSTIC: Final = -1


def status_blocks(part: Part) -> list[HeaderBlock]:
    """The groups of fields of a report body, separated by blank lines."""
    octets = transfer.decode(part.body, part.encoding).replace(b"\r\n", b"\n")
    blocks: list[HeaderBlock] = []
    position = 0
    while position < len(octets) and len(blocks) <= RECIPIENTS_MAX:
        if octets[position] == 10:
            position += 1
            continue
        end = octets.find(b"\n\n", position)
        end = len(octets) if end < 0 else end + 1
        blocks.append(HeaderBlock(octets, position, end))
        position = end
    return blocks


def _typed(value: bytes | None) -> str:
    """The value behind its type: `rfc822; user@example.com`."""
    if value is None:
        return ""
    return decode_words(value.partition(b";")[2] if b";" in value else value).strip().strip("<>")


def find_report(root: Part) -> Part | None:
    """The machine-readable part of a report, or None."""
    if root.type != "multipart" or root.subtype != "report":
        return None
    for part in root.children:
        if part.type == "message" and part.subtype in _REPORT_SUBTYPES:
            return part
    return None


_REPORT_SUBTYPES: Final = frozenset(
    {"delivery-status", "global-delivery-status", "disposition-notification", "global-disposition-notification"}
)


def report_properties(root: Part, part: Part, values: Values) -> None:
    """Message class and properties of a report."""
    blocks = status_blocks(part)
    if part.subtype.endswith("disposition-notification"):
        _disposition(blocks, values)
    else:
        _delivery(blocks, values)
    for sibling in root.children:
        headers = sibling.message.headers if sibling.message is not None else _header_part(sibling)
        if headers is not None:
            subject = headers.get(b"subject")
            if subject is not None:
                values[PR_ORIGINAL_SUBJECT] = decode_words(subject)
            identifier = headers.get(b"message-id")
            if identifier is not None:
                values.setdefault(PR_ORIGINAL_MESSAGE_ID, decode_words(identifier).strip())


def _header_part(part: Part) -> HeaderBlock | None:
    if part.type == "text" and part.subtype == "rfc822-headers":
        octets = transfer.decode(part.body, part.encoding)
        return HeaderBlock(octets, 0, len(octets))
    return None


def _disposition(blocks: list[HeaderBlock], values: Values) -> None:
    read = True
    if blocks:
        disposition = (blocks[0].get(b"disposition") or b"").lower()
        read = b"displayed" in disposition or b"dispatched" in disposition or not disposition
        identifier = blocks[0].get(b"original-message-id")
        if identifier is not None:
            values[PR_ORIGINAL_MESSAGE_ID] = decode_words(identifier).strip()
    values[PR_MESSAGE_CLASS] = CLASS_READ if read else CLASS_NOT_READ


def _delivery(blocks: list[HeaderBlock], values: Values) -> None:
    message = blocks[0] if blocks else None
    actions = {_action(block) for block in blocks[1:]} | ({_action(message)} if message is not None else set())
    values[PR_MESSAGE_CLASS] = next((name for action, name in CLASSES.items() if action in actions), CLASSES["failed"])
    if message is None:
        return
    arrival = message.get(b"arrival-date")
    moment = None if arrival is None else parse_date(arrival)
    if moment is not None:
        values[PR_ORIGINAL_DELIVERY_TIME] = filetime(moment)
    row = next((found for block in blocks if (found := _row(block, 0)) is not None), None)
    if row is not None:
        for key in (PR_NDR_REASON_CODE, PR_NDR_DIAG_CODE, PR_NDR_STATUS_CODE, PR_SUPPLEMENTARY_INFO, PR_REMOTE_MTA):
            if key in row:
                values[key] = row[key]
        if PR_REPORT_TIME in row:
            values[PR_REPORT_TIME] = row[PR_REPORT_TIME]


def _action(block: HeaderBlock) -> str:
    return (block.get(b"action") or b"").decode("ascii", "replace").partition(" ")[0].strip().lower()


def _row(block: HeaderBlock, number: int) -> Recipient | None:
    """What one group of per-recipient fields says."""
    address = _typed(block.get(b"original-recipient")) or _typed(block.get(b"final-recipient"))
    if not address:
        return None
    action = _action(block)
    values: Values = {
        PR_ROWID: number,
        PR_RECIPIENT_TYPE: MAPI_ORIG,
        PR_DISPLAY_NAME: address,
        PR_ADDRTYPE: "SMTP",
        PR_EMAIL_ADDRESS: address,
        PR_SMTP_ADDRESS: address,
    }
    if action in _ACTIONS:
        values[PR_DSN_ACTION] = _ACTIONS[action]
    match = _STATUS.search(block.get(b"status") or b"")
    if match is not None:
        kind, subject, detail = int(match[1]), int(match[2]), int(match[3])
        values[PR_NDR_STATUS_CODE] = kind * 100 + (subject % 10) * 10 + detail % 10
        if kind != 2:
            values[PR_NDR_REASON_CODE] = _TRANSFER_FAILED
            values[PR_NDR_DIAG_CODE] = _DIAGNOSTICS.get((subject, detail), _NO_DIAGNOSTIC)
    diagnostic = block.get(b"diagnostic-code")
    if diagnostic:
        values[PR_SUPPLEMENTARY_INFO] = values[PR_REPORT_TEXT] = decode_text(diagnostic)
    remote = _typed(block.get(b"remote-mta"))
    if remote:
        values[PR_REMOTE_MTA] = remote
    for name in (b"last-attempt-date", b"arrival-date"):
        text = block.get(name)
        moment = None if text is None else parse_date(text)
        if moment is not None:
            values[PR_REPORT_TIME] = filetime(moment)
            break
    return Recipient(values)


def report_rows(part: Part, first_row: int) -> list[Recipient]:
    """One row for each recipient that a delivery report speaks of."""
    if part.subtype.endswith("disposition-notification"):
        return []
    rows: list[Recipient] = []
    for block in status_blocks(part):
        row = _row(block, first_row + len(rows))
        if row is not None:
            rows.append(row)
    for row in rows:
        row.settle()
    return rows
