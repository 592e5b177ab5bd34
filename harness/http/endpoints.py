"""How an endpoint is declared: once, for the router and for the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.builds import UnknownBuild
from emulator.config import SettingsError
from emulator.service import ServiceError
from harness.faults import FaultError
from harness.workbench import Workbench
from protocols.ports import NoSuchMailbox, PortError

BODY_OCTETS_MAX = 80 << 20
"""A request body: a message and what JSON makes of it."""
JSON_OCTETS_MAX = 1 << 20
TENANT_HEADER = "X-Mailjam-Tenant"


class Problem(Exception):
    """The request cannot be served: status and one line that names the fix."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter."""

    name: str
    summary: str
    type: str = "string"
    default: Any = None


TENANT = Parameter("tenant", f"the system of this tenant (or the header {TENANT_HEADER}); without it, the server's own")
"""Every endpoint has it, beside those of the tenants themselves."""
Handler = Callable[[Workbench, Request], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    query: tuple[Parameter, ...] = ()
    body: Mapping[str, Any] | None = None
    """The JSON schema of the body, or {"type": "string"} for octets."""
    returns: str = "application/json"


class Endpoints:
    """The endpoints of one subject."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.all: list[Endpoint] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        query: tuple[Parameter, ...] = (),
        body: Mapping[str, Any] | None = None,
        returns: str = "application/json",
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated handler; the first line of its docstring is the summary."""

        def declare(handler: Handler) -> Handler:
            summary = (handler.__doc__ or "").strip().partition("\n")[0]
            self.all.append(Endpoint(method, path, handler, summary, self.tag, query, body, returns))
            return handler

        return declare


def bench_of(workbench: Workbench, request: Request) -> Workbench:
    """That of the tenant which the request names (`?tenant=`, or the header), or the server's own. Raises Problem."""
    name = request.query_params.get("tenant") or request.headers.get(TENANT_HEADER)
    if not name:
        return workbench
    try:
        return workbench.tenants.get(name).workbench
    except NoSuchMailbox as problem:
        raise Problem(404, str(problem)) from None


def route(endpoint: Endpoint, workbench: Workbench) -> Route:
    """A Starlette route that answers with JSON unless the handler made a response itself."""

    async def serve(request: Request) -> Response:
        try:
            bench = workbench if endpoint.tag == "tenants" else bench_of(workbench, request)
            answer = await endpoint.handler(bench, request)
        except Problem as problem:
            return error(problem.status, str(problem))
        except (FaultError, SettingsError, UnknownBuild, ServiceError) as problem:
            return error(400, str(problem))
        except PortError as problem:
            return error(409, str(problem) or type(problem).__name__)
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    return Route(endpoint.path, serve, methods=[endpoint.method], name=f"{endpoint.method} {endpoint.path}")


def error(status: int, text: str) -> Response:
    """Mailpit's form of an error: JSON with `Error`."""
    return JSONResponse({"Error": text}, status_code=status)


async def read_body(request: Request, octets_max: int = BODY_OCTETS_MAX) -> bytes:
    """The body. Raises Problem 413."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > octets_max:
            raise Problem(413, f"the body is larger than {octets_max} octets")
    return bytes(body)


async def read_json(request: Request, octets_max: int = JSON_OCTETS_MAX) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object. Raises Problem 400, 413, 415."""
    body = await read_body(request, octets_max)
    if not body.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json":
        raise Problem(415, "send JSON with Content-Type: application/json")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise Problem(400, f"the body is not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise Problem(400, "the body must be a JSON object")
    return value


def text_of(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A string of the body. Raises Problem 400."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise Problem(400, f'"{name}" must be given, as text')
    return value


def whole_number(request: Request, name: str, default: int, largest: int) -> int:
    """A query parameter from 0 to `largest`. Raises Problem 400."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem(400, f"{name}={text[:40]!r}: a whole number is needed")
    return min(int(text), largest)


def seconds(request: Request, name: str, default: float, largest: float) -> float:
    """A query parameter in seconds. Raises Problem 400."""
    text = request.query_params.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise Problem(400, f"{name}={text[:40]!r}: seconds are needed, as in {name}=2.5") from None
    if not 0 <= value <= largest:
        raise Problem(400, f"{name}={text[:40]}: use 0 to {largest:g} seconds")
    return value
