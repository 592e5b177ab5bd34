"""Mailpit's API version 1, as far as it reads, deletes and marks: so that existing client libraries work unchanged."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
from collections import Counter
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from emulator.folder import SEEN
from emulator.relay import parse_smarthost
from harness.testing.archive import Entry
from harness.testing.view import Attachment, Contact, MessageView
from harness.workbench import Workbench

from .endpoints import Endpoints, Parameter, Problem, read_json, whole_number
from .search import Match, parse_query, zone_of

endpoints = Endpoints("Mailpit")
PAGE_MESSAGES_MAX = 10_000
TAG_CHARACTERS_MAX = 100
FILENAME_CHARACTERS_MAX = 200
YIELD_EVERY = 50
"""Messages looked at before other tasks get a turn."""
PAGE = (
    Parameter("start", "skip so many", "integer", 0),
    Parameter("limit", "at most so many", "integer", 50),
)
QUERY = Parameter("query", "words that must all match, in Mailpit's grammar")
IDS = {"type": "object", "properties": {"IDs": {"type": "array", "items": {"type": "string"}}}}


def memory_octets() -> int:
    """What the process has in memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def iso(seconds: float) -> str:
    """RFC 3339 with milliseconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def contact(value: Contact) -> dict[str, str]:
    return {"Name": value.name, "Address": value.address}


def contacts(values: list[Contact]) -> list[dict[str, str]]:
    return [contact(value) for value in values]


def summary(entry: Entry, view: MessageView) -> dict[str, Any]:
    """One line of a list."""
    return {
        "ID": entry.name,
        "MessageID": view.message_id,
        "Read": entry.read,
        "From": contact(view.sender),
        "To": contacts(view.to),
        "Cc": contacts(view.cc),
        "Bcc": contacts(view.bcc),
        "ReplyTo": contacts(view.reply_to),
        "Subject": view.subject,
        "Created": iso(entry.received),
        "Username": "",
        "Tags": list(entry.tags),
        "Size": entry.size,
        "Attachments": len(view.attachments),
        "Snippet": view.snippet,
    }


def attachment(value: Attachment) -> dict[str, Any]:
    content = value.content
    return {
        "PartID": value.part_id,
        "FileName": value.filename,
        "ContentType": value.content_type,
        "ContentID": value.content_id,
        "Size": len(content),
        "Checksums": {
            "MD5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "SHA1": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            "SHA256": hashlib.sha256(content).hexdigest(),
        },
    }


def full(entry: Entry, view: MessageView) -> dict[str, Any]:
    """The whole message, its octets apart."""
    unsubscribe = view.headers.get("List-Unsubscribe", "")
    return {
        "ID": entry.name,
        "MessageID": view.message_id,
        "From": contact(view.sender),
        "To": contacts(view.to),
        "Cc": contacts(view.cc),
        "Bcc": contacts(view.bcc),
        "ReplyTo": contacts(view.reply_to),
        "ReturnPath": view.return_path,
        "Subject": view.subject,
        "ListUnsubscribe": {
            "Header": unsubscribe,
            "Links": re.findall(r"<((?:https?|mailto):[^>\s]+)>", unsubscribe),
            "Errors": "",
            "HeaderPost": view.headers.get("List-Unsubscribe-Post", ""),
        },
        "Date": view.date.isoformat().replace("+00:00", "Z"),
        "Tags": list(entry.tags),
        "Username": "",
        "Read": entry.read,
        "Text": view.text,
        "HTML": view.html,
        "Size": entry.size,
        "Inline": [attachment(value) for value in view.inlines],
        "Attachments": [attachment(value) for value in view.attachments],
    }


async def entry_of(workbench: Workbench, request: Request) -> Entry:
    """The entry that the path names; `latest` with a query: the newest that matches. Raises Problem 404."""
    name = request.path_params["id"]
    match = query_of(request) if name == "latest" else None
    entry = next(iter(await found(workbench, match)), None) if match is not None else workbench.archive.get(name)
    if entry is None:
        raise Problem(404, f"no message {name!r} (any more)")
    return entry


async def found(workbench: Workbench, match: Match | None) -> list[Entry]:
    """All entries that match, newest first; other tasks get turns meanwhile."""
    entries = list(workbench.archive.newest_first())
    if match is None:
        return entries
    matching = []
    for number, entry in enumerate(entries):
        if number % YIELD_EVERY == YIELD_EVERY - 1:
            await asyncio.sleep(0)
        if entry.messages and match(entry, await workbench.archive.view(entry)):
            matching.append(entry)
    return matching


def query_of(request: Request) -> Match | None:
    """The query of a request; None: it has none."""
    query = request.query_params.get("query", "").strip()
    return parse_query(query, zone=zone_of(request.query_params.get("tz", ""))) if query else None


async def page_of(workbench: Workbench, request: Request, entries: list[Entry]) -> dict[str, Any]:
    """Mailpit's list answer."""
    start = whole_number(request, "start", 0, 10**9)
    limit = whole_number(request, "limit", 50, PAGE_MESSAGES_MAX)
    everything = list(workbench.archive.newest_first())
    unread = sum(1 for entry in everything if not entry.read)
    all_match = len(entries) == len(everything)
    shown = [entry for entry in entries[start : start + limit] if entry.messages]
    return {
        "total": len(everything),
        "unread": unread,
        "count": len(shown),
        "messages_count": len(entries),
        "messages_unread": unread if all_match else sum(1 for entry in entries if not entry.read),
        "start": start,
        "tags": sorted({tag for entry in everything if entry.tags for tag in entry.tags}),
        "messages": [summary(entry, await workbench.archive.view(entry)) for entry in shown],
    }


