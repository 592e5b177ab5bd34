"""Messages that the conversion of some builds cannot stomach, and what that conversion does with them.

Which build reacts to what is data (emulator.defects). The tests look at octets and MIME structure alone; the reactions
do what the real code did: go round without moving on, go deeper without end, end the process. A build without such
defects never comes here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from protocols.mime import parse, transfer
from protocols.ports import Unavailable

from .defects import Poison
from .imail.rtf_compression import crc
from .imail.tnef import message_from_tnef
from .property_tags import PR_RTF_COMPRESSED
from .scheduling import Point, Scheduler

if TYPE_CHECKING:
    from protocols.mime import Part

SUBJECT_BUFFER_OCTETS = 20 * 1024
"""The buffer of KB Q197491."""
REWIND = Point("conversion.rewind")
"""IMAIL_E_REWIND_STREAM_822 (0x80040C11): the stream is rewound and converted again (KB Q186205)."""
ENCAPSULATED = re.compile(r"(?i)^IMCEA([A-Z0-9]+)-(.*)$")
_ENCODED = re.compile(r"^(?:[A-Za-z0-9._=/-]|\+[0-9A-Fa-f]{2})*$")

Test = Callable[[bytes, "Part"], bool]


class StoreFault(Unavailable):
    """An access violation in the information store: the process ends."""


def _unterminated(octets: bytes, part: Part) -> bool:
    for each in part.walk():
        if each.content_type.startswith("multipart/"):
            boundary = each.params.get("boundary", "")
            if not boundary or b"--" + boundary.encode("utf-8", "surrogateescape") + b"--" not in octets:
                return True
    return False


def _uuencode_without_end(octets: bytes, part: Part) -> bool:
    begin = re.search(rb"(?m)^begin [0-7]{3,4} \S", octets)
    return begin is not None and re.search(rb"(?m)^end\r?$", octets[begin.end() :]) is None


def _same_double_byte_name(octets: bytes, part: Part) -> bool:
    names = [
        name for each in part.walk() if (name := each.params.get("name") or each.disposition_params.get("filename"))
    ]
    doubled = {name for name in names if names.count(name) > 1}
    return any(ord(name.rpartition(".")[0][-1:] or name[-1:]) > 0x7F for name in doubled)


def _long_subject(octets: bytes, part: Part) -> bool:
    return len(part.headers.get(b"Subject") or b"") > SUBJECT_BUFFER_OCTETS


def _of_type(*names: str) -> Test:
    return lambda octets, part: any(each.content_type in names for each in part.walk())


def _blank_charset(octets: bytes, part: Part) -> bool:
    return any("charset" in each.params and not each.params["charset"].strip() for each in part.walk())


def _comma_in_comment(octets: bytes, part: Part) -> bool:
    return any(
        re.search(rb"\([^()]*,[^()]*\)\s*;", value) is not None
        for name in (b"To", b"Cc")
        for value in part.headers.get_all(name)
    )


def _checksum(octets: bytes) -> bytes:
    return crc(octets).to_bytes(4, "little")


def _corrupt_rtf(octets: bytes, part: Part) -> bool:
    """A TNEF stream with a compressed RTF body that is not what its checksum says (MS-OXRTFCP section 2.1.3.1.4)."""
    for each in part.walk():
        if each.content_type in ("application/ms-tnef", "application/vnd.ms-tnef"):
            message = message_from_tnef(transfer.decode(each.body, each.encoding))
            packed = message.get(PR_RTF_COMPRESSED) if message is not None else None
            if isinstance(packed, bytes) and packed[8:12] == b"LZFu" and packed[12:16] != _checksum(packed[16:]):
                return True
    return False


TRIGGERS: dict[str, Test] = {
    "unterminated multipart": _unterminated,
    "uuencode without end": _uuencode_without_end,
    "same double-byte name": _same_double_byte_name,
    "subject beyond 20 KB": _long_subject,
    "binhex": _of_type("application/mac-binhex40"),
    "postscript": _of_type("application/postscript"),
    "blank charset": _blank_charset,
    "comma in an address comment": _comma_in_comment,
    "corrupt compressed RTF": _corrupt_rtf,
}


async def _rewind(octets: bytes, part: Part, test: Test, scheduler: Scheduler) -> None:
    """The converter asks for a rewind as long as it meets what it asked for it before: the stream is the same."""
    while test(octets, part):
        await scheduler.reach(REWIND)
        await scheduler.pause()
        part = parse(octets)


async def _recurse(octets: bytes, part: Part, test: Test, scheduler: Scheduler) -> None:
    """The decoder takes the incomplete last line, wants more, and gets the same line: raises RecursionError."""
    _decode(octets.splitlines()[-1], b"")


def _decode(line: bytes, carried: bytes) -> bytes:
    if len(line) - 1 >= (len(line[:1] or b"M") + 2) // 3 * 4 and line.endswith(b"`"):
        return carried
    return _decode(line, carried)


async def _crash(octets: bytes, part: Part, test: Test, scheduler: Scheduler) -> None:
    raise StoreFault("the information store has ended")


REACTIONS: dict[str, Callable[[bytes, Part, Test, Scheduler], Awaitable[None]]] = {
    "rewind": _rewind,
    "recurse": _recurse,
    "crash": _crash,
}


async def stomach(poisons: Sequence[Poison], actor: str, octets: bytes, part: Part, scheduler: Scheduler) -> None:
    """Let each poison that the message is for this kind of actor take effect. Raises what the reaction raises."""
    for poison in poisons:
        test = TRIGGERS[poison.trigger]
        if (not poison.actor or poison.actor == actor) and test(octets, part):
            await REACTIONS[poison.reaction](octets, part, test, scheduler)


def corrupt_encapsulation(address: str) -> bool:
    """Is it an encapsulated address (`IMCEAEX-_O=ORG_OU=SITE@host`, `+XX` for other octets) that cannot be decoded?"""
    encapsulated = ENCAPSULATED.match(address.rpartition("@")[0] or address)
    return encapsulated is not None and _ENCODED.match(encapsulated[2]) is None


def signed(value: int, bits: int) -> int:
    """What a signed counter of so many bits makes of a number."""
    half = 1 << bits - 1
    return (value + half) % (1 << bits) - half
