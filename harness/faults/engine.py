"""The faults of one server at work: which strike at which command, what they did, and what can be replayed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.scheduling import Waiter
from protocols.actor import Actor, current_actor
from protocols.ports import PortError, Unavailable

from .model import CONNECT, PROTOCOLS, STAGE_COMMAND, STAGE_REPLY, STAGE_STORE, Fault, FaultError, close_to
from .vocabulary import check_names

if TYPE_CHECKING:
    from emulator.server import Server
    from harness.gates import Gate, Gates

FAULTS_MAX = 1000
STRIKES_REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault struck: which, at which occasion (counted within the session), in which session of its protocol."""

    fault: str
    protocol: str
    session: int
    nth: int
    command: str
    actor: str

    def __str__(self) -> str:
        return f"{self.fault} struck {self.actor} at {self.command}"


class ActiveFault:
    """A fault that was added to a server: its count, and whoever it holds."""

    def __init__(self, name: str, fault: Fault, server: Server) -> None:
        self.name = name
        self.fault = fault
        self.seen = 0
        """Occasions so far, of the whole server."""
        self.strikes: list[Strike] = []
        self.released = False
        self.gates: list[Gate] = []
        self.section_holders: list[Any] = []
        """Tasks that hold a section for `jam`."""
        self._server = server
        self._random = Random(fault.seed)  # noqa: S311  # reproducible, not secret
        self._seen_by_session: Counter[Actor] = Counter()
        self._struck_by_session: Counter[Actor] = Counter()
        self._held: list[Waiter] = []

    @property
    def fired(self) -> int:
        """How often it struck."""
        return len(self.strikes)

    @property
    def healed(self) -> bool:
        """Whether it cannot strike any more."""
        fault = self.fault
        return fault.per == "server" and fault.times > 0 and self.fired >= fault.times and fault.one_in == 1

    @property
    def holding(self) -> int:
        """How many sessions it holds now."""
        return len(self._held) + sum(len(gate.held) for gate in self.gates)

    def occasion(self, actor: Actor, session: int, protocol: str, command: str) -> bool:
        """Count a matching command; whether the fault strikes at it."""
        fault = self.fault
        self.seen += 1
        self._seen_by_session[actor] += 1
        nth_in_session = self._seen_by_session[actor]
        nth = self.seen if fault.per == "server" else nth_in_session
        struck = len(self.strikes) if fault.per == "server" else self._struck_by_session[actor]
        if nth < fault.nth or (fault.times and struck >= fault.times):
            return False
        if fault.one_in > 1 and self._random.random() * fault.one_in >= 1:
            return False
        self._struck_by_session[actor] += 1
        if len(self.strikes) < STRIKES_REMEMBERED_MAX:
            self.strikes.append(Strike(self.name, protocol, session, nth_in_session, command, str(actor)))
        return True

    async def hold(self) -> None:
        """Stand here until released (or for the fault's own seconds)."""
        if self.released:
            return
        waiter = self._server.scheduler.waiter()
        self._held.append(waiter)
        handle = None
        if self.fault.seconds:
            handle = self._server.clock.call_later(self.fault.seconds, waiter.wake)
        try:
            await waiter
        finally:
            if handle is not None:
                handle.cancel()
            if waiter in self._held:
                self._held.remove(waiter)

    def release(self) -> None:
        """Let go whoever is held, and hold nobody any more."""
        self.released = True
        for waiter in tuple(self._held):
            waiter.wake()
        for gate in self.gates:
            gate.release()
        self.gates.clear()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.name,
            "fault": self.fault.as_dict(),
            "text": str(self.fault),
            "seen": self.seen,
            "fired": self.fired,
            "healed": self.healed,
            "holding": self.holding,
        }


