"""Mailpit's API version 1 beyond reading: tags by name, links, release through the smart host, chaos as faults.

Absent, because nothing here knows the answer: html-check, sa-check and thumbnails.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from emulator.spool import Envelope
from harness.faults import Fault
from harness.workbench import Workbench

from .endpoints import Endpoints, Parameter, Problem, read_json
from .mailpit import entry_of, tag_named

endpoints = Endpoints("Mailpit")
NOT_FETCHED = "not fetched: mailjam asks nobody"
ADDRESS_CHARACTERS_MAX = 320
CHAOS_ERROR_DEFAULT = 451
CHAOS = {"Sender": "MAIL", "Recipient": "RCPT", "Authentication": "AUTH"}
"""Mailpit's triggers, and the commands that fail."""
_CHAOS_TEXT = "mailpit chaos:"
"""How the answers of its faults begin: by it they are known again."""
TRIGGER = {"type": "object", "properties": {"ErrorCode": {"type": "integer"}, "Probability": {"type": "integer"}}}


@endpoints.add("GET", "/api/v1/message/{id}/link-check", query=(Parameter("follow", "no difference: none is fetched"),))
async def link_check(workbench: Workbench, request: Request) -> Any:
    """The links of a message. None is fetched, so none has a status: `StatusCode` is 0."""
    view = await workbench.archive.view(await entry_of(workbench, request))
    return {"Errors": 0, "Links": [{"URL": url, "Status": NOT_FETCHED, "StatusCode": 0} for url in view.links()]}


@endpoints.add(
    "POST",
    "/api/v1/message/{id}/release",
    body={"type": "object", "properties": {"To": {"type": "array", "items": {"type": "string"}}}},
)
async def release(workbench: Workbench, request: Request) -> Any:
    """Queue a message for the smart host, to other recipients; the answer does not wait for it."""
    server = workbench.server
    if not server.settings.smarthost:
        raise Problem(400, "there is no smart host to release to: start with --smarthost HOST:PORT")
    entry = await entry_of(workbench, request)
    view = await workbench.archive.view(entry)
    recipients = (await read_json(request)).get("To")
    if not isinstance(recipients, list) or not recipients or not all(map(_is_address, recipients)):
        raise Problem(400, '"To" must be a list of addresses, as in ["bob@example.com"]')
    sender = view.sender.address if entry.envelope is None else entry.envelope.reverse_path
    envelope = Envelope(sender, tuple(recipients), server.clock.time())
    await server.outbound.submit(envelope, view.raw)
    return PlainTextResponse("ok")


def _is_address(value: object) -> bool:
    if not isinstance(value, str) or "@" not in value or len(value) > ADDRESS_CHARACTERS_MAX:
        return False
    return all(c > " " and c not in "<>" for c in value)


# --- tags -------------------------------------------------------------------------------------------------------------


def _retag(workbench: Workbench, tag: str, new: str | None) -> None:
    tagged = [entry for entry in workbench.archive.newest_first() if tag in entry.tags]
    if not tagged:
        raise Problem(404, f"no message has the tag {tag[:100]!r}")
    for entry in tagged:
        entry.tags = tuple(sorted({*entry.tags, *([new] if new else [])} - ({tag} - {new})))
        workbench.archive.changed(entry)


@endpoints.add("PUT", "/api/v1/tags/{tag}", body={"type": "object", "properties": {"Name": {"type": "string"}}})
async def rename_tag(workbench: Workbench, request: Request) -> Any:
    """Give a tag another name."""
    _retag(workbench, request.path_params["tag"], tag_named((await read_json(request)).get("Name")))
    return PlainTextResponse("ok")


@endpoints.add("DELETE", "/api/v1/tags/{tag}")
async def delete_tag(workbench: Workbench, request: Request) -> Any:
    """Take a tag from all messages."""
    _retag(workbench, request.path_params["tag"], None)
    return PlainTextResponse("ok")


# --- chaos ------------------------------------------------------------------------------------------------------------


def _chaos(workbench: Workbench) -> dict[str, dict[str, int]]:
    shown = {name: {"ErrorCode": CHAOS_ERROR_DEFAULT, "Probability": 0} for name in CHAOS}
    for active in workbench.faults:
        fault = active.fault
        if fault.verb == "error" and _CHAOS_TEXT in fault.text:
            name = next(name for name, command in CHAOS.items() if command == fault.command)
            shown[name] = {"ErrorCode": int(fault.text[:3]), "Probability": round(100 / fault.one_in)}
    return shown


@endpoints.add("GET", "/api/v1/chaos")
async def get_chaos(workbench: Workbench, request: Request) -> Any:
    """Which SMTP commands fail, with what code, how often in 100."""
    return _chaos(workbench)


@endpoints.add("PUT", "/api/v1/chaos", body={"type": "object", "properties": dict.fromkeys(CHAOS, TRIGGER)})
async def set_chaos(workbench: Workbench, request: Request) -> Any:
    """Let SMTP commands fail at random (the same in every run); triggers that are left out heal."""
    body = await read_json(request)
    wanted = [_trigger(name, body[name]) for name in CHAOS if body.get(name) is not None]
    for active in tuple(workbench.faults):
        if active.fault.verb == "error" and _CHAOS_TEXT in active.fault.text:
            workbench.faults.remove(active.name)
    for fault in wanted:
        if fault is not None:
            workbench.faults.add(fault)
    return _chaos(workbench)


def _trigger(name: str, value: Any) -> Fault | None:
    """The fault that does what a trigger asks for; None at probability 0. Raises Problem."""
    code = value.get("ErrorCode", CHAOS_ERROR_DEFAULT) if isinstance(value, dict) else None
    percent = value.get("Probability", 0) if isinstance(value, dict) else None
    for number, least, most, field in ((code, 400, 599, "ErrorCode"), (percent, 0, 100, "Probability")):
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise Problem(400, f"{name}: {field} must be a whole number from {least} to {most}")
    if not percent:
        return None
    text = f"{code} {_CHAOS_TEXT} {name.lower()} error"
    return Fault("error", protocol="smtp", command=CHAOS[name], times=0, one_in=100 / percent, text=text)
