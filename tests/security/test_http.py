"""Threats to the HTTP side: what pages from elsewhere, rebound names and hostile messages may do with it."""

from __future__ import annotations

import ast
from pathlib import Path

import httpx
import pytest

import harness.http
from harness.http.app import create_app
from protocols.ports import Target

EVIL = (
    b"From: a@b.test\r\nTo: alice\r\nSubject: <img src=x onerror=alert(1)>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html\r\n\r\n<script>parent.stolen = 1</script><img src=http://192.0.2.1/pixel>"
    b"<link rel=stylesheet href=http://169.254.169.254/latest><form action=/api/v1/messages></form>\r\n"
)


@pytest.fixture
async def server(start_server):
    return await start_server(users=["alice:secret"])


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=create_app(server)), base_url="http://localhost"
    ) as client:
        yield client


async def put_evil(server) -> None:
    mailbox = await server.directory.recipient("alice")
    await server.converter.put(EVIL, [Target(mailbox.inbox)])


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "192.0.2.1", "127.0.0.1.evil.test", ""])
async def test_a_rebound_name_is_turned_away(http, host):
    answer = await http.get("/api/v1/messages", headers={"Host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8025", "[::1]:8025", "mail.localhost"])
async def test_the_machines_own_names_are_answered(http, host):
    assert (await http.get("/api/v1/messages", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_a_page_from_elsewhere_changes_nothing(http, server, headers):
    await put_evil(server)
    answer = await http.request("DELETE", "/api/v1/messages", headers=headers)
    assert answer.status_code == 403
    assert len(server.store.mailboxes["alice"].inbox.messages) == 1


async def test_a_page_from_elsewhere_reads_nothing(http):
    answer = await http.get("/api/v1/messages", headers={"Origin": "http://evil.test"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_with_a_token_nothing_is_told_without_it(server):
    app = create_app(server, token="long and secret")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        assert (await client.get("/api/v1/messages")).status_code == 401
        assert (await client.get("/api/v1/messages", headers={"Authorization": "Bearer wrong"})).status_code == 401
        answer = await client.get("/api/v1/messages", headers={"Authorization": "Bearer long and secret"})
        assert answer.status_code == 200


async def test_html_of_mail_runs_nothing_and_fetches_nothing(http, server):
    await put_evil(server)
    answer = await http.get("/view/latest.html")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "allow-scripts" not in policy
    assert "sandbox" in policy
    assert "form-action 'none'" in policy
    assert "http:" not in policy


async def test_our_own_page_takes_scripts_from_its_files_only(http):
    answer = await http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_our_own_page_builds_no_html_of_text():
    script = (Path(harness.http.__file__).parent / "static" / "app.js").read_text()
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in script


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "....//app.py", "/etc/passwd"])
async def test_files_outside_are_not_served(http, name):
    answer = await http.get(f"/static/{name}")
    assert answer.status_code in (404, 405)
    assert "create_app" not in answer.text


async def test_a_body_has_a_limit(http):
    answer = await http.post(
        "/api/v1/tags", content=b'{"x": "' + b"x" * (200 << 20) + b'"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (404, 405, 413)


def test_nothing_is_ever_fetched_by_what_a_message_says():
    """No module of the server imports an HTTP client, but the gateway that posts to the URL of its own setting."""
    allowed = {"emulator/gateways/webhook.py"}
    clients = {"urllib.request", "http.client", "httpx", "requests", "aiohttp", "urllib3", "ftplib"}
    root = Path(harness.http.__file__).parent.parent.parent
    for folder in ("protocols", "emulator", "harness/http"):
        for path in (root / folder).rglob("*.py"):
            if path.relative_to(root).as_posix() in allowed:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                assert not clients.intersection(names), path
