"""The application, and serving it on the event loop of the mail server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from emulator.config import SettingsError
from harness.workbench import Workbench
from protocols.actor import Actor

from . import control, live, mailpit, mailpit_tools, system, tenants
from .endpoints import Endpoint, error, route
from .openapi import document
from .peer import Peer
from .security import Guard, is_loopback

if TYPE_CHECKING:
    from emulator.server import Server

STATIC = Path(__file__).parent / "static"
START_SECONDS_MAX = 10.0


def all_endpoints() -> list[Endpoint]:
    """Every endpoint, those with fixed names before those with parameters."""
    found = [
        endpoint for part in (mailpit, mailpit_tools, system, control, live, tenants) for endpoint in part.endpoints.all
    ]
    return sorted(found, key=lambda endpoint: ("{" in endpoint.path, endpoint.path))


def create_app(
    server: Server, *, token: str | None = None, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()
) -> Guard:
    """The ASGI application of a started server.

    `token`: asked of everybody; `hosts`: names it may be called by; `origins`: pages from elsewhere that may use it.
    """
    workbench = Workbench.of(server)
    workbench.archive.read()  # now rather than when the first request comes: a large store takes a while
    endpoints = all_endpoints()
    description = document(endpoints, server.settings.front_end.version)

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def docs(request: Request) -> Response:
        return FileResponse(STATIC / "docs.html")

    async def openapi(request: Request) -> Response:
        return JSONResponse(description)

    async def not_found(request: Request, problem: Exception) -> Response:
        status = getattr(problem, "status_code", 404)
        return error(status, f"no {request.method} {request.url.path[:200]}: see /api/docs")

    async def failed(request: Request, problem: Exception) -> Response:
        return error(500, f"{type(problem).__name__}: {problem}")

    routes: list[Any] = [
        Route("/", page),
        Route("/api/docs", docs),
        Route("/api/openapi.json", openapi),
        *(route(endpoint, workbench) for endpoint in endpoints),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers: dict[Any, Any] = {404: not_found, 405: not_found, Exception: failed}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, hosts=hosts, token=token, origins=origins)


class _Uvicorn(uvicorn.Server):
    """Signals are the command line's, not uvicorn's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """A listening HTTP side. `close` ends it."""

    def __init__(self, uvicorn_server: _Uvicorn, address: tuple[str, int], token: str | None) -> None:
        self._uvicorn = uvicorn_server
        self.address = address
        self.token = token
        self.task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the page is, with its token if there is one."""
        host, port = self.address
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{port}/" + (f"?token={self.token}" if self.token else "")

    async def started(self) -> None:
        """Wait until requests are answered."""
        await self._uvicorn.ready.wait()

    async def close(self) -> None:
        """End all requests and stop listening."""
        self._uvicorn.should_exit = True
        self._uvicorn.force_exit = True
        if self.task is not None:
            await asyncio.wait((self.task,), timeout=5)


async def serve_http(
    server: Server,
    host: str,
    port: int,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
) -> HttpServer:
    """Listen (port 0: any free one) until closed or the server is killed; the address is in `server.addresses["http"]`.

    Beyond loopback a token is needed: without one, one is drawn. Raises SettingsError.
    """
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
        listener.setblocking(False)
    except (OSError, OverflowError) as problem:
        listener.close()
        text = getattr(problem, "strerror", None) or str(problem)
        raise SettingsError(f"cannot listen on {host} port {port} (--http-port, 0 for any free one): {text}") from None
    app = create_app(server, token=token, hosts=(*hosts, host), origins=origins)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=65536,
        http=Peer.of(server.admission, server.settings.http_request_seconds_max),
    )
    address = listener.getsockname()[:2]
    running = HttpServer(_Uvicorn(config), (address[0], address[1]), token)
    running.task = server.scheduler.spawn(Actor("http", doing=running.url), _serve(running, listener))
    async with asyncio.timeout(START_SECONDS_MAX):
        await running.started()
    server.addresses["http"] = running.address
    return running


async def _serve(running: HttpServer, listener: socket.socket) -> None:
    try:
        await running._uvicorn.serve(sockets=[listener])
    finally:
        listener.close()
