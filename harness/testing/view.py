"""A message as tests, the HTTP API and the page want to see it: decoded, named, ready to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.property_tags import key_name
from protocols.mime import Part, parse
from protocols.mime.address import parse_addresses
from protocols.mime.charsets import decode_text
from protocols.mime.dates import parse_date
from protocols.mime.transfer import decode
from protocols.mime.words import decode_words

from .text import html_to_text, links_in, one_time_codes

if TYPE_CHECKING:
    from emulator.properties import PropertyMessage

SNIPPET_CHARACTERS_MAX = 250


class Contact(NamedTuple):
    """A display name and an address (`mailbox@host`)."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


@dataclass(frozen=True)
class Attachment:
    """A part that is a file. `part_id` counts as IMAP's section specifiers do (`2`, `1.3`)."""

    part_id: str
    filename: str
    content_type: str
    content_id: str
    """Without angle brackets; empty where there is none."""
    inline: bool
    """Whether it belongs to the HTML (an image that a `cid:` shows) and is no file of its own."""
    part: Part = field(repr=False, compare=False)

    @cached_property
    def content(self) -> bytes:
        """The decoded octets."""
        return decode(self.part.body, self.part.encoding)

    @property
    def size(self) -> int:
        """Decoded octets."""
        return len(self.content)

    @property
    def text(self) -> str:
        """The content as text, by its charset."""
        return decode_text(self.content, self.part.params.get("charset", ""))


class Headers(Mapping[str, str]):
    """Header fields by name in any case: decoded values. `get_all` gives each occurrence, in order."""

    def __init__(self, part: Part) -> None:
        self._block = part.headers

    def __getitem__(self, name: str) -> str:
        value = self._block.get(_octets(name))
        if value is None:
            raise KeyError(name)
        return decode_words(value)

    def get_all(self, name: str) -> list[str]:
        """Values of all fields of that name."""
        return [decode_words(value) for value in self._block.get_all(_octets(name))]

    def __iter__(self) -> Iterator[str]:
        return iter(list(dict.fromkeys(name.decode("latin-1") for name, _ in self._block)))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _octets(name) in self._block

    def items_all(self) -> list[tuple[str, str]]:
        """(name, decoded value) of every field in order."""
        return [(name.decode("latin-1"), decode_words(value)) for name, value in self._block]


def _octets(name: str) -> bytes:
    """A field name as `Headers` gives it: octets that are no ASCII stand as Latin-1."""
    return name.encode("latin-1", "replace")


def numbered_parts(root: Part) -> Iterator[tuple[str, Part]]:
    """Leaves (attached messages count as such) with their section numbers (RFC 9051 section 6.4.5)."""
    if not root.children:
        yield "1", root
        return
    stack = [(str(index), child) for index, child in reversed(list(enumerate(root.children, 1)))]
    while stack:
        number, part = stack.pop()
        if part.children:
            stack.extend((f"{number}.{index}", child) for index, child in reversed(list(enumerate(part.children, 1))))
        else:
            yield number, part


def filename_of(part: Part) -> str:
    """The name a part gives to its file, decoded; empty where it gives none."""
    name = part.disposition_params.get("filename") or part.params.get("name") or ""
    return decode_words(name) if "=?" in name else name


