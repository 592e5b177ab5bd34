"""Fixtures of all tests: running servers on ports chosen by the kernel, the corpus, dialogues."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from emulator.config import Settings, front_end_with, limits_with, parse_account, parse_bearer_token
from emulator.server import Server
from harness.dialogue import Case, run_case
from protocols.ports import Target
from protocols.settings import FrontEndSettings, Limits

ROOT = Path(__file__).parent.parent
CORPUS = ROOT.parent / "shared" / "corpus"
DEFAULT = Settings(front_end=FrontEndSettings(hostname="mailjam.test"))

StartServer = Callable[..., Awaitable[Server]]

# How fast examples come says how busy the machine is, and nothing of what is tested.
hypothesis_settings.register_profile("mailjam", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("mailjam")


def corpus_files(*suffixes: str) -> list[Path]:
    """The messages of the corpus (all but the TNEF streams), in a stable order; empty where it is absent."""
    if not CORPUS.is_dir():
        return []
    return sorted(p for p in CORPUS.rglob("*") if p.is_file() and p.parent.name != "tnef" and p.name != "README.md")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """In CI everything that a test needs is installed: one that skips has not shown what it should."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def linear() -> Callable[[Callable[[int], object], int], None]:
    """`linear(work, size)` fails when four times the size takes nine times the processor time or more.

    A quadratic step makes that 16. Noise only ever adds, so the least of some runs is compared, and it has three tries.
    """

    def seconds(work: Callable[[int], object], size: int) -> float:
        before = time.process_time()
        work(size)
        return time.process_time() - before

    least_counted = 0.002
    """What takes less is taken for so much: the clock and the collector would decide."""

    def check(work: Callable[[int], object], size: int) -> None:
        most = seconds(work, size * 4)
        if most < least_counted * 9:
            return  # whatever the smaller size takes
        if most < 9 * max(min(seconds(work, size) for _ in range(3)), least_counted):
            return
        ratios = []
        for _ in range(3):
            least, most = (min(seconds(work, size * factor) for _ in range(3)) for factor in (1, 4))
            ratios.append(most / max(least, least_counted))
            if ratios[-1] < 9:
                return
        pytest.fail(f"four times the size took {', '.join(f'{ratio:.1f}' for ratio in ratios)} times as long")

    return check


@pytest.fixture(autouse=True)
def no_store_left_open() -> Iterator[None]:
    """Fails a test that leaves a durable store open: its writer's thread would go on beside all later tests."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name == "mailjam-store-writer"]
    assert not left, "this test opened a durable store and did not close it"


@pytest.fixture(scope="session")
def corpus() -> list[tuple[str, bytes]]:
    """(name, octets with CRLF line ends) of each message of the corpus."""
    files = corpus_files()
    if not files:
        pytest.skip("the corpus is not here: put it at ../shared/corpus")
    messages = []
    for path in files:
        octets = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        messages.append((f"{path.parent.name}/{path.name}", octets))
    return messages


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """Start servers: `await start_server(users=["alice:secret"], groups=["misc.test"], build="sp4", pop3_port=None)`.

    Keywords are fields of Settings; those of FrontEndSettings and Limits work too.
    """
    async with AsyncExitStack() as stack:

        async def start(users: list[str] | None = None, **fields: Any) -> Server:
            settings = settings_with(DEFAULT, fields)
            if users:
                settings = settings_with(settings, {"accounts": tuple(map(parse_account, users))})
            return await stack.enter_async_context(Server(settings))

        yield start


def settings_with(settings: Settings, fields: dict[str, Any]) -> Settings:
    """Settings with fields changed, wherever they stand."""
    from dataclasses import replace

    for name, value in fields.items():
        if name in Limits.__dataclass_fields__:
            settings = limits_with(settings, **{name: value})
        elif name in FrontEndSettings.__dataclass_fields__ and name not in Settings.__dataclass_fields__:
            settings = front_end_with(settings, **{name: value})
        else:
            settings = replace(settings, **{name: value})
    return settings


def _typed(text: str) -> Any:
    if text in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text]
    try:
        return int(text)
    except ValueError:
        return text


RunDialogue = Callable[[Case], Awaitable[None]]


@pytest.fixture
def dialogue(start_server: StartServer) -> RunDialogue:
    """Run one case of a C:/S: file (see harness/dialogue.py) against a server of its own."""

    async def run(case: Case) -> None:
        protocol = next(key for key, value in case.needs if key in ("smtp", "pop3", "imap", "nntp", "lmtp"))
        fields: dict[str, Any] = {"groups": tuple(case.values("group"))}
        if protocol == "lmtp":
            fields["lmtp_port"] = 0
        if case.values("hide"):
            fields["capabilities_hidden"] = frozenset(case.values("hide"))
        if case.values("token"):
            fields["bearer_tokens"] = tuple(map(parse_bearer_token, case.values("token")))
        for value in case.values("set"):
            name, _, text = value.partition(" ")
            fields[name] = _typed(text.strip())
        server = await start_server(users=case.values("user"), **fields)
        for value in case.values("message"):
            await put_message(server, value)
        host, port = server.addresses[protocol]
        await run_case(case, lambda: asyncio.open_connection(host, port))

    return run


async def put_message(server: Server, value: str) -> None:
    """`alice`, `alice/Folder` or a newsgroup's name, and behind it the lines of a message."""
    where, _, text = value.partition("\n")
    octets = text.replace("\n", "\r\n").encode() + b"\r\n"
    if where in server.store.newsgroups:
        folder = server.store.newsgroups[where]
    else:
        user, _, name = where.partition("/")
        mailbox = await server.directory.recipient(user)
        folder = mailbox.folders.get(name or "INBOX") or await server.store.create_folder(mailbox, name)
    await server.converter.put(octets, [Target(folder)])
