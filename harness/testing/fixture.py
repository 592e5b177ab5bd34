"""What the fixture `mailjam` is: one test's view of a running server, emptied before the test and checked after it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from emulator.certificates import authority
from emulator.config import Settings, SettingsError, front_end_with, limits_with, parse_account
from harness.faults import Fault
from harness.faults.model import write_script
from harness.faults.vocabulary import check_point
from protocols.ports import Target
from protocols.settings import FrontEndSettings, Limits

from .archive import Entry
from .handles import FaultHandle, Held, TestClock, later
from .near_misses import near_misses, state_lines
from .running import RunningServer
from .snapshot_view import jam
from .system import Address, Addresses, System
from .transcripts import Transcript
from .view import MessageView

SESSIONS_REPORTED_MAX = 20
EAGER_TURNS = 5
"""So many turns of the loop are waited for before it is let sleep."""
GRACE_SECONDS = 1.0
"""How long sessions may take to end after the test."""
TASKS_KEPT = ("inbound", "notification", "fault", "http")
"""Names of tasks that are none of a test's own begin so."""
Predicate = Callable[[MessageView], bool]


class NotArrived(AssertionError, TimeoutError):
    """The awaited message did not come; the text shows what came instead and what was said."""


def _arrived(answer: MessageView | NotArrived) -> MessageView:
    __tracebackhide__ = True
    if isinstance(answer, NotArrived):
        raise answer
    return answer


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a mailbox."""

    name: str
    address: str
    password: str


def settings_from(values: dict[str, Any]) -> Settings:
    """Settings from the fixture `mailjam_settings`: fields of Settings and what is inside it, `users`, `groups`.

    Raises SettingsError.
    """
    settings = Settings(front_end=FrontEndSettings(hostname="mailjam.test"))
    for name, value in values.items():
        if name == "users":
            accounts = tuple(parse_account(text) for text in value)
            settings = _replaced(settings, "accounts", accounts)
        elif name in Limits.__dataclass_fields__:
            settings = limits_with(settings, **{name: value})
        elif name in FrontEndSettings.__dataclass_fields__ and name not in Settings.__dataclass_fields__:
            settings = front_end_with(settings, **{name: value})
        elif name in Settings.__dataclass_fields__:
            settings = _replaced(settings, name, tuple(value) if isinstance(value, list) else value)
        else:
            raise SettingsError(f"mailjam_settings: no setting {name!r}")
    return settings


def _replaced(settings: Settings, name: str, value: Any) -> Settings:
    from dataclasses import replace  # noqa: PLC0415  # the name is short and used here alone

    return replace(settings, **{name: value})


class MailJam(Addresses):
    """The fixture: a mail system of the test's own. Blocking methods may be called from tests of any kind.

    Those that are awaited (from asyncio or trio) say so.
    """

    def __init__(self, running: RunningServer) -> None:
        """It is usable from `begin` to `finish`."""
        self._server = running
        self._system: System
        self._beside: list[MailJam] = []
        self.clock: TestClock
        self._cursor = 0
        self._session_cursor = 0
        self._taken: set[int] = set()
        self._allowed: set[str] = set()
        self._tasks: frozenset[Any] = frozenset()

    # --- where --------------------------------------------------------------------------------------------------------

    @property
    def server(self) -> Any:
        """The running `emulator.server.Server`; it lives on another thread's event loop: use `run`."""
        return self._system.server

    @property
    def workbench(self) -> Any:
        """What watches and disturbs the server: `harness.workbench.Workbench`."""
        return self._system.workbench

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A client's context that trusts this server: `client.starttls(context=mailjam.ssl_context)`."""
        return authority(self._system.settings.tls_directory).client_context()

    def address(self, protocol: str) -> Address:
        """(host, port) of `smtp`, `imaps` and so on; `mailjam.smtp` is short for it. Raises LookupError."""
        return self._system.address(protocol)

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop, blocking."""
        return self._system.call(coroutine)

    # --- further systems ----------------------------------------------------------------------------------------------

    def tenant(self) -> MailJam:
        """Another system for this test, with ports of its own: nothing of the one is seen in the other."""
        return self._another(self._server.lease())

    def fork(self) -> MailJam:
        """A copy of this system that goes its own way: mailboxes, newsgroups, UIDs, flags, accounts."""
        return self._another(self._server.fork(self._system))

    def _another(self, system: System) -> MailJam:
        other = MailJam(self._server)
        other._begin(system)
        self._beside.append(other)
        return other

    # --- factories ----------------------------------------------------------------------------------------------------

    def user(self, name: str = "", password: str = "") -> User:
        """Make an account with a mailbox; without a name, one that no other test has."""
        name = name or f"user-{secrets.token_hex(4)}"
        password = password or secrets.token_urlsafe(9)
        self._system.call(self._system.server.directory.add_user(name, password))
        return User(name, name if "@" in name else f"{name}@example.com", password)

    def group(self, name: str = "", *, description: str = "", posting: str = "y") -> str:
        """Make a newsgroup: its name."""
        name = name or f"test.group-{secrets.token_hex(4)}"
        self._system.call(self._system.server.store.create_newsgroup(name, description=description, posting=posting))
        return name

    def message(
        self,
        subject: str = "test",
        text: str = "hello",
        *,
        html: str = "",
        sender: str = "sender@example.org",
        to: str = "alice@example.com",
        attachments: Sequence[tuple[str, bytes]] = (),
        **headers: str,
    ) -> EmailMessage:
        """Build a message; header fields as keywords (`list_id="x"`)."""
        made = EmailMessage()
        made["From"], made["To"], made["Subject"] = sender, to, subject
        for name, value in headers.items():
            made[name.replace("_", "-").title()] = value
        made.set_content(text)
        if html:
            made.add_alternative(html, subtype="html")
        for filename, content in attachments:
            made.add_attachment(content, maintype="application", subtype="octet-stream", filename=filename)
        return made

    def put(self, message: EmailMessage | bytes | str, *places: str, flags: Sequence[str] = ()) -> list[int]:
        """Put a message straight into `alice`, `alice/Sent` or a newsgroup, without SMTP: its UIDs."""
        if isinstance(message, EmailMessage):
            octets = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
        else:
            octets = message.encode() if isinstance(message, str) else message
            octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

        async def put_into() -> list[int]:
            bench = self._system.workbench
            targets = [Target(await bench.folder(place), frozenset(flags)) for place in places]
            return [each.uid for each in await self._system.server.converter.put(octets, targets)]

        return self._system.call(put_into())

    # --- messages -----------------------------------------------------------------------------------------------------

    @property
    def messages(self) -> list[MessageView]:
        """All that came in during this test, oldest first; what was acknowledged is waited for."""
        return self._system.call(self._messages())

    async def _messages(self) -> list[MessageView]:
        await self._settle(5.0)
        archive = self._system.workbench.archive
        return [await archive.view(entry) for entry in archive.since(self._cursor) if entry.messages]

    async def _settle(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._system.server.inbound.settled()
                await asyncio.sleep(0)  # what was delivered last is shown after its reply
        except TimeoutError:
            pass

    def wait(
        self,
        *,
        to: str = "",
        sender: str = "",
        subject: str = "",
        text: str = "",
        predicate: Predicate | None = None,
        timeout: float = 10.0,
    ) -> MessageView:
        """The next message that matches and was not returned before, blocking. Raises NotArrived.

        `to` is any recipient (of the envelope too), `sender` an address; all are compared as parts, in any case.
        """
        __tracebackhide__ = True  # what went wrong is in the message, and not in here
        waiting = self._wait(to, sender, subject, text, predicate, timeout)
        return _arrived(self._system.call(waiting, timeout + 30))

    async def wait_for(
        self,
        *,
        to: str = "",
        sender: str = "",
        subject: str = "",
        text: str = "",
        predicate: Predicate | None = None,
        timeout: float = 10.0,
    ) -> MessageView:
        """As `wait`, to await."""
        __tracebackhide__ = True
        return _arrived(await self._system.acall(self._wait(to, sender, subject, text, predicate, timeout)))

    async def _wait(
        self, to: str, sender: str, subject: str, text: str, predicate: Predicate | None, timeout: float
    ) -> MessageView | NotArrived:
        def misfits(entry: Entry, view: MessageView) -> list[str]:
            wrong = []
            everybody = [*view.recipients, *(c.address for c in (*view.to, *view.cc, *view.bcc))]
            if to and not any(to.lower() in address.lower() for address in everybody):
                wrong.append(f"to {', '.join(dict.fromkeys(everybody))}")
            if sender and sender.lower() not in f"{view.sender} {view.return_path}".lower():
                wrong.append(f"from {view.sender}")
            if subject and subject.lower() not in view.subject.lower():
                wrong.append(f"subject {view.subject!r}")
            if text and text.lower() not in view.text.lower():
                wrong.append(f"text begins {view.text[:60]!r}")
            if not wrong and predicate is not None and not predicate(view):
                wrong.append("the predicate says no")
            return wrong

        bench = self._system.workbench
        entry = await bench.archive.wait(
            lambda entry, view: not misfits(entry, view), taken=self._taken, after=self._cursor, seconds_max=timeout
        )
        if entry is not None:
            return await bench.archive.view(entry)
        named = {"to": to, "sender": sender, "subject": subject, "text": text}
        wanted = ", ".join(f"{key}={value!r}" for key, value in named.items() if value) or "any message"
        if predicate is not None:
            wanted += " and the predicate"
        cursors = {"after": self._cursor, "sessions_after": self._session_cursor}
        return NotArrived(await near_misses(bench, wanted, timeout, misfits=misfits, **cursors))

    # --- disturbing ---------------------------------------------------------------------------------------------------

    def fault(self, fault: Fault | str, **settings: Any) -> FaultHandle:
        """Arm a fault: an object, a line (`error command=RCPT nth=2`), or a verb with keywords. Raises FaultError."""
        if isinstance(fault, str):
            fault = Fault.from_dict({"verb": fault, **settings}) if settings else Fault.from_text(fault)
        active = self._system.call(later(self._system.workbench.faults.add, fault))
        return FaultHandle(self._system, active)

    def recorded_faults(self) -> list[Fault]:
        """What struck in this test, pinned: a script that replays it."""
        recorded: list[Fault] = self._system.call(later(self._system.workbench.faults.recorded))
        return recorded

    def hold(self, point: str, *, actor: str = "*", count: int | None = None) -> Held:
        """Hold actors at a named point (`inbound.imail.held`). Raises FaultError for one that no actor reaches."""
        check_point(point)
        gate = self._system.call(later(lambda: self._system.workbench.gates.hold(point, actor=actor, count=count)))
        return Held(self._system, gate)

    def set_build(self, build: str) -> None:
        """Exchange the emulated build for this test (`sp4`, `5.5.2653.23`). Raises UnknownBuild."""
        self._system.call(later(self._system.workbench.set_build, build))

    def jam(self) -> dict[str, Any]:
        """Sections, waits, cycles, queues and services now."""
        state: dict[str, Any] = self._system.call(later(jam, self._system.server))
        return state

    def snapshot(self, name: str = "") -> str:
        """Remember the store: the snapshot's name."""
        return str(self._system.call(later(self._system.workbench.snapshots.take, name)).name)

    def restore(self, name: str) -> None:
        """Make the store what it was. Raises NotPermitted."""
        self._system.call(later(self._system.workbench.snapshots.restore, name))

    def trick(self, trick: str, **settings: Any) -> Any:
        """`bump-uidvalidity`, `expunge`, `quota`, `internaldate`, `renumber`: `folder="alice/INBOX"` and more."""
        return self._system.call(self._system.workbench.tricks.do(trick, settings))

    @property
    def transcripts(self) -> list[Transcript]:
        """The sessions of this test, oldest first."""
        return self._system.workbench.transcripts.since(self._session_cursor)

    def allow(self, *leaks: str) -> None:
        """Leaks that this test means to leave: `sessions`, `sections`, `faults`, `tasks`."""
        unknown = set(leaks) - {"sessions", "sections", "faults", "tasks"}
        if unknown:
            raise ValueError(f"no leak {sorted(unknown)[0]!r}: there are sessions, sections, faults, tasks")
        self._allowed.update(leaks)

    # --- for the plugin -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Before the test: lease a system that nobody else uses. Raises NotPermitted for a durable store."""
        self._begin(self._server.lease())

    def _begin(self, system: System) -> None:
        self._system = system
        self.clock = TestClock(system)
        self._taken.clear()
        self._allowed.clear()
        self._cursor, self._session_cursor, self._tasks = system.cursors()

    def finish(self) -> list[str]:
        """After the test: what leaked, in words. The system is given back; the next test finds nothing of this one."""
        leaks = [leak for beside in self._beside for leak in beside.finish()]
        try:
            return leaks if self._system.is_untouched else self._system.call(self._finish()) + leaks
        finally:
            self._server.give_back(self._system)
            self._beside.clear()

    async def _finish(self) -> list[str]:
        server = self._system.server
        await self._sessions_end()
        if server.inbound.awaiting_conversion and not server.sections.waits():
            await self._settle(GRACE_SECONDS)
        if "sections" not in self._allowed and not server.sections.cycles():  # the notification thread may be at work
            await self._until(lambda: all(section.owner is None for section in server.sections), GRACE_SECONDS)
        return self._leaks()

    async def _sessions_end(self) -> None:
        if "sessions" not in self._allowed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):
                    await self._system.workbench.transcripts.all_ended()
            await self._until(lambda: not self._tasks_left(), GRACE_SECONDS)

    @staticmethod
    async def _until(condition: Callable[[], bool], seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        # The conditions look at many objects, and this ends a test: it does not wait for one. Most come true when the
        # loop has turned once or twice.
        turns = 0
        while not condition() and asyncio.get_running_loop().time() < deadline:
            turns += 1
            await asyncio.sleep(0 if turns <= EAGER_TURNS else 0.002)

    def _leaks(self) -> list[str]:
        server, bench = self._system.server, self._system.workbench
        found = []
        if "sessions" not in self._allowed:
            found += [f"session still open: {t.actor} from {t.peer}" for t in bench.transcripts.open()]
        if "sections" not in self._allowed:
            found += [f"section held: {s.name} by {s.owner}" for s in server.sections if s.owner is not None]
        if "faults" not in self._allowed:
            found += [f"fault never struck: {active.fault}" for active in bench.faults.unused()]
        found += [f"task still runs: {name}" for name in self._tasks_left()]
        found += [f"defect of mailjam in {name}: {error!r}" for name, error in server.scheduler.failures]
        return found

    def _tasks_left(self) -> list[str]:
        """Tasks that the test began, as far as they are nobody's session that is open."""
        if "tasks" in self._allowed or "sessions" in self._allowed:
            return []
        server, bench = self._system.server, self._system.workbench
        sessions = {transcript.actor.name for transcript in bench.transcripts.open()}
        names = sorted(task.get_name() for task in server.scheduler.tasks - self._tasks if not task.done())
        return [name for name in names if name not in sessions and not name.startswith(TASKS_KEPT)]

    def report(self) -> list[tuple[str, str]]:
        """Titles and texts for the report of a failed test."""
        return self._system.call(self._report())

    async def _report(self) -> list[tuple[str, str]]:
        bench = self._system.workbench
        found = []
        for one in bench.transcripts.since(self._session_cursor)[-SESSIONS_REPORTED_MAX:]:
            said = "\n".join(f"  {line}" for line in one.brief())
            found.append((f"mailjam session {one.actor} from {one.peer}", said))
        state = state_lines(bench)
        if state:
            found.append(("mailjam wait-for graph, queues and services", "\n".join(state)))
        strikes = [str(strike) for strike in bench.faults.strikes()]
        if strikes:
            script = write_script(bench.faults.recorded())
            found.append(("mailjam faults, and the script that replays them", "\n".join([*strikes, "", script])))
        return found
