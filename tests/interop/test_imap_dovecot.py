"""ENVELOPE, BODYSTRUCTURE and BODY of every corpus message against the real Dovecot (Debian: dovecot-imapd).

Where the RFCs decide, the two agree. Where they do not agree, `imap_dovecot_differences.json` says why, message by
message: a difference that is not listed fails, and so does a listed one that is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.corpus, pytest.mark.timeout(300)]

IMAP = Path("/usr/lib/dovecot/imap")
DIFFERENCES = Path(__file__).with_name("imap_dovecot_differences.json")
ITEMS = ("ENVELOPE", "BODYSTRUCTURE", "BODY")

_TOKEN = re.compile(rb'[ \r\n]+|([()])|"((?:[^"\\]|\\.)*)"|~?\{(\d+)\}\r\n|([^ ()"{\r\n]+(?:\[[^\]]*\])?)', re.DOTALL)


def parse_response(octets: bytes) -> list[Any]:
    """A response as nested lists: strings as bytes, NIL as None, atoms as str."""
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(octets):
        match = _TOKEN.match(octets, position)
        assert match is not None, octets[position : position + 40]
        position = match.end()
        bracket, quoted, literal, atom = match.groups()
        if bracket == b"(":
            stack.append([])
        elif bracket == b")":
            inner = stack.pop()
            stack[-1].append(inner)
        elif quoted is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted))
        elif literal is not None:
            end = position + int(literal)
            stack[-1].append(octets[position:end])
            position = end
        elif atom is not None:
            stack[-1].append(None if atom == b"NIL" else atom.decode("latin-1"))
    return stack[0]


def split_fetches(octets: bytes) -> list[bytes]:
    """Each untagged FETCH response."""
    found = []
    position = 0
    while position < len(octets):
        start = position
        while True:
            end = octets.index(b"\r\n", position) + 2
            literal = re.search(rb"\{(\d+)\}\r\n\Z", octets[position:end])
            position = end
            if literal is None:
                break
            position += int(literal[1])
        line = octets[start:position]
        if re.match(rb"\* \d+ FETCH ", line):
            found.append(line)
    return found


def items_of(response: bytes) -> dict[str, Any]:
    data = parse_response(response)[3]
    return dict(zip(data[::2], data[1::2], strict=True))


async def dovecot(folder: Path, commands: bytes) -> bytes:
    """What Dovecot's imap process says to these commands, logged in without a password.

    Its input stays open until it has said all: at the end of its input it gives up, with the answers half written.
    """
    config = folder / "dovecot.conf"
    lines = [
        f"base_dir = {folder}/run",
        f"state_dir = {folder}/state",
        f"log_path = {folder}/log",
        "ssl = no",
        f"mail_location = maildir:{folder}/mail",
        "first_valid_uid = 0",
        "first_valid_gid = 0",
    ]
    if os.getuid() == 0:
        lines += ["mail_uid = nobody", "mail_gid = nogroup"]
    config.write_text("\n".join(lines) + "\n")
    (folder / "mail").mkdir(exist_ok=True)
    if os.getuid() == 0:
        for path in (folder, folder / "mail"):
            shutil.chown(path, "nobody", "nogroup")
    environment = {"USER": "nobody", "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(
        *map(str, (IMAP, "-c", config)), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, cwd=folder
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        said = asyncio.ensure_future(process.stdout.read())
        complaints = asyncio.ensure_future(process.stderr.read())
        process.stdin.write(commands)
        output = await asyncio.wait_for(said, 200)
        process.stdin.close()
        assert b"PREAUTH" in output, await complaints
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()
    return output


def script(messages: list[tuple[str, bytes]]) -> bytes:
    parts = [b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(octets), octets) for _, octets in messages]
    return b"".join(parts) + b"b SELECT INBOX\r\nc FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY)\r\nd LOGOUT\r\n"


async def mailjam(start_server: Any, messages: list[tuple[str, bytes]]) -> bytes:

    server = await start_server(users=["alice:secret"], smtp_port=None, pop3_port=None, nntp_port=None)
    reader, writer = await asyncio.open_connection(*server.addresses["imap"])
    answer = asyncio.ensure_future(reader.read())
    writer.write(b"l LOGIN alice secret\r\n")
    writer.write(script(messages))
    octets = await asyncio.wait_for(answer, 120)
    writer.close()
    await writer.wait_closed()
    return octets


def normal(value: Any) -> Any:
    """A body structure with its case-insensitive words (type, subtype, encoding, disposition) in lower case."""
    if not isinstance(value, list):
        return value
    if value and isinstance(value[0], list):
        parts = [item for item in value if isinstance(item, list) and item and not _is_parameters(item)]
        rest = value[len(parts) :] if all(isinstance(item, list) for item in value[: len(parts)]) else value
        return (
            [normal(part) for part in parts] + [_lower(item) for item in rest[:1]] + [_words(item) for item in rest[1:]]
        )
    return [
        _lower(item) if index in (0, 1, 5) else normal(item) if index == 8 and isinstance(item, list) else _words(item)
        for index, item in enumerate(value)
    ]


def _is_parameters(item: list[Any]) -> bool:
    return (all(not isinstance(inner, list) for inner in item) and len(item) < 7) or (
        len(item) == 2 and isinstance(item[0], bytes) and (item[1] is None or isinstance(item[1], list))
    )


def _lower(item: Any) -> Any:
    return item.lower() if isinstance(item, bytes) else item


def _words(item: Any) -> Any:
    """A disposition's word and the names of parameters are case-insensitive; all else stays."""
    if not isinstance(item, list) or not item or not isinstance(item[0], bytes):
        return item
    if len(item) == 2 and isinstance(item[1], list | None):
        return [item[0].lower(), _words(item[1])]
    return [_lower(inner) if index % 2 == 0 else inner for index, inner in enumerate(item)]


async def compare(start_server: Any, folder: Path, messages: list[tuple[str, bytes]]) -> dict[str, dict[str, Any]]:
    said = {"dovecot": await dovecot(folder, script(messages)), "mailjam": await mailjam(start_server, messages)}
    for who, octets in said.items():
        assert b"\r\nc OK" in octets, f"{who} did not end the FETCH: {octets[-300:]!r}"
    theirs, ours = split_fetches(said["dovecot"]), split_fetches(said["mailjam"])
    assert (len(ours), len(theirs)) == (len(messages), len(messages))
    found: dict[str, dict[str, Any]] = {}
    for (name, _), mine, other in zip(messages, ours, theirs, strict=True):
        left, right = items_of(mine), items_of(other)
        for item in ITEMS:
            same = left[item] == right[item] if item == "ENVELOPE" else normal(left[item]) == normal(right[item])
            if not same:
                found.setdefault(name, {})[item] = (left[item], right[item])
    return found


@pytest.mark.skipif(not IMAP.exists(), reason="apt-get install dovecot-imapd")
async def test_structures_agree_with_dovecot(start_server: Any, corpus: list[tuple[str, bytes]]) -> None:
    messages = [(name, octets) for name, octets in corpus if octets and b"\0" not in octets]
    # not below pytest's own folder, which nobody else may enter: Dovecot gives up the rights of root
    with tempfile.TemporaryDirectory(prefix="mailjam-") as folder:
        found = await compare(start_server, Path(folder), messages)
    listed = json.loads(DIFFERENCES.read_text("utf-8"))["messages"]
    assert {name: sorted(items) for name, items in found.items()} == {
        name: sorted(entry["items"]) for name, entry in listed.items()
    }
