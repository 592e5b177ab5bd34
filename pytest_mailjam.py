"""The pytest plugin of mailjam: fixtures for tests that send, receive and read mail and news.

Nothing of mailjam is imported before a fixture is used. Fixtures:

    mailjam            a mail server of one's own for each test (on one server per process): users, groups, messages,
                       waiting, faults, gates, clock, snapshots; checked for leaks afterwards
    mailjam_server     the server itself, for the whole session
    mailjam_settings   override it to choose settings: `{"build": "sp4", "users": ["alice:secret"]}`
    mailjam_process    a server in a process of its own, driven over HTTP
    smtpd, smtpserver  the interfaces of smtpdfix and pytest-localserver, with `mailjam_fixtures = smtpd smtpserver`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from email.message import EmailMessage

    from harness.testing.familiar import Smtpd, SmtpServer
    from harness.testing.fixture import MailJam, User
    from harness.testing.running import RunningServer

HERE = Path(__file__).resolve().parent
PACKAGES = ("protocols", "emulator", "harness")
START_SECONDS_MAX = 30


def pytest_addoption(parser: pytest.Parser) -> None:
    """Settings of the plugin."""
    parser.addini("mailjam_fixtures", "further fixtures to offer: smtpd, smtpserver", type="args", default=[])
    parser.addini("mailjam_build", "emulated build (sp4, patched, 5.5.2653.23 …)", default="")
    if (HERE / "harness" / "lockdep" / "plugin.py").exists():
        parser.getgroup("mailjam").addoption(
            "--lockdep", action="store_true", default=False, help="watch the order of asyncio locks (mailjam)"
        )


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixtures that were asked for by name."""
    asked = config.getini("mailjam_fixtures")
    for name in asked:
        if name not in _FAMILIAR:
            raise pytest.UsageError(f"mailjam_fixtures: no fixture {name!r}: there are {', '.join(_FAMILIAR)}")
        config.pluginmanager.register(_FAMILIAR[name](), f"mailjam-{name}")
    if config.getoption("--lockdep", default=False):
        _check_packages()
        config.pluginmanager.register(import_module("harness.lockdep.plugin"), "mailjam-lockdep")


def _check_packages() -> None:
    """Fail in one line where the project's own packages hide ours."""
    for name in PACKAGES:
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not any(Path(place).resolve().parent == HERE for place in places):
            where = places[0] if places else (spec.origin if spec is not None else "nowhere")
            pytest.fail(
                f"mailjam's package {name!r} is hidden by this project's own ({where}): "
                "use the fixture mailjam_process, which runs mailjam in a process of its own",
                pytrace=False,
            )


# --- in this process --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mailjam_settings() -> dict[str, Any]:
    """Override this to choose settings: any field of mailjam's Settings, and `users=["alice:secret"]`."""
    return {}


@pytest.fixture(scope="session")
def mailjam_server(mailjam_settings: dict[str, Any], pytestconfig: pytest.Config) -> Iterator[RunningServer]:
    """One server for the whole session (each worker of xdist has its own), in a thread, on any free ports."""
    _check_packages()
    from emulator.builds import UnknownBuild  # noqa: PLC0415  # nothing of ours before a fixture is used
    from emulator.config import SettingsError  # noqa: PLC0415
    from harness.testing.fixture import settings_from  # noqa: PLC0415
    from harness.testing.running import RunningServer  # noqa: PLC0415

    values = dict(mailjam_settings)
    if pytestconfig.getini("mailjam_build"):
        values.setdefault("build", pytestconfig.getini("mailjam_build"))
    try:
        running = RunningServer(settings_from(values))
        running.start()
    except (SettingsError, UnknownBuild) as error:
        pytest.fail(f"mailjam_settings: {error}", pytrace=False)
    yield running
    running.stop()


@pytest.fixture
def mailjam(mailjam_server: RunningServer) -> Iterator[MailJam]:
    """An empty mail server for this test. What the test leaves open fails it, by name."""
    from harness.testing.fixture import MailJam  # noqa: PLC0415
    from protocols.ports import NotPermitted  # noqa: PLC0415

    mine = MailJam(mailjam_server)
    try:
        mine.begin()
    except NotPermitted:
        pytest.fail("mailjam_settings: the fixture mailjam keeps mail in memory: leave `data` out", pytrace=False)
    yield mine
    leaks = mine.finish()
    if leaks:
        text = "\n".join(f"  {leak}" for leak in leaks)
        pytest.fail(f"the test left behind (mailjam.allow(…) permits it):\n{text}", pytrace=False)


@pytest.fixture
def mailjam_user(mailjam: MailJam) -> Callable[..., User]:
    """A factory of accounts: `mailjam_user()`, `mailjam_user("alice", "secret")`."""
    return mailjam.user


@pytest.fixture
def mailjam_group(mailjam: MailJam) -> Callable[..., str]:
    """A factory of newsgroups: `mailjam_group("misc.test")`."""
    return mailjam.group


@pytest.fixture
def mailjam_message(mailjam: MailJam) -> Callable[..., EmailMessage]:
    """A factory of messages: `mailjam_message("subject", "text", to="bob@example.com", attachments=[…])`."""
    return mailjam.message


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Transcripts and the wait-for graph go into the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    mine = getattr(item, "funcargs", {}).get("mailjam")
    if report.when == "call" and report.failed and mine is not None and hasattr(mine, "report"):
        report.sections.extend(mine.report())


