"""Property messages: what the information store of Exchange kept instead of MIME (MS-OXCMSG).

A message is a property bag with a table of recipients and a table of attachments. Where it was made from MIME, its
original octets stay beside it (the idea of PidTagMimeSkeleton) and its properties are found when somebody asks for
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .property_tags import (
    PR_ATTACH_CONTENT_ID,
    PR_ATTACH_DATA_BIN,
    PR_ATTACH_DATA_OBJ,
    PR_ATTACH_FILENAME,
    PR_ATTACH_LONG_FILENAME,
    PR_ATTACH_METHOD,
    PR_ATTACH_MIME_TAG,
    PR_DISPLAY_NAME,
    PR_EMAIL_ADDRESS,
    PR_MESSAGE_CLASS,
    PR_RECIPIENT_TYPE,
    Key,
)

if TYPE_CHECKING:
    from protocols.mime import Part

Value = Any
"""bool, int, float, str, bytes, UUID, or a tuple of one of these (multi-valued). PT_SYSTIME is an int: FILETIME."""

MAPI_TO: Final = 1
MAPI_CC: Final = 2
MAPI_BCC: Final = 3

ATTACH_BY_VALUE: Final = 1
ATTACH_EMBEDDED_MSG: Final = 5
ATTACH_OLE: Final = 6

_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)


def filetime(moment: datetime) -> int:
    """A moment as FILETIME: units of 100 ns since 1 January 1601 UTC (MS-DTYP section 2.3.3); 0 for what is earlier."""
    delta = moment - _EPOCH
    return max((delta.days * 86_400 + delta.seconds) * 10_000_000 + delta.microseconds * 10, 0)


def from_filetime(value: int) -> datetime | None:
    """The moment, or None where the FILETIME is outside of what a datetime can hold."""
    try:
        return _EPOCH + timedelta(microseconds=value // 10)
    except OverflowError:
        return None


class Lazy:
    """A value that is computed when somebody asks for it, and kept."""

    __slots__ = ("compute",)

    def __init__(self, compute: Callable[[], Value]) -> None:
        self.compute = compute
        """Called at most once by a bag; None means that the property is absent after all."""


_NOTHING: Final[frozenset[Key]] = frozenset()
"""What has been changed in a bag in which nothing was set: most bags are read only, and need no set of their own."""


class PropertyBag:
    """Properties by key, in order. `changed` holds the keys set or deleted since the bag was filled."""

    __slots__ = ("_fill", "_values", "changed")

    def __init__(self, values: dict[Key, Value] | None = None, fill: Callable[[], dict[Key, Value]] | None = None):
        """`fill` supplies the values at first use."""
        self._values: dict[Key, Value] = {} if values is None else values
        self._fill = fill
        self.changed: AbstractSet[Key] = _NOTHING

    def _all(self) -> dict[Key, Value]:
        if self._fill is not None:
            fill, self._fill = self._fill, None
            self._values = fill()
        return self._values

    def get(self, key: Key, default: Value = None) -> Value:
        """The value, computed now if it is lazy."""
        values = self._values if self._fill is None else self._all()
        value = values.get(key)
        if value.__class__ is Lazy:
            value = value.compute()
            if value is None:
                del values[key]
            else:
                values[key] = value
        return default if value is None else value

    def __getitem__(self, key: Key) -> Value:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __setitem__(self, key: Key, value: Value) -> None:
        """Set a value; None deletes it."""
        values = self._all()
        self._note_change(key)
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value

    def __delitem__(self, key: Key) -> None:
        self[key] = None

    def __iter__(self) -> Iterator[Key]:
        return iter([key for key, _ in self.items()])

    def __len__(self) -> int:
        return len(self.items())

    def items(self) -> list[tuple[Key, Value]]:
        """All properties with their values, in order; lazy ones are computed."""
        values = self._values if self._fill is None else self._all()
        if Lazy in map(type, values.values()):
            for key in [key for key, value in values.items() if value.__class__ is Lazy]:
                self.get(key)
        return [item for item in values.items() if item[1] is not None]

    def _note_change(self, key: Key) -> None:
        changed = self.changed
        if isinstance(changed, set):
            changed.add(key)
        else:
            self.changed = {key}

    def settle(self) -> None:
        """From now on count the values as they are as unchanged."""
        self.changed = _NOTHING

    def as_dict(self) -> dict[Key, Value]:
        """A copy with all values computed."""
        return dict(self.items())

    def __eq__(self, other: object) -> bool:
        return self.as_dict() == other.as_dict() if isinstance(other, PropertyBag) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._values)} properties>"


class Recipient(PropertyBag):
    """A row of the recipients table."""

    __slots__ = ()

    @property
    def type(self) -> int:
        """MAPI_TO, MAPI_CC or MAPI_BCC."""
        return int(self.get(PR_RECIPIENT_TYPE, MAPI_TO)) & 0x0F

    @property
    def name(self) -> str:
        """Display name, else the address."""
        return str(self.get(PR_DISPLAY_NAME, "") or self.email)

    @property
    def email(self) -> str:
        """The address in its own type's form; `local@domain` for SMTP."""
        return str(self.get(PR_EMAIL_ADDRESS, ""))


