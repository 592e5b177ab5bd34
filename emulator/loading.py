"""Messages that are there from the start: `--load DIR` of .eml files."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.mime.address import parse_addresses
from protocols.mime.headers import HeaderBlock
from protocols.mime.structure import parse
from protocols.ports import PortError, Target

from .config import SettingsError

if TYPE_CHECKING:
    from .server import Server

RECIPIENT_FIELDS = ("Delivered-To", "X-Original-To", "To", "Cc", "Bcc")
GROUPS_MAX = 50


def eml_files(directory: Path) -> list[Path]:
    """The .eml files below a folder, in order of their names. Raises SettingsError with the fix."""
    if not directory.is_dir():
        raise SettingsError(f"--load {directory}: there is no such folder; name one that holds .eml files")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise SettingsError(f"--load {directory}: the folder cannot be read; check its permissions")
    return sorted(path for path in directory.rglob("*.eml") if path.is_file())


def with_crlf(octets: bytes) -> bytes:
    """Line ends as they are on the wire: every LF that has no CR gets one."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


async def load(server: Server, directory: Path) -> int:
    """Put every .eml file where it belongs; how many.

    A file in a subfolder named like an account or newsgroup goes there; otherwise its Newsgroups field and its
    recipients decide, with the accounts that exist, or all its recipients where none does.
    """
    count = 0
    for path in eml_files(directory):
        try:
            octets = with_crlf(await asyncio.to_thread(path.read_bytes))
        except OSError as error:
            raise SettingsError(f"--load {path}: {error.strerror}; check its permissions") from error
        targets = await _targets(server, path.relative_to(directory).parent.as_posix(), octets)
        if targets:
            await server.converter.put(octets, targets)
            count += 1
    return count


async def _targets(server: Server, folder: str, octets: bytes) -> list[Target]:
    if folder in server.store.newsgroups:
        return [Target(server.store.newsgroups[folder])]
    owner, _, name = folder.partition("/")
    if folder != "." and server.directory.find(owner) is not None:
        mailbox = await server.directory.recipient(owner)
        target = mailbox.folders.get(name or "INBOX") or await server.store.create_folder(mailbox, name)
        return [Target(target)]
    headers = parse(octets).headers
    groups = [name.strip().decode("ascii", "replace") for name in (headers.get("Newsgroups") or b"").split(b",")]
    targets = []
    for group in groups[:GROUPS_MAX]:
        if group:
            if group not in server.store.newsgroups:
                await server.store.create_newsgroup(group)
            targets.append(Target(server.store.newsgroups[group]))
    return targets or await _recipients(server, headers)


async def _recipients(server: Server, headers: HeaderBlock) -> list[Target]:
    values = [value for name in RECIPIENT_FIELDS for value in headers.get_all(name)]
    found = (address.email for value in values for address in parse_addresses(value))
    addresses = [email.decode("utf-8", "replace") for email in found if email]
    known = [address for address in addresses if server.directory.find(address) is not None]
    mailboxes = {}
    for address in known or addresses or ["postmaster"]:
        try:
            mailbox = await server.directory.recipient(address)
        except PortError:
            continue
        mailboxes[mailbox.name] = mailbox
    return [Target(mailbox.inbox) for mailbox in mailboxes.values()]
