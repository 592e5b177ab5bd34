"""Inbound conversion: MIME → property message (MS-OXCMAIL section 2.1.3 and 2.2.3)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from emulator.properties import MAPI_BCC, MAPI_CC, MAPI_TO, Attachment, Lazy, PropertyMessage, Recipient, Value
from emulator.property_tags import (
    PR_BODY,
    PR_DISPLAY_BCC,
    PR_DISPLAY_CC,
    PR_DISPLAY_TO,
    PR_HASATTACH,
    PR_MESSAGE_CLASS,
    PR_MESSAGE_SIZE,
    Key,
)
from protocols.mime import MimeLimits, Part, parse

from . import encoded_files, envelope, opaque, reports, tnef_mail
from .attachments import make_attachment
from .body import PlainBody, body_properties
from .layout import Layout, find_layout

Values = dict[Key, Value]


@dataclass(frozen=True, slots=True)
class ConversionLimits:
    """What conversion looks into. What lies beyond stays in the octets, and in the attachment around it."""

    mime: MimeLimits = field(default_factory=MimeLimits)
    recipients_max: int = envelope.RECIPIENTS_MAX
    """Rows of the recipients table."""
    embedded_depth_max: int = 50
    """Messages inside messages that become property messages of their own."""
    embedded_messages_max: int = 1000
    """Messages beside one another that do; those behind them are attachments whose data is the message. There are fewer
    where they are smaller than OCTETS_PER_EMBEDDED_MIN on average, behind the first EMBEDDED_FREE."""


EMBEDDED_FREE: Final = 200
OCTETS_PER_EMBEDDED_MIN: Final = 4096
DEFAULT_LIMITS: Final = ConversionLimits()


class _Source:
    """Where the properties of one message are found: its octets and their structure."""

    __slots__ = (
        *("_display", "_files", "_layout", "_plain", "_tnef"),
        *("depth", "limits", "message", "octets", "received_at", "structure"),
    )

    def __init__(
        self, octets: bytes, structure: Part, received_at: float | None, limits: ConversionLimits, depth: int
    ) -> None:
        self.octets = octets
        self.structure = structure
        self.received_at = received_at
        self.limits = limits
        self.depth = depth
        self._layout: Layout | None = None
        self._tnef: PropertyMessage | None = None
        self._files: encoded_files.TextWithFiles | None = None
        self._plain: PlainBody | None = None
        self._display: dict[int, str] | None = None
        self.message = PropertyMessage(
            octets,
            structure,
            fill=self.properties,
            find_recipients=self.recipients,
            find_attachments=self.attachments,
        )

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            layout = find_layout(self.structure)
            leaf = tnef_mail.find_tnef(layout)
            if leaf is not None:
                self._tnef = tnef_mail.read_tnef(leaf.part, self.structure.headers.get(b"x-ms-tnef-correlator"))
                if self._tnef is not None:
                    layout.attachments.remove(leaf)
            self._layout = layout
            if layout.body("plain"):
                self._plain = PlainBody(layout.body("plain"))
                self._files = encoded_files.find_files(self.structure, layout, self._plain)
        return self._layout

    def properties(self) -> Values:
        values: Values = {PR_MESSAGE_CLASS: "IPM.Note"}
        values |= envelope.header_properties(self.structure.headers, self.received_at, self.limits.recipients_max)
        body_properties(self.layout, self._plain, values)
        if self._files is not None:
            values[PR_BODY] = self._files.text
        if self.layout.opaque is not None:
            opaque.opaque_properties(self.layout.opaque, values)
        report = reports.find_report(self.structure)
        if report is not None:
            reports.report_properties(self.structure, report, values)
        if self._tnef is not None:
            tnef_mail.overlay(values, self._tnef)
        elif self.layout.body("rtf"):
            tnef_mail.rtf_bodies(values)
        for key, kind in ((PR_DISPLAY_TO, MAPI_TO), (PR_DISPLAY_CC, MAPI_CC), (PR_DISPLAY_BCC, MAPI_BCC)):
            values[key] = Lazy(partial(self._names, kind))
        values[PR_HASATTACH] = bool(self.message.attachments)
        values[PR_MESSAGE_SIZE] = len(self.octets)
        return values

    def _names(self, kind: int) -> str:
        if self._display is None:
            found: dict[int, list[str]] = {}
            for row in self.message.recipients:
                found.setdefault(row.type, []).append(row.name)
            self._display = {row_type: "; ".join(names) for row_type, names in found.items()}
        return self._display.pop(kind, "")

    def recipients(self) -> list[Recipient]:
        rows = envelope.recipients(self.structure.headers, self.limits.recipients_max)
        report = reports.find_report(self.structure)
        return rows if report is None else rows + reports.report_rows(report, len(rows))

    def attachments(self) -> list[Attachment]:
        if self.layout.opaque is not None:
            return [opaque.opaque_attachment(self.layout.opaque)]
        if self._files is not None:
            return encoded_files.file_attachments(self._files)
        left = 0
        if self.depth + 1 < self.limits.embedded_depth_max:
            left = min(self.limits.embedded_messages_max, EMBEDDED_FREE + len(self.octets) // OCTETS_PER_EMBEDDED_MIN)
        rows: list[Attachment] = []
        for leaf in self.layout.attachments:
            row = make_attachment(leaf, len(rows), self.embed if left > 0 else None)
            left -= row.embeds
            rows.append(row)
        return rows if self._tnef is None else tnef_mail.renumber(rows + self._tnef.attachments)

    def embed(self, octets: bytes) -> PropertyMessage:
        """An embedded message."""
        return _convert(octets, None, self.limits, self.depth + 1)


def _convert(octets: bytes, received_at: float | None, limits: ConversionLimits, depth: int) -> PropertyMessage:
    return _Source(octets, parse(octets, limits.mime), received_at, limits, depth).message


def inbound(
    octets: bytes, *, received_at: float | None = None, limits: ConversionLimits = DEFAULT_LIMITS
) -> PropertyMessage:
    """The property message of a MIME message. Never raises; time and memory are linear in `octets`.

    `received_at`: seconds since 1970 at which it was received (PR_MESSAGE_DELIVERY_TIME); without it the topmost
    Received field says so. The structure is found now, properties and tables when they are asked for.
    """
    return _convert(octets, received_at, limits, 0)


def inbound_stages(
    octets: bytes, *, received_at: float | None = None, limits: ConversionLimits = DEFAULT_LIMITS
) -> Generator[str, None, PropertyMessage]:
    """As `inbound`, with a step after each stage, whose name it yields; everything is computed. Returns the message."""
    structure = parse(octets, limits.mime)
    yield "structure"
    message = _Source(octets, structure, received_at, limits, 0).message
    _ = message.recipients
    yield "header"
    message.properties.items()
    yield "body"
    for attachment in message.attachments:
        attachment.items()
        yield "attachment"
    return message