class Attachment(PropertyBag):
    """A row of the attachments table with its data."""

    __slots__ = ("_embed", "_embedded", "source")

    def __init__(
        self,
        values: dict[Key, Value] | None = None,
        fill: Callable[[], dict[Key, Value]] | None = None,
        embed: Callable[[], PropertyMessage] | None = None,
    ) -> None:
        """`embed` supplies the embedded message at first use."""
        super().__init__(values, fill)
        self._embed = embed
        self._embedded: PropertyMessage | None = None
        self.source: Part | None = None
        """The part of the original octets it was made from."""

    @property
    def embeds(self) -> bool:
        """Whether it holds an embedded message, without looking into it."""
        return self._embed is not None or self._embedded is not None

    @property
    def embedded(self) -> PropertyMessage | None:
        """The embedded message (PR_ATTACH_DATA_OBJ, method 5), or None."""
        if self._embed is not None:
            embed, self._embed = self._embed, None
            self._embedded = embed()
        return self._embedded

    @embedded.setter
    def embedded(self, message: PropertyMessage | None) -> None:
        self._embed = None
        self._embedded = message
        self[PR_ATTACH_METHOD] = ATTACH_EMBEDDED_MSG if message is not None else ATTACH_BY_VALUE
        self._note_change(PR_ATTACH_DATA_OBJ)

    def settle(self) -> None:
        """From now on count the values, and those of the embedded message, as unchanged."""
        super().settle()
        if self._embedded is not None:
            self._embedded.settle()

    @property
    def modified(self) -> bool:
        """Whether anything was set since it was made."""
        return bool(self.changed) or (self._embedded is not None and self._embedded.touched)

    @property
    def data(self) -> bytes:
        """Content of an attachment by value."""
        value = self.get(PR_ATTACH_DATA_BIN, b"")
        return value if isinstance(value, bytes) else b""

    @property
    def name(self) -> str:
        """File name, or "" where it has none."""
        return str(self.get(PR_ATTACH_LONG_FILENAME) or self.get(PR_ATTACH_FILENAME) or "")

    @property
    def content_type(self) -> str:
        """MIME type, lower case."""
        return str(self.get(PR_ATTACH_MIME_TAG, "")).lower()

    @property
    def content_id(self) -> str:
        """Content-ID without angle brackets."""
        return str(self.get(PR_ATTACH_CONTENT_ID, ""))

    @property
    def method(self) -> int:
        """ATTACH_BY_VALUE, ATTACH_EMBEDDED_MSG, ATTACH_OLE."""
        return int(self.get(PR_ATTACH_METHOD, ATTACH_BY_VALUE))


RowT = TypeVar("RowT", bound=PropertyBag)


class Table(list[RowT]):
    """A table of a message: a list that knows whether rows were added, taken away or moved."""

    __slots__ = ("_original",)

    def __init__(self, rows: Iterable[RowT] = ()) -> None:
        super().__init__(rows)
        self._original: tuple[int, ...] = tuple(map(id, self))

    @property
    def rearranged(self) -> bool:
        """Whether the rows are others than at first."""
        return len(self) != len(self._original) or tuple(map(id, self)) != self._original

    def settle(self) -> None:
        """From now on count the rows as they are as the first ones."""
        self._original = tuple(map(id, self))
        for row in self:
            row.settle()

    @property
    def modified(self) -> bool:
        """Whether rows are others, or a value in one was set."""
        return self.rearranged or any(
            row.modified if isinstance(row, Attachment) else bool(row.changed) for row in self
        )


