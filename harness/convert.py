"""`mailjam convert FILE --to props|eml|msg|json|tnef|mbox`: what IMAIL makes of a message.

FILE is a message (.eml), an mbox file, a Maildir folder, an Outlook .msg file, a TNEF stream (winmail.dat), or `-`: one
of these on standard input. Exit code 0: converted; 2: FILE cannot be read, or is none of these.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from emulator.config import SettingsError
from emulator.imail import inbound, outbound
from emulator.imail.containers import is_maildir, is_mbox, join_mbox, maildir_files, split_mbox
from emulator.imail.msg import is_msg, message_from_msg, message_to_msg
from emulator.imail.tnef import message_from_tnef, message_to_tnef
from emulator.properties import PropertyBag, PropertyMessage, from_filetime
from emulator.property_tags import MV_FLAG, PT_SYSTIME, Key, key_name, property_type, type_name

FORMS = ("props", "eml", "msg", "json", "tnef", "mbox")
VALUE_CHARACTERS_MAX = 100
"""Of a value in the table; `json` shows all of it."""
FILE_OCTETS_MAX = 1 << 30
_TNEF = b"\x78\x9f\x3e\x22"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "convert", help="show what IMAIL makes of a message", description=__doc__
    )
    parser.add_argument("file", metavar="FILE", type=Path, help=".eml, mbox, Maildir, .msg, winmail.dat, or -")
    parser.add_argument("--to", choices=FORMS, default="props", help="props: a table of the property bag")
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, help="write there instead of to standard output")
    parser.add_argument(
        "--regenerate", action="store_true", help="forget the original octets: MIME is generated from the properties"
    )
    parser.add_argument(
        "--no-tnef", action="store_true", help="leave behind what MIME cannot carry, instead of adding a winmail.dat"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Convert. Raises SettingsError with the fix."""
    messages = list(read_messages(args.file))
    if args.regenerate:
        for message in messages:
            message.forget_original()
    octets = render(messages, args.to, tnef=not args.no_tnef)
    if args.output is None:
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()
        return 0
    try:
        args.output.write_bytes(octets)
    except OSError as error:
        raise SettingsError(f"convert: {args.output}: {error.strerror}; name a file that can be written") from None
    return 0


def read_messages(path: Path) -> Iterator[PropertyMessage]:
    """The messages in a file or Maildir. Raises SettingsError with the fix."""
    try:
        if path.is_dir():
            if not is_maildir(path):
                raise SettingsError(f"convert: {path} is no Maildir; name a file, or a folder with cur and new")
            for entry in maildir_files(path):
                yield inbound(entry.read_bytes())
            return
        if str(path) == "-":
            octets = sys.stdin.buffer.read(FILE_OCTETS_MAX + 1)
        else:
            with path.open("rb") as file:  # a device or a pipe has no size beforehand
                octets = file.read(FILE_OCTETS_MAX + 1)
        if len(octets) > FILE_OCTETS_MAX:
            raise SettingsError(f"convert: {path} is larger than {FILE_OCTETS_MAX} octets; split it")
    except OSError as error:
        raise SettingsError(f"convert: {path}: {error.strerror}; name a message file that can be read") from None
    if octets.startswith(_TNEF):
        message = message_from_tnef(octets)
        if message is None:
            raise SettingsError(f"convert: {path} ends inside the first octets of a TNEF stream; name a whole one")
        yield message
    elif is_msg(octets):
        message = message_from_msg(octets)
        if message is None:
            raise SettingsError(f"convert: {path} is a compound file, but holds no message; name a .msg file")
        yield message
    elif is_mbox(octets):
        yield from (inbound(message) for message in split_mbox(octets))
    else:
        yield inbound(octets)


def render(messages: list[PropertyMessage], form: str, *, tnef: bool = True) -> bytes:
    """The messages in one of FORMS. Raises SettingsError where a form holds one message and there are more."""
    if form == "props":
        return "\n".join([table(message) for message in messages]).encode("utf-8", "replace")
    if form == "json":
        found = [as_json(message) for message in messages]
        text = json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False, indent=2)
        return text.encode("utf-8", "replace") + b"\n"
    if form == "mbox":
        return join_mbox([outbound(message, tnef=tnef) for message in messages])
    if len(messages) != 1:
        raise SettingsError(f"convert: --to {form} writes one message, here are {len(messages)}; use --to mbox or json")
    if form == "tnef":
        return message_to_tnef(messages[0])
    return message_to_msg(messages[0]) if form == "msg" else outbound(messages[0], tnef=tnef)


def table(message: PropertyMessage, indent: str = "") -> str:
    """The property bag, recipients and attachments as lines: name, type, value."""
    lines = [f"{indent}message"]
    lines += _rows(message.properties, indent + "  ")
    for number, recipient in enumerate(message.recipients):
        lines.append(f"{indent}recipient {number}")
        lines += _rows(recipient, indent + "  ")
    for number, attachment in enumerate(message.attachments):
        lines.append(f"{indent}attachment {number}")
        lines += _rows(attachment, indent + "  ")
        embedded = attachment.embedded
        if embedded is not None:
            lines.append(table(embedded, indent + "    ").rstrip("\n"))
    return "\n".join(lines) + "\n"


def _rows(bag: PropertyBag, indent: str) -> list[str]:
    rows = [(key_name(key), type_name(property_type(key)), shown(key, value)) for key, value in bag.items()]
    width = min(max([len(name) for name, _, _ in rows], default=0), 44)
    return [f"{indent}{name:<{width}}  {kind:<13}  {value}" for name, kind, value in rows]


def shown(key: Key, value: Any) -> str:
    """A value on one line of at most VALUE_CHARACTERS_MAX."""
    if property_type(key) == PT_SYSTIME:
        moment = from_filetime(value)
        return str(value) if moment is None else moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        head = value[:24].hex(" ")
        return f"{len(value)} octets: {head}{' …' if len(value) > 24 else ''}"
    text = "; ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    cut = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:VALUE_CHARACTERS_MAX])
    return cut + (f" … ({len(text)} characters)" if len(text) > VALUE_CHARACTERS_MAX else "")


def as_json(message: PropertyMessage) -> dict[str, Any]:
    """The whole message for programs: octets are base64, times ISO 8601."""
    attachments: list[dict[str, Any]] = []
    for attachment in message.attachments:
        row = _bag_json(attachment)
        if attachment.embedded is not None:
            row["embedded"] = as_json(attachment.embedded)
        attachments.append(row)
    return {
        "properties": _bag_json(message.properties),
        "recipients": [_bag_json(recipient) for recipient in message.recipients],
        "attachments": attachments,
    }


def _bag_json(bag: PropertyBag) -> dict[str, Any]:
    return {key_name(key): _value_json(key, value) for key, value in bag.items()}


def _value_json(key: Key, value: Any) -> Any:
    kind = property_type(key)
    if kind & MV_FLAG:
        return [base64.b64encode(v).decode("ascii") if isinstance(v, bytes) else str(v) for v in value]
    if kind == PT_SYSTIME:
        return shown(key, value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, UUID):
        return str(value)
    return value