class Faults:
    """All faults of one server. Added in any order; where several strike at one command, each does what it does."""

    def __init__(self, server: Server, gates: Callable[[], Gates]) -> None:
        self._server = server
        self._find_gates = gates
        self._active: dict[str, ActiveFault] = {}
        self._numbers = count(1)
        self._sessions: dict[Actor, tuple[Any, int]] = {}
        """Open sessions with their number within the protocol."""
        self._session_numbers: defaultdict[str, int] = defaultdict(int)
        self._past: list[tuple[Fault, Strike]] = []
        """What faults did that are disarmed."""
        self._stage_store_ready = False

    # --- the script ---------------------------------------------------------------------------------------------------

    def add(self, fault: Fault | str) -> ActiveFault:
        """Arm a fault, given as an object or a line of text. Raises FaultError."""
        if isinstance(fault, str):
            fault = Fault.from_text(fault)
        self.check([fault])
        active = ActiveFault(f"f{next(self._numbers)}", fault, self._server)
        self._active[active.name] = active
        if fault.stage == STAGE_STORE:
            self._prepare_store()
        return active

    def load(self, faults: Iterable[Fault]) -> list[ActiveFault]:
        """Arm the faults of a script, all or none; sessions are counted from here on. Raises FaultError."""
        script = list(faults)
        self.check(script)
        self._session_numbers.clear()
        return [self.add(fault) for fault in script]

    def check(self, script: Sequence[Fault], *, instead: bool = False) -> None:
        """Raises FaultError when one of them cannot be armed here. `instead`: of those that are armed now."""
        if len(script) + (0 if instead else len(self._active)) > FAULTS_MAX:
            raise FaultError(f"no more than {FAULTS_MAX} faults at once: clear those that are healed")
        sections = [section.name for section in self._server.sections]
        for fault in script:
            if fault.verb == "jam" and fault.section not in sections:
                raise FaultError(f"no section {fault.section!r}: {close_to(fault.section, sections)}")
            check_names(fault)

    def get(self, name: str) -> ActiveFault | None:
        """The fault of that name (`f3`)."""
        return self._active.get(name)

    def remove(self, name: str) -> bool:
        """Disarm one fault and let go whom it holds; whether there was one."""
        active = self._active.pop(name, None)
        if active is None:
            return False
        self._past.extend((active.fault, strike) for strike in active.strikes)
        active.release()
        return True

    def clear(self) -> None:
        """Disarm all; the next script starts to count from nothing."""
        for name in list(self._active):
            self.remove(name)
        self._past.clear()
        self._session_numbers.clear()

    def __iter__(self) -> Any:
        return iter(self._active.values())

    def __len__(self) -> int:
        return len(self._active)

    def unused(self) -> list[ActiveFault]:
        """Faults that never struck: in a test, a mistake."""
        return [active for active in self._active.values() if not active.fired]

    def strikes(self) -> list[Strike]:
        """All that happened, of disarmed faults too."""
        return [strike for _, strike in self._struck()]

    def recorded(self) -> list[Fault]:
        """What struck, each pinned to its occasion in its session: a script that replays exactly this run."""
        return [fault.pinned(strike.session, strike.nth) for fault, strike in self._struck()]

    def _struck(self) -> list[tuple[Fault, Strike]]:
        now = ((active.fault, strike) for active in self._active.values() for strike in active.strikes)
        return [*self._past, *now]

    # --- sessions -----------------------------------------------------------------------------------------------------

    def session_opened(self, session: Any) -> None:
        """Number the session within its protocol."""
        self._session_numbers[session.protocol] += 1
        self._sessions[session.actor] = (session, self._session_numbers[session.protocol])

    def session_closed(self, actor: Actor) -> None:
        """Forget it."""
        self._sessions.pop(actor, None)

    # --- matching -----------------------------------------------------------------------------------------------------

    def matching(self, session: Any, command: str, arguments: Any) -> list[ActiveFault]:
        """The faults (stages `command`, `reply`, points) that strike at this command; their occasions are counted."""
        found = []
        text: str | None = None
        for active in self._active.values():
            fault = active.fault
            if fault.stage == STAGE_STORE or not self._concerns(fault, session, command):
                continue
            if fault.verb == "stall-tls" and command == CONNECT and session.connection.tls:
                continue  # this occasion was before the handshake
            if fault.arguments != "*":
                text = as_text(arguments) if text is None else text
                if not fnmatchcase(text.upper(), fault.arguments.upper()):
                    continue
            if self._occasion(active, session, command):
                found.append(active)
        return found

    def stalled_handshake(self, protocol: str) -> Awaitable[None] | None:
        """What to wait for instead of the handshake on a port with TLS from the first octet; None: it may begin."""
        for active in tuple(self._active.values()):
            fault = active.fault
            if fault.verb != "stall-tls" or not fnmatchcase(CONNECT, fault.command.upper()):
                continue
            number = self._session_numbers[protocol] + 1  # the one that this connection is going to have
            right = fnmatchcase(protocol, fault.protocol) and fnmatchcase("", fault.user)
            if right and fault.session in (0, number):
                actor = Actor(protocol, number=number, doing="TLS handshake")
                if active.occasion(actor, number, protocol, CONNECT):
                    self._session_numbers[protocol] = number
                    return active.hold()
        return None

    def _concerns(self, fault: Fault, session: Any, command: str) -> bool:
        protocol = session.protocol if session.protocol in PROTOCOLS else "smtp"  # LMTP is SMTP's sister
        return (
            fnmatchcase(protocol, fault.protocol)
            and any(fnmatchcase(name, fault.command.upper()) for name in (command, command.removeprefix("UID ")))
            and fnmatchcase(session.user.lower(), fault.user.lower())
        )

    def _occasion(self, active: ActiveFault, session: Any, command: str) -> bool:
        number = self._sessions.get(session.actor, (session, 0))[1]
        if active.fault.session and active.fault.session != number:
            return False
        return active.occasion(session.actor, number, session.protocol, command)

    # --- the stage `store` --------------------------------------------------------------------------------------------

    def _prepare_store(self) -> None:
        """Stand between the front-ends and what keeps their messages; done when the first such fault is added."""
        if self._stage_store_ready:
            return
        self._stage_store_ready = True
        services = self._server.services
        services.submission = _SubmissionStage(services.submission, self)
        services.conversion = _ConversionStage(services.conversion, self)

    def detach(self) -> None:
        """Take away what `_prepare_store` put there."""
        services = self._server.services
        if isinstance(services.submission, _SubmissionStage):
            services.submission = services.submission.inner
        if isinstance(services.conversion, _ConversionStage):
            services.conversion = services.conversion.inner
        self._stage_store_ready = False

    async def at_store(self, octets: bytes) -> int:
        """What the faults of this stage do to a message; how often it is to be stored. Raises PortError."""
        copies = 1
        session, _ = self._sessions.get(current_actor.get(), (None, 0))
        if session is None:
            return copies
        command = session.actor.doing.partition(" ")[0] or "?"
        for active in tuple(self._active.values()):
            fault = active.fault
            if fault.stage != STAGE_STORE or not self._concerns(fault, session, command):
                continue
            if fault.message != "*" and not fnmatchcase(octets.decode("latin-1"), _latin(fault.message)):
                continue
            if not self._occasion(active, session, command):
                continue
            if fault.verb == "error":
                raise refusal(fault.text)
            if fault.verb == "duplicate":
                copies += 1
            else:
                await self.act(active, session)
        return copies

    # --- what needs no shaping ----------------------------------------------------------------------------------------

    async def act(self, active: ActiveFault, session: Any) -> None:
        """delay, hang, jam."""
        fault = active.fault
        if fault.verb == "delay":
            await self._server.clock.sleep(fault.seconds)
        elif fault.verb == "hang" and "." in fault.stage:
            active.gates.append(self._find_gates().hold(fault.stage, actor=session.actor.name, count=1))
        elif fault.verb == "hang":
            await active.hold()
        elif fault.verb == "jam":
            await self._jam(active)

    async def _jam(self, active: ActiveFault) -> None:
        """Have another actor ask for the section before the command does; it keeps it until released."""
        section = self._server.sections[active.fault.section]
        asked = self._server.scheduler.waiter()
        actor = Actor("fault", doing=f"{active.name} holds {section.name}")

        async def keep() -> None:
            asked.wake()  # nothing suspends between here and the place in the section's queue
            await section.enter()
            try:
                await active.hold()
            finally:
                section.leave()

        active.section_holders.append(self._server.scheduler.spawn(actor, keep()))
        await asked