class MessageView:
    """One message. Octets stay as they are; everything else is computed when asked for, and kept."""

    def __init__(
        self,
        raw: bytes,
        part: Part | None = None,
        *,
        message_id: str = "",
        received: float = 0.0,
        recipients: tuple[str, ...] = (),
        property_message: PropertyMessage | None = None,
    ) -> None:
        self.raw = raw
        """The octets as a client reads them."""
        self.part = part if part is not None else parse(raw)
        self.id = message_id
        """The name under which the archive (and the HTTP API) knows it."""
        self.received = received
        """When it came in, seconds since the epoch."""
        self.recipients = recipients
        """Mailboxes and newsgroups that it was put into: the envelope's side of it, which Bcc does not hide."""
        self.property_message = property_message
        """The message as the information store keeps it; None for one that did not come from a store."""

    def __repr__(self) -> str:
        return f"<Message from {self.sender} to {', '.join(map(str, self.to)) or '-'}: {self.subject!r}>"

    @cached_property
    def properties(self) -> dict[str, Any]:
        """MAPI properties by name (`PR_SUBJECT`), in the order of the property message."""
        if self.property_message is None:
            return {}
        return {key_name(key): value for key, value in self.property_message.properties.items()}

    # --- header -------------------------------------------------------------------------------------------------------

    @cached_property
    def headers(self) -> Headers:
        """Header fields of the message itself."""
        return Headers(self.part)

    def contacts(self, name: str) -> list[Contact]:
        """The addresses of all fields of that name."""
        found = []
        for value in self.part.headers.get_all(name):
            for address in parse_addresses(value):
                if address.email:
                    words = decode_words(address.name) if address.name else ""
                    found.append(Contact(words, address.email.decode("utf-8", "replace")))
        return found

    @cached_property
    def sender(self) -> Contact:
        """The first address of From (empty where there is none)."""
        return next(iter(self.contacts("From")), Contact("", ""))

    @cached_property
    def to(self) -> list[Contact]:
        """Addresses of To."""
        return self.contacts("To")

    @cached_property
    def cc(self) -> list[Contact]:
        """Addresses of Cc."""
        return self.contacts("Cc")

    @cached_property
    def bcc(self) -> list[Contact]:
        """Addresses of Bcc, and recipients of the envelope that no header field names."""
        named = self.contacts("Bcc")
        known = {contact.address.lower() for contact in (*self.to, *self.cc, *named)}
        locals_known = {address.partition("@")[0] for address in known}
        extra = [
            Contact("", address)
            for address in self.recipients
            if "@" in address and address.lower() not in known and address.partition("@")[0] not in locals_known
        ]
        return [*named, *extra]

    @cached_property
    def reply_to(self) -> list[Contact]:
        """Addresses of Reply-To."""
        return self.contacts("Reply-To")

    @property
    def subject(self) -> str:
        """Decoded; empty where there is none."""
        return self.headers.get("Subject", "")

    @property
    def message_id(self) -> str:
        """Message-ID without its angle brackets."""
        return self.headers.get("Message-ID", "").strip().removeprefix("<").removesuffix(">")

    @property
    def return_path(self) -> str:
        """The envelope's sender, from the Return-Path field."""
        return self.headers.get("Return-Path", "").strip().removeprefix("<").removesuffix(">")

    @property
    def date(self) -> datetime:
        """The Date field; when it has none that can be read, the moment it came in."""
        value = self.part.headers.get("Date")
        moment = parse_date(value) if value is not None else None
        return moment if moment is not None else datetime.fromtimestamp(self.received, UTC)

    # --- body ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _sorted(self) -> tuple[list[str], list[str], list[Attachment]]:
        texts: list[str] = []
        htmls: list[str] = []
        files: list[Attachment] = []
        for number, part in numbered_parts(self.part):
            name = filename_of(part)
            if part.type == "text" and part.disposition != "attachment" and not name:
                text = decode_text(decode(part.body, part.encoding), part.params.get("charset", ""))
                if part.subtype == "html":
                    htmls.append(text)
                    continue
                if part.subtype in ("plain", "enriched", "richtext", "watch-html", "x-amp-html", "markdown"):
                    texts.append(text)
                    continue
            if part.type == "multipart" and part.size == 0:
                continue
            content_id = (part.content_id or b"").decode("utf-8", "replace").strip().strip("<>")
            inline = part.disposition == "inline" or (bool(content_id) and part.disposition != "attachment")
            files.append(
                Attachment(number, name or _default_name(number, part), part.content_type, content_id, inline, part)
            )
        return texts, htmls, files

    @cached_property
    def text(self) -> str:
        """All plain text, line ends as LF; made from the HTML where there is only that."""
        texts, htmls, _ = self._sorted
        if texts:
            return "\n".join(texts).replace("\r\n", "\n")
        return html_to_text("\n".join(htmls))

    @cached_property
    def html(self) -> str:
        """The HTML; empty where there is none."""
        return "\n".join(self._sorted[1]).replace("\r\n", "\n")

    @cached_property
    def attachments(self) -> list[Attachment]:
        """Files that came with the message."""
        return [attachment for attachment in self._sorted[2] if not attachment.inline]

    @cached_property
    def inlines(self) -> list[Attachment]:
        """Parts that the HTML shows."""
        return [attachment for attachment in self._sorted[2] if attachment.inline]

    def find_part(self, part_id: str) -> Part | None:
        """The leaf with that section number."""
        return next((part for number, part in numbered_parts(self.part) if number == part_id), None)

    def links(self, containing: str = "") -> list[str]:
        """Addresses that the message links to, each once, those of the HTML first."""
        return [link for link in links_in(self.html, self.text) if containing in link]

    def link(self, containing: str = "") -> str:
        """The first of `links`. Raises LookupError that shows those there are."""
        found = self.links(containing)
        if not found:
            raise LookupError(f"no link with {containing!r} in {self!r}; there are: {self.links() or 'none at all'}")
        return found[0]

    def otp(self) -> str:
        """The likeliest one-time code. Raises LookupError that shows the text."""
        codes = one_time_codes(self.text) or one_time_codes(self.subject)
        if not codes:
            raise LookupError(f"no one-time code in {self!r}; its text begins {self.text[:200]!r}")
        return codes[0]

    @cached_property
    def snippet(self) -> str:
        """The beginning of the text on one line."""
        return " ".join(self.text[: SNIPPET_CHARACTERS_MAX * 4].split())[:SNIPPET_CHARACTERS_MAX]


_EXTENSIONS = {
    "message/rfc822": ".eml",
    "text/plain": ".txt",
    "text/html": ".html",
    "text/calendar": ".ics",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "application/pdf": ".pdf",
}


def _default_name(number: str, part: Part) -> str:
    return f"part-{number}{_EXTENSIONS.get(part.content_type, '')}"
