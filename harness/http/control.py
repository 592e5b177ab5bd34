"""Testing over HTTP: waiting, faults, gates, clock, snapshots, sessions, tricks, ingestion."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from harness.faults.model import STAGES, Fault, read_script, write_script
from harness.testing.clock import AdvancingClock
from harness.testing.near_misses import near_misses
from harness.testing.view import numbered_parts
from harness.workbench import Workbench
from protocols.mime import Part
from protocols.ports import NotPermitted, Target

from .endpoints import (
    Endpoints,
    Parameter,
    Problem,
    read_body,
    read_json,
    seconds,
    text_of,
    whole_number,
)
from .mailpit import QUERY, entry_of, summary
from .search import parse_query, zone_of

endpoints = Endpoints("testing")
WAIT_SECONDS_MAX = 300.0
OBJECT = {"type": "object"}


# --- messages --------------------------------------------------------------------------------------------------------


@endpoints.add(
    "GET",
    "/api/wait",
    query=(
        QUERY,
        Parameter("timeout", "seconds, at most 300", "number", 10),
        Parameter("after", "only messages after this cursor (the `cursor` of an earlier answer)", "integer", 0),
    ),
)
async def wait(workbench: Workbench, request: Request) -> Any:
    """Wait for the next message that matches; 504 with near misses when time is up."""
    query = request.query_params.get("query", "")
    match = parse_query(query, zone=zone_of(request.query_params.get("tz", "")))
    after = whole_number(request, "after", 0, 10**15)
    limit = seconds(request, "timeout", 10.0, WAIT_SECONDS_MAX)
    entry = await workbench.archive.wait(
        match,
        taken=set(),
        after=after,
        seconds_max=limit,
    )
    if entry is None:
        raise Problem(504, await near_misses(workbench, f"query {query!r}", limit, after=after))
    view = await workbench.archive.view(entry)
    return {"cursor": entry.number, "message": summary(entry, view)}


@endpoints.add(
    "POST",
    "/api/messages",
    query=(
        Parameter("to", "an address, `user/Folder` or a newsgroup; several times for several"),
        Parameter("flags", "IMAP flags, separated by spaces"),
        Parameter("date", "INTERNALDATE as in a Date field"),
    ),
    body={"type": "string", "format": "binary"},
)
async def ingest(workbench: Workbench, request: Request) -> Any:
    """Put a message (the octets of the body) straight into mailboxes or newsgroups."""
    octets = (await read_body(request)).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    places = request.query_params.getlist("to")
    if not octets or not places:
        raise Problem(400, "give the message as the body, and ?to=alice@example.com")
    flags = frozenset(request.query_params.get("flags", "").split())
    date = None
    if request.query_params.get("date"):
        try:
            date = parsedate_to_datetime(request.query_params["date"]).timestamp()
        except (ValueError, TypeError):
            raise Problem(400, "date is not one of RFC 5322, as in Tue, 01 Jun 2000 10:00:00 +0000") from None
    folders = [await workbench.folder(place) for place in places]
    messages = await workbench.server.converter.put(octets, [Target(folder, flags, date) for folder in folders])
    return [{"folder": message.folder.name, "uid": message.uid} for message in messages]


@endpoints.add("GET", "/api/messages/{id}/mime")
async def mime(workbench: Workbench, request: Request) -> Any:
    """The MIME tree."""
    view = await workbench.archive.view(await entry_of(workbench, request))
    numbers = {id(part): number for number, part in numbered_parts(view.part)}
    return _tree(view.part, numbers)


def _tree(root: Part, numbers: dict[int, str]) -> dict[str, Any]:
    def node(part: Part) -> dict[str, Any]:
        return {
            "part": numbers.get(id(part), ""),
            "type": part.content_type,
            "encoding": part.encoding,
            "charset": part.params.get("charset", ""),
            "disposition": part.disposition or "",
            "filename": part.disposition_params.get("filename") or part.params.get("name") or "",
            "octets": part.size,
            "children": [],
        }

    top = node(root)
    stack = [(root, top)]
    while stack:  # nesting is a peer's choice: no recursion
        part, shown = stack.pop()
        inside = part.children or ((part.message,) if part.message is not None else ())
        for child in inside:
            below = node(child)
            shown["children"].append(below)
            stack.append((child, below))
    return top


@endpoints.add("GET", "/api/messages/{id}/properties")
async def properties(workbench: Workbench, request: Request) -> Any:
    """The MAPI properties that the information store keeps of it."""
    view = await workbench.archive.view(await entry_of(workbench, request))
    return {name: _shown(value) for name, value in view.properties.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"octets": len(value), "hex": value[:64].hex()}
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, tuple):
        return [_shown(item) for item in value[:100]]
    text = str(value)
    return text if len(text) <= 4000 else text[:4000] + "…"


@endpoints.add("GET", "/api/messages/{id}/links")
async def links(workbench: Workbench, request: Request) -> Any:
    """What the message links to, and its one-time code if it has one."""
    view = await workbench.archive.view(await entry_of(workbench, request))
    try:
        code = view.otp()
    except LookupError:
        code = None
    return {"links": view.links(), "otp": code}


# --- sessions --------------------------------------------------------------------------------------------------------


@endpoints.add("GET", "/api/sessions", query=(Parameter("open", "1: only those that have not ended"),))
async def sessions(workbench: Workbench, request: Request) -> Any:
    """The last sessions, newest first."""
    transcripts = workbench.transcripts
    chosen = transcripts.open() if request.query_params.get("open") == "1" else transcripts.since(0)
    return [transcript.summary() for transcript in reversed(chosen)]


@endpoints.add("GET", "/api/sessions/{number}", query=(Parameter("format", "`text` for people"),))
async def session(workbench: Workbench, request: Request) -> Any:
    """One session with its transcript; passwords are not shown."""
    number = request.path_params["number"]
    transcript = workbench.transcripts.get(int(number)) if number.isdigit() and len(number) < 19 else None
    if transcript is None:
        raise Problem(404, f"no session {number} (any more)")
    if request.query_params.get("format") == "text":
        return PlainTextResponse(str(transcript) + "\n")
    return {**transcript.summary(), "lines": transcript.lines()}


@endpoints.add("DELETE", "/api/sessions/{number}")
async def end_session(workbench: Workbench, request: Request) -> Any:
    """Break a session's connection."""
    number = request.path_params["number"]
    if not number.isdigit() or not workbench.break_session(int(number)):
        raise Problem(404, f"no open session {number}")
    return {}