def refusal(text: str) -> PortError:
    """An error of the store: each protocol words it as it does its own."""
    return Unavailable(text or "the fault script refuses this message")


def as_text(arguments: Any) -> str:
    """The arguments of a command, whatever the front-end parsed them with."""
    if isinstance(arguments, bytes):
        return arguments.decode("utf-8", "replace")
    pieces = getattr(arguments, "pieces", None)
    if isinstance(pieces, Sequence):
        return " ".join(piece.decode("utf-8", "replace") for piece in pieces if isinstance(piece, bytes))
    return str(arguments)


def _latin(pattern: str) -> str:
    return pattern.encode("utf-8").decode("latin-1")


class _SubmissionStage:
    """`protocols.ports.Submission` with faults before it."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self.inner = inner
        self._faults = faults

    async def submit(self, reverse_path: str, recipients: Sequence[str], octets: bytes, options: Any = None) -> str:
        copies = await self._faults.at_store(octets)
        for _ in range(copies - 1):
            await self.inner.submit(reverse_path, recipients, octets, options)
        return str(await self.inner.submit(reverse_path, recipients, octets, options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _ConversionStage:
    """`protocols.ports.Conversion` with faults before what is stored."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self.inner = inner
        self._faults = faults

    async def put(self, octets: bytes, targets: Sequence[Any]) -> list[Any]:
        copies = await self._faults.at_store(octets)
        for _ in range(copies - 1):
            await self.inner.put(octets, targets)
        return list(await self.inner.put(octets, targets))

    async def put_all(self, items: Sequence[tuple[bytes, Sequence[Any]]]) -> list[list[Any]]:
        again = []
        for octets, targets in items:
            again.extend([(octets, targets)] * (await self._faults.at_store(octets) - 1))
        if again:
            await self.inner.put_all(again)
        return list(await self.inner.put_all(items))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


__all__ = ["STAGE_COMMAND", "STAGE_REPLY", "ActiveFault", "Faults", "Strike", "as_text"]

Run = Callable[[], Awaitable[Any]]
