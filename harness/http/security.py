"""Who may ask: the host and origin of a request, the token, and what a browser is allowed to do with our answers."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "mailjam_token"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PORTS = {"http": 80, "https": 443}
OPEN_PATHS = frozenset({"/livez"})
"""Answered without a token: a container's probe has none."""


def is_loopback(host: str) -> bool:
    """Whether a host names this machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(value: str) -> str:
    """The host of a Host field or an origin, without port; empty when it has none."""
    try:
        return urlsplit(value if "//" in value else f"//{value}").hostname or ""
    except ValueError:
        return ""


def origin_of(value: str) -> tuple[str, str, int]:
    """Scheme, host and port of an origin (RFC 6454 section 4); empty where it is none, as `null`."""
    try:
        parts = urlsplit(value)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "", "", 0


class Guard:
    """ASGI middleware: 421 for a foreign Host (DNS rebinding), 403 for a foreign Origin, 401 without the token."""

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str] = (), token: str | None = None, origins: Iterable[str] = ()
    ) -> None:
        """`hosts`: names beside the loopback's by which the server may be called; none are asked for with a token.

        `origins`: whose pages may ask and read the answers (`http://localhost:3000`; `*`: anybody's), as the Fetch
        standard's CORS protocol lets them. No cookie counts there: with a token, they have to send it.
        """
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        shared = self._shared_with(scope)
        if shared and scope["method"] == "OPTIONS":
            await _preflight(scope, shared)(scope, receive, send)
            return
        refusal = self._refusal(scope, shared)
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
                headers.setdefault("X-Frame-Options", "DENY")
                headers.setdefault("Cross-Origin-Resource-Policy", "cross-origin" if shared else "same-origin")
                if shared:
                    headers["Access-Control-Allow-Origin"] = shared
                    headers.add_vary_header("Origin")
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _shared_with(self, scope: Scope) -> str:
        """The origin of the page that asks, if it is one of those that may; or nothing."""
        origin = Headers(scope=scope).get("origin", "") if self._origins else ""
        return origin if origin and ("*" in self._origins or origin.lower() in self._origins) else ""

    def _refusal(self, scope: Scope, shared: str) -> Response | None:
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if not self._token and not (is_loopback(host) or host in self._hosts):
            return PlainTextResponse(
                f"this server is called localhost, not {host[:80]!r}: name it with --http-host, or set --http-token\n",
                status_code=421,
            )
        origin = headers.get("origin")
        # Another server on this machine is another origin, but the same site: hosts alone do not tell them apart.
        foreign = origin is not None and not _is_ours(origin, scope, headers)
        foreign = foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign and not shared and scope["method"] not in ("GET", "HEAD"):
            text = "a page from elsewhere may not do this: allow it with --http-cors ORIGIN\n"
            return PlainTextResponse(text, status_code=403)
        if self._token and scope["path"] not in OPEN_PATHS:
            return self._ask_token(scope, headers)
        return None

    def _ask_token(self, scope: Scope, headers: Headers) -> Response | None:
        assert self._token is not None
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if given and self._right(given):
            if scope["method"] == "GET" and scope["path"] == "/":  # from here on the cookie does it
                response = RedirectResponse("/", status_code=303)
                response.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
                return response
            return None
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._right(value.strip()):
            return None
        if kind.lower() == "basic" and self._right(_basic_password(value)):
            return None
        if self._right(_cookie(headers)):
            return None
        return PlainTextResponse(
            "a token is needed: Authorization: Bearer …, as the password of Basic, or open /?token=…\n",
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _right(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _is_ours(origin: str, scope: Scope, headers: Headers) -> bool:
    """Whether a page of this origin came from the address that the request was sent to.

    The scheme is not compared: a proxy that ends TLS in front of us asks in the clear for pages of `https`.
    """
    scheme, host, port = origin_of(origin)
    asked = headers.get("host", "")
    return bool(host) and (host, port) == origin_of(f"{scheme}://{asked}")[1:]


def _preflight(scope: Scope, origin: str) -> Response:
    """What a browser asks before it lets a page of another origin do more than read."""
    asked = Headers(scope=scope).get("access-control-request-headers", "")
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
            "Access-Control-Allow-Headers": asked or "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
            "Vary": "Origin, Access-Control-Request-Headers",
        },
    )


def _basic_password(value: str) -> str:
    """The password of RFC 7617 credentials: clients of Mailpit have no other way to show a token."""
    try:
        return base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
    except ValueError:
        return ""


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""