@endpoints.add("GET", "/api/v1/messages", query=PAGE)
async def list_messages(workbench: Workbench, request: Request) -> Any:
    """Messages, newest first."""
    entries = await found(workbench, None)
    return await page_of(workbench, request, entries)


@endpoints.add("GET", "/api/v1/search", query=(QUERY, *PAGE, Parameter("tz", "zone of dates in the query")))
async def search(workbench: Workbench, request: Request) -> Any:
    """Messages that match a query, newest first."""
    match = query_of(request)
    if match is None:
        raise Problem(400, "no query: use ?query=from:alice")
    entries = await found(workbench, match)
    return await page_of(workbench, request, entries)


@endpoints.add("DELETE", "/api/v1/search", query=(QUERY,))
async def delete_search(workbench: Workbench, request: Request) -> Any:
    """Delete the messages that match a query."""
    match = query_of(request)
    if match is None:
        raise Problem(400, "no query: use ?query=from:alice")
    await delete_entries(workbench, await found(workbench, match))
    return PlainTextResponse("ok")


async def delete_entries(workbench: Workbench, entries: list[Entry]) -> None:
    """Expunge all copies: sessions that have the folders selected are told, as of any expunge."""
    by_folder: dict[Any, list[Any]] = {}
    for entry in entries:
        for message in entry.messages:
            by_folder.setdefault(message.folder, []).append(message)
    for folder, messages in by_folder.items():
        await workbench.server.store.expunge(folder, messages)


async def chosen(workbench: Workbench, body: dict[str, Any]) -> list[Entry]:
    """The entries that a body names: `IDs`, or `Search`, or (neither) all. Raises Problem 400."""
    names = body.get("IDs") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Problem(400, '"IDs" must be a list of texts')
    if names:
        entries = (workbench.archive.get(name) for name in names)
        return [entry for entry in entries if entry is not None]
    query = body.get("Search", "")
    return await found(workbench, parse_query(query) if isinstance(query, str) and query else None)


