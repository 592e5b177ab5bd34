"""The emulated system over HTTP: users, groups, sections, the jam, queues, services, builds, health."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from emulator.builds import DEFECTS, KNOWN_BUILDS, find_build
from emulator.service import State
from harness.testing.snapshot_view import jam
from harness.workbench import Workbench
from protocols.ports import NoSuchMailbox

from .endpoints import Endpoints, Problem, read_json, text_of
from .metrics import exposition

endpoints = Endpoints("system")


def _text_body(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


@endpoints.add("GET", "/api/server")
async def server(workbench: Workbench, request: Request) -> Any:
    """Build, addresses of the protocols, personality."""
    running = workbench.server
    front_end = running.settings.front_end
    return {
        "build": running.build.number,
        "service_pack": running.build.service_pack,
        "defects": sorted(running.build.defects),
        "version": front_end.version,
        "hostname": front_end.hostname,
        "personality": front_end.personality,
        "durable": running.settings.data is not None,
        "addresses": {name: {"host": host, "port": port} for name, (host, port) in running.addresses.items()},
    }


@endpoints.add("GET", "/api/users")
async def users(workbench: Workbench, request: Request) -> Any:
    """Mailboxes with their folders; who has a password."""
    running = workbench.server
    known = set(running.directory.users)
    return [
        {
            "name": mailbox.name,
            "account": mailbox.name in known,
            "octets": mailbox.size,
            "folders": [
                {
                    "name": folder.name,
                    "messages": len(folder.messages),
                    "unseen": folder.unseen,
                    "uid_validity": folder.uid_validity,
                    "uid_next": folder.uid_next,
                    "highest_modseq": folder.highest_modseq,
                }
                for folder in mailbox.folders.values()
            ],
        }
        for mailbox in list(running.store.mailboxes.values())
    ]


@endpoints.add("POST", "/api/users", body=_text_body("name", "password"))
async def add_user(workbench: Workbench, request: Request) -> Any:
    """Make an account and its mailbox, or change its password."""
    body = await read_json(request)
    name, password = text_of(body, "name"), text_of(body, "password")
    if not name.strip() or not password or any(ord(c) < 32 for c in name + password):
        raise Problem(400, "a name and a password are needed, without control characters")
    mailbox = await workbench.server.directory.add_user(name, password)
    return {"name": mailbox.name}


@endpoints.add("GET", "/api/groups")
async def groups(workbench: Workbench, request: Request) -> Any:
    """Newsgroups."""
    return [
        {
            "name": group.name,
            "description": group.description,
            "posting": group.posting,
            "articles": len(group.messages),
            "next": group.uid_next,
        }
        for group in list(workbench.server.store.newsgroups.values())
    ]


@endpoints.add("POST", "/api/groups", body=_text_body("name", "description", "posting"))
async def add_group(workbench: Workbench, request: Request) -> Any:
    """Make a newsgroup."""
    body = await read_json(request)
    posting = text_of(body, "posting", "y")
    if posting not in ("y", "n", "m"):
        raise Problem(400, '"posting" is y, n or m (RFC 3977 section 7.6.3)')
    group = await workbench.server.store.create_newsgroup(
        text_of(body, "name"), description=text_of(body, "description", ""), posting=posting
    )
    return {"name": group.name}


@endpoints.add("DELETE", "/api/groups/{name}")
async def delete_group(workbench: Workbench, request: Request) -> Any:
    """Delete a newsgroup and its articles."""
    try:
        await workbench.server.store.delete_newsgroup(request.path_params["name"])
    except NoSuchMailbox as problem:
        raise Problem(404, str(problem)) from None
    return {}


@endpoints.add("GET", "/api/jam")
async def show_jam(workbench: Workbench, request: Request) -> Any:
    """Why the system is jammed: who holds what, who waits where, what still works, what would free it."""
    from harness.explain import snapshot  # noqa: PLC0415  # it brings the explorer along

    return snapshot(workbench.server)


@endpoints.add("GET", "/api/state")
async def state(workbench: Workbench, request: Request) -> Any:
    """Sections with owners and waiters, waits and cycles, queues, services: what the event stream sends."""
    return jam(workbench.server)


@endpoints.add("POST", "/api/jam")
async def make_jam(workbench: Workbench, request: Request) -> Any:
    """Jam the server as in KB Q279798: the defective build, two conversions, each in the other's way."""
    try:
        await workbench.jamming.jam()
    except TimeoutError as problem:
        raise Problem(504, f"it would not jam: {problem}") from None
    return jam(workbench.server)