class PropertyMessage:
    """A message as properties. Made by `imail.inbound` from MIME, or empty, to be filled."""

    __slots__ = (
        "_attachments",
        "_find_attachments",
        "_find_recipients",
        "_generated",
        "_recipients",
        "_structure",
        "original",
        "properties",
    )

    def __init__(
        self,
        original: bytes | None = None,
        structure: Part | None = None,
        *,
        fill: Callable[[], dict[Key, Value]] | None = None,
        find_recipients: Callable[[], list[Recipient]] | None = None,
        find_attachments: Callable[[], list[Attachment]] | None = None,
    ) -> None:
        """`original` and its `structure`, with the functions that find properties and tables in them at first use."""
        self.original = original
        """The octets it was made from, or None for a message made of properties."""
        self.properties = PropertyBag({} if original is not None else {PR_MESSAGE_CLASS: "IPM.Note"}, fill)
        self._structure = structure
        self._find_recipients = find_recipients
        self._find_attachments = find_attachments
        self._recipients: Table[Recipient] | None = None
        self._attachments: Table[Attachment] | None = None
        self._generated: tuple[bytes, Part] | None = None

    @property
    def recipients(self) -> Table[Recipient]:
        """The recipients table."""
        if self._recipients is None:
            find = self._find_recipients
            self._recipients = Table(find() if find is not None else ())
        return self._recipients

    @property
    def attachments(self) -> Table[Attachment]:
        """The attachments table."""
        if self._attachments is None:
            find = self._find_attachments
            self._attachments = Table(find() if find is not None else ())
        return self._attachments

    @property
    def modified(self) -> bool:
        """Whether MIME has to be generated: there are no original octets, or something was set or deleted since."""
        return self.original is None or self.touched

    @property
    def touched(self) -> bool:
        """Whether something was set or deleted since it was made (or since `settle`)."""
        if self.properties.changed:
            return True
        return (self._recipients is not None and self._recipients.modified) or (
            self._attachments is not None and self._attachments.modified
        )

    @property
    def octets(self) -> bytes:
        """The message as MIME: the original object where nothing was changed, generated otherwise."""
        return self.original if self.original is not None and not self.modified else self._generate()[0]

    @property
    def structure(self) -> Part:
        """MIME structure of `octets`."""
        return self._generate()[1] if self.modified else self.structure_of_original

    @property
    def structure_of_original(self) -> Part:
        """MIME structure of the original octets, whatever was changed since. There have to be original octets."""
        if self._structure is None:
            from protocols.mime import parse  # noqa: PLC0415  # only where a structure was not kept

            self._structure = parse(self.original or b"")
        return self._structure

    def _generate(self) -> tuple[bytes, Part]:
        # Here, because the converter is built on this module.
        from protocols.mime import parse  # noqa: PLC0415

        from .imail import outbound  # noqa: PLC0415

        octets = outbound(self)
        if self._generated is None or self._generated[0] != octets:
            self._generated = (octets, parse(octets))
        return self._generated

    def get(self, key: Key, default: Value = None) -> Value:
        """A property of the message."""
        return self.properties.get(key, default)

    def __getitem__(self, key: Key) -> Value:
        return self.properties[key]

    def __setitem__(self, key: Key, value: Value) -> None:
        self.properties[key] = value

    def __delitem__(self, key: Key) -> None:
        del self.properties[key]

    def __contains__(self, key: Key) -> bool:
        return key in self.properties

    def settle(self) -> None:
        """Count everything as it is now as unchanged: for those who fill a message from another form."""
        self.properties.settle()
        for table in (self._recipients, self._attachments):
            if table is not None:
                table.settle()

    def compute(self) -> None:
        """Find every property, recipient and attachment now, those of embedded messages too."""
        self.properties.items()
        for recipient in self.recipients:
            recipient.items()
        for attachment in self.attachments:
            attachment.items()
            if attachment.embedded is not None:
                attachment.embedded.compute()

    def forget_original(self) -> None:
        """Compute every property and let the original octets go: from now on MIME is generated."""
        self.compute()
        self._drop_original()

    def _drop_original(self) -> None:
        for attachment in self.attachments:
            if attachment.embedded is not None:
                attachment.embedded._drop_original()
        self.original = self._structure = self._generated = None

    def to_bytes(self) -> bytes:
        """Compact form for a durable store: the original octets with what was changed, else all properties."""
        from .property_stream import pack_message  # noqa: PLC0415  # it is built on this module

        return pack_message(self)

    @classmethod
    def from_bytes(cls, packed: bytes) -> PropertyMessage:
        """The inverse of `to_bytes`. Raises ValueError when the octets are damaged."""
        from .property_stream import unpack_message  # noqa: PLC0415

        return unpack_message(packed)