# --- faults ----------------------------------------------------------------------------------------------------------


@endpoints.add("GET", "/api/faults")
async def faults(workbench: Workbench, request: Request) -> Any:
    """All faults that are armed, how often each was due and struck."""
    return {
        "verbs": {verb: list(stages) for verb, stages in STAGES.items()},
        "faults": [f.as_dict() for f in workbench.faults],
    }


@endpoints.add("POST", "/api/faults", body=OBJECT)
async def add_fault(workbench: Workbench, request: Request) -> Any:
    """Arm a fault: {"verb": "error", "command": "RCPT", "nth": 2} or {"fault": "error command=RCPT nth=2"}."""
    body = await read_json(request)
    line = body.get("fault")
    fault = Fault.from_text(line) if isinstance(line, str) else Fault.from_dict(body)
    return workbench.faults.add(fault).as_dict()


@endpoints.add("PUT", "/api/faults", body={"type": "string"})
async def load_faults(workbench: Workbench, request: Request) -> Any:
    """Replace all faults by those of a TOML script (the body)."""
    text = (await read_body(request, 1 << 20)).decode("utf-8", "replace")
    script = read_script(text)
    workbench.faults.check(script, instead=True)
    workbench.faults.clear()
    return [active.as_dict() for active in workbench.faults.load(script)]


@endpoints.add("DELETE", "/api/faults")
async def clear_faults(workbench: Workbench, request: Request) -> Any:
    """Disarm all faults; those that never struck are named."""
    unused = [str(active.fault) for active in workbench.faults.unused()]
    workbench.faults.clear()
    return {"unused": unused}


@endpoints.add("DELETE", "/api/faults/{id}")
async def remove_fault(workbench: Workbench, request: Request) -> Any:
    """Disarm one fault and let go whom it holds."""
    if not workbench.faults.remove(request.path_params["id"]):
        raise Problem(404, f"no fault {request.path_params['id']!r}")
    return {}


@endpoints.add("POST", "/api/faults/{id}/release")
async def release_fault(workbench: Workbench, request: Request) -> Any:
    """Let go whom a `hang` or `jam` holds."""
    active = workbench.faults.get(request.path_params["id"])
    if active is None:
        raise Problem(404, f"no fault {request.path_params['id']!r}")
    active.release()
    return active.as_dict()


@endpoints.add("GET", "/api/faults/recorded", returns="application/toml")
async def recorded(workbench: Workbench, request: Request) -> Any:
    """A script that replays what struck, each pinned to its occasion."""
    return Response(write_script(workbench.faults.recorded()), media_type="application/toml")


# --- gates -----------------------------------------------------------------------------------------------------------