@endpoints.add("DELETE", "/api/v1/messages", body=IDS)
async def delete_messages(workbench: Workbench, request: Request) -> Any:
    """Delete the messages with the given IDs, or all."""
    await delete_entries(workbench, await chosen(workbench, await read_json(request)))
    return PlainTextResponse("ok")


@endpoints.add(
    "PUT",
    "/api/v1/messages",
    body={"type": "object", "properties": {**IDS["properties"], "Read": {"type": "boolean"}}},  # type: ignore[dict-item]
)
async def mark_messages(workbench: Workbench, request: Request) -> Any:
    """Mark messages read or unread: the flag \\Seen of all their copies."""
    body = await read_json(request)
    mode = "+" if body.get("Read") else "-"
    for entry in await chosen(workbench, body):
        for message in tuple(entry.messages):
            await workbench.server.store.set_flags(message.folder, [message], mode, frozenset({SEEN}))
    return PlainTextResponse("ok")


@endpoints.add("GET", "/api/v1/message/{id}")
async def message(workbench: Workbench, request: Request) -> Any:
    """One message; `latest` is the newest. It is marked as read."""
    entry = await entry_of(workbench, request)
    answer = full(entry, await workbench.archive.view(entry))
    for copy in tuple(entry.messages):
        await workbench.server.store.set_flags(copy.folder, [copy], "+", frozenset({SEEN}))
    return answer


@endpoints.add("GET", "/api/v1/message/{id}/headers")
async def headers(workbench: Workbench, request: Request) -> Any:
    """Header fields by name (`Message-Id`, `Mime-Version`: as Go spells them), each a list of values."""
    view = await workbench.archive.view(await entry_of(workbench, request))
    answer: dict[str, list[str]] = {}
    for name, value in view.headers.items_all():
        answer.setdefault("-".join(word.capitalize() for word in name.split("-")), []).append(value)
    return answer


@endpoints.add("GET", "/api/v1/message/{id}/raw", query=(Parameter("dl", "1: as a file"),), returns="text/plain")
async def raw(workbench: Workbench, request: Request) -> Any:
    """The octets of the message."""
    entry = await entry_of(workbench, request)
    view = await workbench.archive.view(entry)
    extra = {"Content-Disposition": f'attachment; filename="{entry.name}.eml"'} if "dl" in request.query_params else {}
    return Response(view.raw, media_type="text/plain; charset=utf-8", headers=extra)


@endpoints.add("GET", "/api/v1/message/{id}/part/{part}", returns="application/octet-stream")
async def part(workbench: Workbench, request: Request) -> Any:
    """One part, decoded, with its own type."""
    view = await workbench.archive.view(await entry_of(workbench, request))
    number = request.path_params["part"]
    for value in (*view.attachments, *view.inlines):
        if value.part_id == number:
            kind = value.content_type
            safe = re.fullmatch(r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}", kind) is not None
            harmless = safe and not _active(kind)
            how = "inline" if harmless else "attachment"
            name = quote(value.filename[:FILENAME_CHARACTERS_MAX], safe="", errors="replace")
            return Response(
                value.content,
                media_type=kind if harmless else "application/octet-stream",
                headers={
                    "Content-Disposition": f"{how}; filename*=UTF-8''{name}",
                    "Content-Security-Policy": "sandbox; default-src 'none'",
                },
            )
    raise Problem(404, f"the message has no attachment {number!r}")


def _active(kind: str) -> bool:
    """Types in which a browser would run scripts on our origin."""
    return kind in ("text/html", "image/svg+xml") or kind.endswith(("xml", "javascript"))


@endpoints.add("GET", "/view/{id}.txt", returns="text/plain")
async def view_text(workbench: Workbench, request: Request) -> Any:
    """The text of a message."""
    view = await workbench.archive.view(await entry_of(workbench, request))
    return PlainTextResponse(view.text)