# --- familiar names ---------------------------------------------------------------------------------------------------


class _SmtpdFixture:
    @pytest.fixture
    def smtpd(self, mailjam: MailJam) -> Smtpd:
        """As in smtpdfix: `.hostname`, `.port`, `.messages`, `.config`, and the variables SMTPD_*."""
        from harness.testing.familiar import Smtpd  # noqa: PLC0415

        return Smtpd(mailjam)


class _SmtpServerFixture:
    @pytest.fixture
    def smtpserver(self, mailjam: MailJam) -> SmtpServer:
        """As in pytest-localserver: `.addr`, `.outbox`, and `.details` of each message."""
        from harness.testing.familiar import SmtpServer  # noqa: PLC0415

        return SmtpServer(mailjam)


_FAMILIAR: dict[str, type] = {"smtpd": _SmtpdFixture, "smtpserver": _SmtpServerFixture}


# --- in a process of its own ------------------------------------------------------------------------------------------


class ProcessServer:
    """A mailjam in another process. Only HTTP crosses over: nothing of it is imported here."""

    def __init__(self, process: subprocess.Popen[str], addresses: dict[str, list[Any]]) -> None:
        self._process = process
        self._tenant = ""
        self.addresses = {name: (str(host), int(port)) for name, (host, port) in addresses.items()}
        """(host, port) of `smtp`, `pop3`, `imap`, `nntp`, `http`."""
        self.url = "http://{}:{}".format(*self.addresses["http"])

    def use_tenant(self, name: str, **body: Any) -> None:
        """Make a tenant and speak of it from now on: a system of its own, which `reset` exchanges for a fresh one."""
        self._know(self.request("POST", "/api/tenants", {"name": name, **body}))
        self._tenant = name

    def _know(self, tenant: dict[str, Any]) -> None:
        places = {name: (at["host"], at["port"]) for name, at in tenant["addresses"].items()}
        self.addresses = {"http": self.addresses["http"], **places}

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Ask the HTTP API (see /api/docs). Raises RuntimeError with the server's text."""
        if self._tenant:
            query["tenant"] = self._tenant
        url = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if body is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
        asked = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310  # ours
        try:
            with urllib.request.urlopen(asked, timeout=330) as answer:  # noqa: S310
                octets = answer.read()
                kind = answer.headers.get_content_type()
        except urllib.error.HTTPError as problem:
            text = problem.read().decode("utf-8", "replace")
            try:
                text = json.loads(text)["Error"]
            except (ValueError, KeyError, TypeError):
                pass
            raise RuntimeError(text) from None
        return json.loads(octets) if kind == "application/json" else octets

    def user(self, name: str, password: str) -> None:
        """Make an account."""
        self.request("POST", "/api/users", {"name": name, "password": password})

    def wait(self, query: str = "", timeout: float = 10.0, after: int = 0) -> dict[str, Any]:
        """Wait for a message that matches (`to:bob subject:hi`): Mailpit's summary of it. Raises RuntimeError."""
        found: dict[str, Any] = self.request("GET", "/api/wait", query=query, timeout=timeout, after=after)["message"]
        return found

    def message(self, name: str = "latest") -> dict[str, Any]:
        """A message whole, as Mailpit shows it."""
        found: dict[str, Any] = self.request("GET", f"/api/v1/message/{name}")
        return found

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Summaries of all messages, newest first."""
        found: list[dict[str, Any]] = self.request("GET", "/api/v1/messages", limit=10_000)["messages"]
        return found

    def fault(self, line: str) -> str:
        """Arm a fault: its name."""
        return str(self.request("POST", "/api/faults", {"fault": line})["id"])

    def reset(self) -> None:
        """Exchange the system for a fresh one on the same ports: nothing of it is left, jammed as it may be."""
        self._know(self.request("POST", f"/api/tenants/{self._tenant}/reset"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def start_process(settings: dict[str, Any]) -> ProcessServer:
    """Start a server in another process. Raises RuntimeError with its words."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-P", "-m", "harness.testing.process", json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
        env=environment,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        answer = json.loads(line)
    except ValueError:
        process.kill()
        process.communicate()
        raise RuntimeError(f"mailjam did not start: {line.strip() or 'it said nothing'}") from None
    if "error" in answer:
        process.communicate(timeout=10)
        raise RuntimeError(answer["error"])
    return ProcessServer(process, answer)


@pytest.fixture(scope="session")
def _mailjam_process(mailjam_settings: dict[str, Any]) -> Iterator[ProcessServer]:
    try:
        started = start_process(mailjam_settings)
        users, groups = mailjam_settings.get("users", ()), mailjam_settings.get("groups", ())
        started.use_tenant("tests", users=list(users), groups=list(groups))
    except RuntimeError as problem:
        pytest.fail(str(problem), pytrace=False)
    yield started
    started.close()


@pytest.fixture
def mailjam_process(_mailjam_process: ProcessServer) -> Iterator[ProcessServer]:
    """A server in a process of its own, emptied after each test: for projects whose packages hide mailjam's."""
    yield _mailjam_process
    _mailjam_process.reset()