@endpoints.add("DELETE", "/api/jam")
async def release_jam(workbench: Workbench, request: Request) -> Any:
    """End a jam made here, let go whom gates and faults hold, bring the build back."""
    await workbench.jamming.release()
    return jam(workbench.server)


@endpoints.add("GET", "/api/sections")
async def sections(workbench: Workbench, request: Request) -> Any:
    """The critical sections."""
    return jam(workbench.server)["sections"]


@endpoints.add("GET", "/api/queues")
async def queues(workbench: Workbench, request: Request) -> Any:
    """Lengths of the queues, by the names of their performance counters."""
    return workbench.server.queue_lengths()


@endpoints.add("GET", "/api/services")
async def services(workbench: Workbench, request: Request) -> Any:
    """The services and their states."""
    return jam(workbench.server)["services"]


@endpoints.add("POST", "/api/services/{name}/{request}")
async def control(workbench: Workbench, request: Request) -> Any:
    """Ask a service to start, stop, pause, continue or restart; a stop is asked for and not waited for."""
    controls = workbench.server.control
    name, wanted = request.path_params["name"], request.path_params["request"]
    service = controls.find(name)
    if wanted == "start":
        await controls.start(service.name)
    elif wanted == "stop":
        controls.request_stop(service.name)
    elif wanted == "pause":
        await controls.pause(service.name)
    elif wanted == "continue":
        await controls.resume(service.name)
    else:
        raise Problem(404, f"no control request {wanted!r}: there are start, stop, pause, continue")
    return {"service": service.name, "state": service.state.value}


@endpoints.add("GET", "/api/builds")
async def builds(workbench: Workbench, request: Request) -> Any:
    """Known builds and the defects of each."""
    return {
        "running": workbench.server.build.number,
        "builds": [
            {"number": build.number, "service_pack": build.service_pack, "defects": sorted(build.defects)}
            for build in map(find_build, KNOWN_BUILDS)
        ],
        "defects": [{"name": d.name, "kb": d.kb, "title": d.title} for d in DEFECTS],
    }


@endpoints.add("POST", "/api/build", body=_text_body("build"))
async def set_build(workbench: Workbench, request: Request) -> Any:
    """Exchange the build under the running system: paths that begin from now on enter sections in its order."""
    body = await read_json(request)
    build = workbench.set_build(text_of(body, "build"))
    return {"build": build.number, "defects": sorted(build.defects)}


@endpoints.add("GET", "/livez", returns="text/plain")
async def livez(workbench: Workbench, request: Request) -> Any:
    """The process answers."""
    return PlainTextResponse("ok")


@endpoints.add("GET", "/readyz", returns="text/plain")
async def readyz(workbench: Workbench, request: Request) -> Any:
    """All services run and nothing is jammed: 200; otherwise 503 and the reason."""
    running = workbench.server
    reasons = [f"{name} is {state}" for name, state in running.states().items() if state is not State.RUNNING]
    if running.sections.cycles():
        reasons.append("jammed: sections wait for one another")
    if reasons:
        return PlainTextResponse("\n".join(reasons), status_code=503)
    return PlainTextResponse("ok")


@endpoints.add("GET", "/metrics", returns="text/plain")
async def metrics(workbench: Workbench, request: Request) -> Any:
    """Prometheus's text format."""
    return Response(exposition(workbench), media_type="text/plain; version=0.0.4; charset=utf-8")