@endpoints.add("GET", "/api/gates")
async def gates(workbench: Workbench, request: Request) -> Any:
    """Gates that were set here, and who stands at each."""
    return [
        {"id": name, "held": [{"actor": str(a), "point": p.name} for a, p in gate.held], "passed": gate.passed}
        for name, gate in workbench.named_gates.items()
    ]


@endpoints.add("POST", "/api/gates", body=OBJECT)
async def add_gate(workbench: Workbench, request: Request) -> Any:
    """Hold actors at a point: {"point": "inbound.imail.held", "actor": "inbound", "count": 1}."""
    body = await read_json(request)
    count = body.get("count")
    if count is not None and (not isinstance(count, int) or count < 1):
        raise Problem(400, '"count" is a whole number from 1 on')
    return {"id": workbench.add_gate(text_of(body, "point"), text_of(body, "actor", "*"), count)}


@endpoints.add("GET", "/api/gates/{id}/wait", query=(Parameter("timeout", "seconds", "number", 10),))
async def wait_gate(workbench: Workbench, request: Request) -> Any:
    """Wait until an actor stands at the gate."""
    gate = workbench.named_gates.get(request.path_params["id"])
    if gate is None:
        raise Problem(404, f"no gate {request.path_params['id']!r}")
    try:
        actor = await gate.wait_until_held(seconds_max=seconds(request, "timeout", 10.0, WAIT_SECONDS_MAX))
    except TimeoutError as problem:
        raise Problem(504, str(problem)) from None
    return {"actor": str(actor)}


@endpoints.add("POST", "/api/gates/{id}/release")
async def release_gate(workbench: Workbench, request: Request) -> Any:
    """Open a gate for good."""
    gate = workbench.named_gates.pop(request.path_params["id"], None)
    if gate is None:
        raise Problem(404, f"no gate {request.path_params['id']!r}")
    gate.release()
    return {}


# --- clock and snapshots ---------------------------------------------------------------------------------------------


@endpoints.add("GET", "/api/clock")
async def clock(workbench: Workbench, request: Request) -> Any:
    """The server's time, and how far it was advanced."""
    ticking = workbench.server.clock
    return {"time": ticking.time(), "offset": ticking.offset if isinstance(ticking, AdvancingClock) else 0.0}


@endpoints.add("POST", "/api/clock/advance", body=OBJECT)
async def advance(workbench: Workbench, request: Request) -> Any:
    """Let time pass now: {"minutes": 30}; what falls due in it happens."""
    body = await read_json(request)
    ticking = workbench.server.clock
    if not isinstance(ticking, AdvancingClock):
        raise Problem(409, "this server runs on real time: it was started without a clock that can be advanced")
    total = 0.0
    for unit, factor in (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0)):
        value = body.get(unit, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
            raise Problem(400, f'"{unit}" is a number from 0 on')
        total += value * factor
    await ticking.advance(total)
    return {"time": ticking.time(), "offset": ticking.offset}


@endpoints.add("GET", "/api/snapshots")
async def snapshots(workbench: Workbench, request: Request) -> Any:
    """Snapshots of the store, oldest first."""
    return [{"name": s.name, "taken": s.taken, "folders_changed": len(s.folders)} for s in workbench.snapshots]


@endpoints.add("POST", "/api/snapshots", body=OBJECT)
async def take_snapshot(workbench: Workbench, request: Request) -> Any:
    """Remember the store's present state: {"name": "before"}."""
    body = await read_json(request)
    return {"name": workbench.snapshots.take(text_of(body, "name", "")).name}


@endpoints.add("POST", "/api/snapshots/{name}/restore")
async def restore_snapshot(workbench: Workbench, request: Request) -> Any:
    """Make the store what it was; later snapshots are dropped."""
    try:
        workbench.snapshots.restore(request.path_params["name"])
    except NotPermitted as problem:
        raise Problem(404, str(problem)) from None
    return {}


@endpoints.add("DELETE", "/api/snapshots/{name}")
async def drop_snapshot(workbench: Workbench, request: Request) -> Any:
    """Forget a snapshot."""
    workbench.snapshots.drop(request.path_params["name"])
    return {}


# --- tricks ----------------------------------------------------------------------------------------------------------


@endpoints.add("POST", "/api/tricks/{trick}", body=OBJECT)
async def trick(workbench: Workbench, request: Request) -> Any:
    """`bump-uidvalidity`, `expunge`, `quota`, `internaldate`, `renumber`: {"folder": "alice/INBOX", …}."""
    body = await read_json(request)
    try:
        return await workbench.tricks.do(request.path_params["trick"], body)
    except LookupError as problem:
        raise Problem(404, str(problem).strip("'\"")) from None
    except ValueError as problem:
        raise Problem(400, str(problem)) from None
