"""The live page in a real Chromium; screenshots are kept as artefacts below `artefacts/`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.server import Server
from harness.http.app import serve_http
from harness.workbench import Workbench
from protocols.ports import Target

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
ARTEFACTS = Path(__file__).parents[2] / "artefacts"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions"),
)
HTML = (
    b"From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r\nTo: alice@example.com\r\nSubject: Confirm your account\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html\r\n\r\n"
    b"<h1>Welcome</h1><script>parent.document.title='owned'</script><img src='http://127.0.0.1:9/x.png'>"
    b"<p>Your code is 493817. <a href='https://shop.test/confirm'>Confirm</a></p>\r\n--m\r\n"
    b"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=terms.pdf\r\n\r\n%PDF\r\n--m--\r\n"
)


@pytest.fixture
async def server(start_server: Callable[..., Awaitable[Server]]) -> Server:
    return await start_server(users=["alice:secret"])


@pytest.fixture
async def url(server: Server) -> AsyncIterator[str]:
    http = await serve_http(server, "127.0.0.1", 0)
    yield http.url
    await http.close()


@pytest.fixture
async def page(url: str) -> AsyncIterator[Any]:
    chromium = shutil.which("chromium")
    playwright = pytest.importorskip("playwright.async_api", reason="pip install playwright")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: apt-get install chromium")
        pytest.skip("apt-get install chromium")
    async with playwright.async_playwright() as running:
        browser = await running.chromium.launch(executable_path=chromium, args=list(FLAGS))
        context = await browser.new_context(viewport={"width": 1200, "height": 760})
        opened = await context.new_page()
        opened.problems = []
        opened.on("pageerror", lambda error: opened.problems.append(str(error)))
        await opened.goto(url)
        await opened.wait_for_selector("#live.on", state="attached")
        yield opened
        assert opened.problems == []
        await context.close()
        await browser.close()


async def put(server: Server, octets: bytes, user: str = "alice") -> None:
    mailbox = await server.directory.recipient(user)
    await server.converter.put(octets, [Target(mailbox.inbox)])


async def rows(page: Any, count: int) -> None:
    """Wait until the list shows so many messages."""
    from playwright.async_api import expect

    await expect(page.locator(".row")).to_have_count(count)


async def screenshot(page: Any, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    await page.screenshot(path=str(ARTEFACTS / f"{name}.png"))


def plain(subject: str) -> bytes:
    return f"From: bob@example.org\r\nTo: alice@example.com\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()


async def test_message_comes_in_live_and_is_shown(page: Any, server: Server) -> None:
    await put(server, plain("first"))
    await put(server, HTML)
    await page.click("text=Confirm your account")
    frame = page.frame_locator("iframe")
    await frame.locator("h1", has_text="Welcome").wait_for()
    assert await page.title() == "mailjam"
    assert await page.get_attribute("iframe", "sandbox") == "allow-popups allow-popups-to-escape-sandbox"
    await screenshot(page, "inbox")
    await page.click("text=MIME & properties")
    await page.wait_for_selector("text=PR_SUBJECT")
    assert "multipart/mixed" in await page.inner_text(".tree")
    await screenshot(page, "mime-and-properties")
    await page.click("text=Links")
    await page.wait_for_selector("text=493817")
    await page.click("text=Source")
    await page.wait_for_selector("text=boundary=m")
    await page.click("text=Files (1)")
    await page.wait_for_selector("text=terms.pdf")


async def test_search_keyboard_and_delete(page: Any, server: Server) -> None:
    for number in range(3):
        await put(server, plain(f"number {number}"))
    await page.wait_for_selector("text=number 2")
    await page.keyboard.press("j")
    await page.wait_for_selector("h3:has-text('number 2')")
    await page.keyboard.press("j")
    await page.wait_for_selector("h3:has-text('number 1')")
    await page.keyboard.press("#")
    await rows(page, 2)
    await page.keyboard.press("/")
    await page.keyboard.type("subject:0")
    await rows(page, 1)
    await page.click(".row")
    await page.click("#delete")
    await page.wait_for_selector("text=Nothing matches.")


async def test_ten_thousand_messages(page: Any, server: Server) -> None:
    mailbox = await server.directory.recipient("alice")
    for begin in range(0, 10_000, 500):
        items = [(plain(f"number {begin + index}"), [Target(mailbox.inbox)]) for index in range(500)]
        await server.converter.put_all(items)
        await asyncio.sleep(0)
    await page.wait_for_selector("#count:text-is('10000')", timeout=60_000)
    await page.evaluate("document.getElementById('rows').scrollTop = 5000 * 68")
    await page.wait_for_selector("text=number 4999")
    assert await page.evaluate("document.querySelectorAll('.row').length") < 60
    longest = await page.evaluate(
        """async () => {
            const rows = document.getElementById('rows');
            let longest = 0, before = performance.now();
            for (let step = 0; step < 60; step += 1) {
                rows.scrollTop = 300000 + step * 90;
                await new Promise(requestAnimationFrame);
                const now = performance.now();
                longest = Math.max(longest, now - before);
                before = now;
            }
            return longest;
        }"""
    )
    assert longest < 500, longest


async def test_session_with_its_transcript(page: Any, server: Server) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses["smtp"])
    await reader.readline()
    writer.write(b"EHLO tester\r\n")
    await reader.readuntil(b"250 ")
    await page.click("#tab-sessions")
    await page.click("#session-list button.open")
    await page.wait_for_selector("text=C: EHLO tester")
    writer.write(b"NOOP later\r\n")
    await page.wait_for_selector("text=C: NOOP later")
    await screenshot(page, "sessions")
    await page.click("#break")
    with contextlib.suppress(ConnectionError):
        await reader.read()
    await page.wait_for_selector("#break", state="hidden")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_jam_and_release(page: Any, server: Server) -> None:
    await page.click("#tab-jam")
    await page.click("#make-jam")
    await page.wait_for_selector("#verdict.jammed")
    assert await page.locator(".box.cycle").count() == 2
    assert await page.locator("#cycle li").count() == 2
    await screenshot(page, "jam")
    await page.locator(".box", has_text="MSExchangeIMC").get_by_role("button", name="Stop", exact=True).click()
    await page.wait_for_selector(".box.pending:has-text('MSExchangeIMC')")
    await page.click("#release-jam")
    await page.wait_for_selector("#verdict.free")
    assert server.sections.cycles() == []
    await page.wait_for_selector(".box:has-text('MSExchangeIMC'):has-text('stopped')")
    await page.locator(".box", has_text="MSExchangeIMC").get_by_role("button", name="Start", exact=True).click()
    await page.wait_for_selector(".box:has-text('MSExchangeIMC'):has-text('running')")
    assert Workbench.of(server).server.states()["MSExchangeIMC"] == "running"


async def test_phone_width_and_dark(page: Any, server: Server) -> None:
    await page.set_viewport_size({"width": 380, "height": 740})
    await page.emulate_media(color_scheme="dark")
    await put(server, HTML)
    await page.click("text=Confirm your account")
    await page.wait_for_selector("iframe")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 380
    await screenshot(page, "phone-dark")


async def test_delete_all_asks_once(page: Any, server: Server) -> None:
    for number in range(3):
        await put(server, plain(f"number {number}"))
    await rows(page, 3)
    await page.click("#delete-all")
    await page.wait_for_selector("#delete-all:text-is('Delete 3?')")
    assert len(server.store.mailboxes["alice"].inbox.messages) == 3
    await page.click("#delete-all")
    await rows(page, 0)


async def test_a_tenant_is_shown_alone(page: Any, server: Server, url: str) -> None:
    await put(server, plain("ours"))
    tenant = (await Workbench.of(server).tenants.create("shop", users=["alice:secret"])).workbench.server
    await put(tenant, HTML)
    await page.goto(f"{url}?tenant=shop")
    await page.click("text=Confirm your account")
    await page.frame_locator("iframe").locator("h1", has_text="Welcome").wait_for()
    await page.click("text=MIME & properties")
    await page.wait_for_selector("text=PR_SUBJECT")
    await rows(page, 1)
    assert await page.inner_text("#tenant") == "shop"
    await put(tenant, plain("another"))
    await rows(page, 2)


async def test_api_page(page: Any, url: str) -> None:
    await page.goto(f"{url}api/docs")
    await page.wait_for_selector("text=GET /api/wait")