@endpoints.add("GET", "/view/{id}.html", returns="text/html")
async def view_html(workbench: Workbench, request: Request) -> Any:
    """The HTML of a message for a sandboxed frame: no scripts, no forms, nothing from elsewhere."""
    entry = await entry_of(workbench, request)
    view = await workbench.archive.view(entry)
    if not view.html:
        raise Problem(404, "the message has no HTML")
    by_id = {value.content_id: value for value in view.inlines if value.content_id}

    def replace(match: re.Match[str]) -> str:
        value = by_id.get(match[2])
        return match[0] if value is None else f"{match[1]}{_data_uri(value)}"

    html = re.sub(r"(?i)([\"'(= ])cid:([^\"')\s>]{1,500})", replace, view.html)
    remote = "http: https:" if request.query_params.get("remote") == "1" else ""
    policy = (
        f"default-src 'none'; img-src data: {remote}; style-src 'unsafe-inline' {remote}; font-src data: {remote}; "
        "media-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    )
    target = '<base target="_blank">'
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"}
    return Response(target + html, media_type="text/html; charset=utf-8", headers=headers)


def _data_uri(value: Attachment) -> str:
    kind = value.content_type if value.content_type.startswith("image/") else "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(value.content).decode()}"


@endpoints.add("GET", "/api/v1/info")
async def info(workbench: Workbench, request: Request) -> Any:
    """What this server is, and how much it has."""
    server = workbench.server
    entries = list(workbench.archive.newest_first())
    version = server.settings.front_end.version
    return {
        "Version": version,
        "LatestVersion": version,
        "Database": str(server.settings.data or "memory"),
        "DatabaseSize": sum(entry.size for entry in entries),
        "Messages": len(entries),
        "Unread": sum(not entry.read for entry in entries),
        "Tags": dict(sorted(Counter(tag for entry in entries for tag in entry.tags).items())),
        "RuntimeStats": {
            "Uptime": int(server.clock.monotonic() - workbench.began),
            "Memory": memory_octets(),
            "MessagesDeleted": workbench.archive.removed_count,
            "SMTPAccepted": server.inbound.accepted_count,
            "SMTPAcceptedSize": workbench.archive.accepted_octets,
            "SMTPRejected": server.inbound.bad_count,
            "SMTPIgnored": 0,
        },
    }


def tag_named(value: object) -> str:
    """The tag of that name: spaces are made single. Raises Problem 400."""
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not 0 < len(name) <= TAG_CHARACTERS_MAX:
        raise Problem(400, f"a tag is a text of 1 to {TAG_CHARACTERS_MAX} characters")
    return name


@endpoints.add("GET", "/api/v1/tags")
async def tags(workbench: Workbench, request: Request) -> Any:
    """All tags in use."""
    return sorted({tag for entry in workbench.archive.newest_first() for tag in entry.tags})


@endpoints.add(
    "PUT",
    "/api/v1/tags",
    body={
        "type": "object",
        "properties": {**IDS["properties"], "Tags": {"type": "array", "items": {"type": "string"}}},  # type: ignore[dict-item]
    },
)
async def set_tags(workbench: Workbench, request: Request) -> Any:
    """Give messages these tags and no others; without tags theirs are taken away."""
    body = await read_json(request)
    given = body.get("Tags") or []
    if not isinstance(given, list):
        raise Problem(400, '"Tags" must be a list of texts')
    names = tuple(sorted({tag_named(tag) for tag in given}))
    if not body.get("IDs"):
        raise Problem(400, '"IDs" must name messages')
    for entry in await chosen(workbench, body):
        entry.tags = names
        workbench.archive.changed(entry)
    return PlainTextResponse("ok")


@endpoints.add("GET", "/api/v1/webui")
async def webui(workbench: Workbench, request: Request) -> Any:
    """What Mailpit's page may do here."""
    smarthost = workbench.server.settings.smarthost
    host = parse_smarthost(smarthost) if smarthost else None
    return {
        "Label": "mailjam",
        "MessageRelay": {
            "Enabled": host is not None,
            "SMTPServer": f"{host.name}:{host.port}" if host is not None else "",
            "ReturnPath": "",
            "AllowedRecipients": "",
            "BlockedRecipients": "",
            "OverrideFrom": "",
            "PreserveMessageIDs": True,
        },
        "SpamAssassin": False,
        "ChaosEnabled": True,
        "DuplicatesIgnored": False,
    }


@endpoints.add("POST", "/api/v1/send", body={"type": "object"})
async def send(workbench: Workbench, request: Request) -> Any:
    """Send a message given as JSON (From, To, Cc, Bcc, ReplyTo, Subject, Text, HTML, Attachments, Headers)."""
    body = await read_json(request, 80 << 20)
    made, sender, recipients = _compose(body)
    if not recipients:
        raise Problem(400, "no recipient: give To, Cc or Bcc")
    octets = made.as_bytes(policy=made.policy.clone(linesep="\r\n", max_line_length=998))
    before = workbench.archive.last_number
    taken: set[int] = set()
    spooled = await workbench.server.inbound.submit(sender, recipients, octets)
    wanted = made["Message-ID"].strip("<>")
    entry = await workbench.archive.wait(
        lambda entry, view: view.message_id == wanted, taken=taken, after=before, seconds_max=10.0
    )
    return {"ID": entry.name if entry is not None else spooled}


def _compose(body: dict[str, Any]) -> tuple[EmailMessage, str, list[str]]:
    from email.headerregistry import Address  # noqa: PLC0415
    from email.utils import formatdate, make_msgid  # noqa: PLC0415

    def addresses(name: str) -> list[tuple[str, str]]:
        value = body.get(name) or []
        items = [value] if isinstance(value, dict | str) else value
        if not isinstance(items, list):
            raise Problem(400, f'"{name}" must be a list of addresses')
        read = []
        for item in items:
            email = item.get("Email", "") if isinstance(item, dict) else item
            words = item.get("Name", "") if isinstance(item, dict) else ""
            if not isinstance(email, str) or not email or any(ord(c) < 33 for c in email) or not isinstance(words, str):
                raise Problem(400, f'"{name}": every address needs an Email')
            read.append((words, email))
        return read

    made = EmailMessage()
    sender = next(iter(addresses("From")), ("", ""))
    recipients: list[str] = []
    try:
        for field, name in (("From", "From"), ("To", "To"), ("Cc", "Cc"), ("Reply-To", "ReplyTo")):
            listed = addresses(name)
            if listed:
                made[field] = [
                    Address(words, addr_spec=email) if "@" in email else Address(words, username=email)
                    for words, email in listed
                ]
            if name in ("To", "Cc"):
                recipients += [email for _, email in listed]
        recipients += [email for _, email in addresses("Bcc")]
        made["Subject"] = str(body.get("Subject", "")).replace("\r", " ").replace("\n", " ")
        made["Date"] = formatdate()
        made["Message-ID"] = make_msgid(domain="mailjam.test")
        for name, value in (body.get("Headers") or {}).items():
            made[str(name)] = str(value)
    except Problem:
        raise
    except (ValueError, AttributeError, TypeError) as problem:
        raise Problem(400, f"a header field cannot be made: {problem}") from None
    made.set_content(str(body.get("Text", "")))
    if body.get("HTML"):
        made.add_alternative(str(body["HTML"]), subtype="html")
    for item in body.get("Attachments") or []:
        _attach(made, item)
    return made, sender[1], recipients


def _attach(made: EmailMessage, item: Any) -> None:
    try:
        content = base64.b64decode(item["Content"], validate=True)
        kind = str(item.get("ContentType") or "application/octet-stream")
        main, _, sub = kind.partition("/")
        made.add_attachment(content, maintype=main, subtype=sub, filename=str(item["Filename"]))
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as problem:
        raise Problem(400, f"an attachment needs Filename and Content (base64): {problem}") from None
