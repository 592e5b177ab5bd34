"""Files in the text of a message: uuencode and yEnc (looked for only where the whole message is one plain text)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from emulator.properties import ATTACH_BY_VALUE, Attachment, Lazy, Value
from emulator.property_tags import (
    PR_ATTACH_DATA_BIN,
    PR_ATTACH_FLAGS,
    PR_ATTACH_METHOD,
    PR_ATTACH_MIME_TAG,
    PR_ATTACH_NUM,
    PR_ATTACH_SIZE,
    PR_ATTACHMENT_HIDDEN,
    PR_RENDERING_POSITION,
    Key,
)
from protocols.mime import Part, transfer
from protocols.mime.charsets import decode_text

from .attachments import name_properties
from .body import PlainBody, crlf
from .layout import Layout

FILES_MAX = 1000


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file with what decodes it."""

    octets: bytes
    file: transfer.EncodedFile
    yenc: bool

    def data(self) -> bytes:
        """The decoded file."""
        if self.yenc:
            return transfer.decode_yenc(self.octets, self.file)
        return transfer.decode_uuencoded(self.octets, self.file)


@dataclass(frozen=True, slots=True)
class TextWithFiles:
    """What is left of a text, and the files that stood in it."""

    text: str
    files: list[TextFile]


def find_files(root: Part, layout: Layout, plain: PlainBody) -> TextWithFiles | None:
    """The files in a message that is a single text/plain, or None where there are none. Linear."""
    if layout.body("plain") != [root] or layout.attachments:
        return None
    octets = plain.octets()
    candidates: list[TextFile] = []
    if b"begin" in octets:
        files = transfer.find_uuencoded(octets, files_max=FILES_MAX)
        candidates += [TextFile(octets, file, yenc=False) for file in files]
    if b"=ybegin " in octets:
        candidates += [TextFile(octets, file, yenc=True) for file in transfer.find_yenc(octets, files_max=FILES_MAX)]
    candidates.sort(key=lambda item: item.file.start)
    found: list[TextFile] = []
    kept: list[bytes] = []
    position = 0
    for item in candidates[:FILES_MAX]:
        if item.file.start < position:
            continue  # inside another: what looks like one kind may stand in the data of the other
        found.append(item)
        kept.append(octets[position : item.file.start])
        position = item.file.end
    if not found:
        return None
    kept.append(octets[position:])
    return TextWithFiles(crlf(decode_text(b"".join(kept), root.params.get("charset", ""))), found)


def _size(attachment: Attachment) -> int:
    return len(attachment.data)


def file_attachments(found: TextWithFiles) -> list[Attachment]:
    """Rows for the files."""
    rows: list[Attachment] = []
    for number, item in enumerate(found.files):
        values: dict[Key, Value] = {PR_ATTACH_NUM: number, PR_ATTACH_METHOD: ATTACH_BY_VALUE}
        name_properties(values, decode_text(item.file.name))
        values[PR_ATTACH_MIME_TAG] = "application/octet-stream"
        values[PR_ATTACH_DATA_BIN] = Lazy(item.data)
        attachment = Attachment(values)
        values[PR_ATTACH_SIZE] = Lazy(partial(_size, attachment))
        values[PR_RENDERING_POSITION] = -1
        values[PR_ATTACH_FLAGS] = 0
        values[PR_ATTACHMENT_HIDDEN] = False
        rows.append(attachment)
    return rows
