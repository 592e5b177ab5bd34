from __future__ import annotations

import base64

import httpx
import pytest

from emulator.server import Server
from harness.http.app import create_app
from harness.http.security import is_loopback


async def ask(
    server: Server, path: str = "/api/server", *, method: str = "GET", token: str | None = None, **headers: str
):  # type: ignore[no-untyped-def]
    transport = httpx.ASGITransport(app=create_app(server, token=token, hosts=("mail.lab",)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8025", 200),
        ("[::1]:8025", 200),
        ("mail.lab", 200),
        ("evil.example", 421),
        ("", 421),
    ],
)
async def test_host(server: Server, host: str, status: int) -> None:
    assert (await ask(server, host=host)).status_code == status


async def test_a_page_from_elsewhere_cannot_write(server: Server) -> None:
    assert (await ask(server, "/api/v1/messages", method="DELETE", origin="http://evil.example")).status_code == 403
    assert (await ask(server, "/api/jam", method="DELETE", sec_fetch_site="cross-site")).status_code == 403
    for other in ("http://localhost:3000", "http://127.0.0.1", "null", "http://localhost:x", "file://"):
        assert (await ask(server, "/api/v1/messages", method="DELETE", origin=other)).status_code == 403, other
    assert (await ask(server, "/api/v1/messages", method="DELETE", origin="http://localhost")).status_code == 200


async def test_token(server: Server) -> None:
    assert (await ask(server, token="t0k")).status_code == 401
    assert (await ask(server, token="t0k", authorization="Bearer wrong")).status_code == 401
    assert (await ask(server, token="t0k", authorization="Bearer t0k")).status_code == 200
    for credentials, status in (("anybody:t0k", 200), ("t0k:", 401), ("anybody:wrong", 401)):
        basic = "Basic " + base64.b64encode(credentials.encode()).decode()
        assert (await ask(server, token="t0k", authorization=basic)).status_code == status
    assert (await ask(server, token="t0k", authorization="Basic ///")).status_code == 401
    assert (await ask(server, "/api/server?token=t0k", token="t0k")).status_code == 200
    assert (await ask(server, token="t0k", cookie="mailjam_token=t0k", host="anything.example")).status_code == 200
    assert (await ask(server, "/livez", token="t0k")).status_code == 200
    moved = await ask(server, "/?token=t0k", token="t0k")
    assert moved.status_code == 303
    assert "HttpOnly" in moved.headers["set-cookie"]


async def test_headers_of_the_page(server: Server) -> None:
    answer = await ask(server, "/")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "127.1.2.3", "[::1]", "app.localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "10.0.0.1", "localhost.evil.example", "0.0.0.0"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/api/nothing", "/api/v1/message/..%2f"]
)
async def test_paths_from_a_peer_reach_nothing(server: Server, path: str) -> None:
    assert (await ask(server, path)).status_code == 404


async def test_pages_of_chosen_origins_may_use_the_api(server: Server) -> None:
    shop = "http://localhost:3000"
    transport = httpx.ASGITransport(app=create_app(server, origins=(shop + "/",)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        asked = {"Origin": shop, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a"}
        preflight = await client.options("/api/v1/messages", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == shop
        assert preflight.headers["access-control-allow-headers"] == "x-a"
        answer = await client.delete("/api/v1/messages", headers={"Origin": shop, "Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == shop
        assert "Origin" in answer.headers["vary"]
        other = {"Origin": "http://localhost:3001"}
        assert (await client.delete("/api/v1/messages", headers={**other, "Host": "x.localhost"})).status_code == 403
        assert "access-control-allow-origin" not in (await client.get("/api/v1/messages", headers=other)).headers
        assert (await client.get("/api/v1/messages", headers={"Origin": shop, "Host": "evil"})).status_code == 421
