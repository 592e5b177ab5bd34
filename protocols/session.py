"""The one control loop: input → command → handler → replies → one write per batch (POP3, IMAP4, NNTP).

A subclass says how its commands are cut and how refusals read; the order of things stands here once. One task drives
one session; `run` asserts that it is not entered twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from .actor import Actor, current_actor
from .ports import Connection, ConnectionLost, DeadlinePassed, PortError, Services, SessionClosed, SessionOpened
from .reader import InputTooLong
from .registry import Command, Registry, SyntaxProblem
from .reply import Reply

S = TypeVar("S", bound="Session[Any]")

TURN_COMMANDS_MAX = 256
"""After so many commands that were there at once the batch is sent, and others have their turn."""

Observer = Callable[["Session[Any]", str, Any], Any]


class Session(Generic[S]):
    """One dialogue with one peer."""

    protocol: ClassVar[str] = "?"
    commands: ClassVar[Registry[Any]]

    def __init__(self, connection: Connection, services: Services, actor: Actor | None = None) -> None:
        self.connection = connection
        self.services = services
        self.settings = services.settings
        self.limits = services.settings.limits
        self.actor = actor or Actor(self.protocol)
        self.state: Any = None
        self.closing = False
        self.how_ended = ""
        self.user = ""
        self.command_count = 0
        self.octets_sent = 0
        self.bad_commands = 0
        self.login_failures = 0
        self._started = services.clock.monotonic()
        self._incomplete_since: float | None = None
        self._out: list[bytes] = []
        self._out_octets = 0
        self._running = False
        self.shutdown_requested = False

    # --- what a front-end defines -------------------------------------------------------------------------------------

    def greeting(self) -> Reply:
        """What is said first."""
        raise NotImplementedError

    def next_input(self) -> Any:
        """Cut the next command from the connection's buffer; None: not there whole. May raise InputTooLong."""
        raise NotImplementedError

    async def handle_input(self, item: Any) -> None:
        """Do what `next_input` cut; most front-ends end in `execute`."""
        raise NotImplementedError

    def unknown_command(self, verb: bytes) -> Reply:
        raise NotImplementedError

    def is_withheld(self, command: Command[Any]) -> bool:
        """Whether a command that belongs to a capability is treated as unknown."""
        return command.capability in self.settings.capabilities_hidden

    def wrong_state(self, command: Command[Any]) -> Reply:
        raise NotImplementedError

    def bad_syntax(self, command: Command[Any], problem: SyntaxProblem) -> Reply:
        raise NotImplementedError

    def failure(self, command: Command[Any], error: PortError) -> Reply:
        """How an error of a port reads in this protocol."""
        raise NotImplementedError

    def too_long(self, problem: InputTooLong) -> Reply:
        raise NotImplementedError

    def farewell(self, why: str) -> Reply:
        """What is said before the server closes of its own accord: `deadline`, `too many errors`, `shutdown`."""
        return b""

    def idle_seconds_max(self) -> float:
        return self.limits.idle_seconds_max

    async def on_attention(self) -> None:
        """The session was poked, or woke between commands: a front-end may send what happened meanwhile."""

    async def before_reply(self, reply: Reply) -> Reply:
        """A command is done: a front-end may send what has to stand before its last line. Returns what is left."""
        return reply

    async def on_close(self) -> None:
        """The dialogue is over, however it ended: give back locks and listeners. Must not raise."""

    # --- output -------------------------------------------------------------------------------------------------------

    def send(self, reply: Reply) -> None:
        """Add a reply to the batch."""
        if not reply:
            return
        if isinstance(reply, bytes):
            self._out.append(reply)
            self._out_octets += len(reply)
        else:
            self._out.extend(reply)
            self._out_octets += sum(map(len, reply))

    async def flush(self) -> None:
        """Write the batch, in one piece, and wait until the peer has room for more."""
        if self._out:
            pieces, self._out = self._out, []
            self.octets_sent += self._out_octets
            self._out_octets = 0
            self.connection.write(pieces)
        await self.connection.drain()

    async def flush_when_large(self) -> None:
        """Write the batch if it has grown past `output_batch_bytes_max`: long replies call this as they go."""
        if self._out_octets > self.limits.output_batch_bytes_max:
            await self.flush()

    # --- input inside a command --------------------------------------------------------------------------------------

    async def more_inside(self) -> None:
        """Send what is there and wait for more of the command at hand. Raises ConnectionLost, DeadlinePassed."""
        await self.flush()
        if self.shutdown_requested:
            self.send(self.farewell("shutdown"))
            self._write_rest()
            self.how_ended = "shutdown"
            raise ConnectionLost
        if not await self.connection.more(self._seconds_to_wait_for_input()):
            self.how_ended = "peer closed"
            raise ConnectionLost

    async def continuation_line(self, line_bytes_max: int) -> bytes:
        """A further line of the command at hand, such as a SASL response; what was sent so far is flushed.

        Raises InputTooLong, ConnectionLost, DeadlinePassed.
        """
        while (line := self.connection.buffer.line(line_bytes_max)) is None:
            await self.more_inside()
        return line

    async def continuation_block(self, block_bytes_max: int) -> bytes:
        """A dot-terminated block that belongs to the command at hand, unstuffed. Raises as `continuation_line` does."""
        while (block := self.connection.buffer.dot_block(block_bytes_max)) is None:
            await self.more_inside()
        return block

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive the dialogue to its end."""
        assert not self._running, "a session is driven by one task"
        self._running = True
        token = current_actor.set(self.actor)
        events = self.services.events
        events.publish(SessionOpened(self.protocol, self.actor, self.connection.peer))
        monitor = self.services.monitor
        try:
            if monitor is None:
                self.send(self.greeting())
            else:
                monitor.session_opened(self)
                self.send(await monitor.around(self, "CONNECT", b"", self._greet))
            await self._loop()
        except DeadlinePassed:
            self.how_ended = "deadline"
            self.send(self.farewell("deadline"))
            self._write_rest()
        except ConnectionLost:
            self.how_ended = self.how_ended or "peer vanished"
        finally:
            await self.on_close()
            self.connection.close()
            current_actor.reset(token)
            seconds = self.services.clock.monotonic() - self._started
            events.publish(
                SessionClosed(
                    self.protocol,
                    self.actor,
                    self.connection.peer,
                    seconds,
                    self.command_count,
                    self.octets_sent,
                    self.how_ended or "closed",
                )
            )

    async def _greet(self) -> Reply:
        return self.greeting()

    async def _loop(self) -> None:
        connection = self.connection
        while not self.closing:
            if self.shutdown_requested:
                self.send(self.farewell("shutdown"))
                self.end("shutdown")
                break
            try:
                item = self.next_input()
            except InputTooLong as problem:
                self.send(self.too_long(problem))
                self.count_bad_command()
                continue
            if item is not None:
                self._incomplete_since = None
                self.command_count += 1
                await self.handle_input(item)
                if self.before_login:
                    self._check_budget()
                if self._out_octets > self.limits.output_batch_bytes_max or not self.command_count % TURN_COMMANDS_MAX:
                    await self.flush()
                continue
            await self.on_attention()
            await self.flush()
            if self.closing:
                break
            if len(connection.buffer) and self.before_login:  # no whole command; what came may be too much already
                self._check_budget()
                if self.closing:
                    break
            if not await connection.more(self._seconds_to_wait_for_input()):
                self.how_ended = "peer closed"
                break
        await self.flush()

    @property
    def before_login(self) -> bool:
        """Whether the peer has yet to log in: until then it has small budgets of time, octets and commands."""
        return not self.user

    def seconds_to_wait(self) -> float:
        """How long the peer may say nothing: before login a total budget, afterwards the idle limit."""
        idle = self.idle_seconds_max()
        if not self.before_login:
            return idle
        left = self.limits.unauthenticated_seconds_max - (self.services.clock.monotonic() - self._started)
        return max(0.0, min(idle, left))

    def _seconds_to_wait_for_input(self) -> float:
        """The same; but what has begun to arrive must be whole within `input_seconds_max`, however it trickles."""
        seconds = self.seconds_to_wait()
        if not len(self.connection.buffer):
            self._incomplete_since = None
            return seconds
        now = self.services.clock.monotonic()
        if self._incomplete_since is None:
            self._incomplete_since = now
        return max(0.0, min(seconds, self._incomplete_since + self.limits.input_seconds_max - now))

    def _check_budget(self) -> None:
        """Close on a peer that says too much without logging in."""
        limits = self.limits
        received = getattr(self.connection, "octets_received", 0)
        if self.command_count > limits.unauthenticated_commands_max or received > limits.unauthenticated_bytes_max:
            self.send(self.farewell("too much before login"))
            self.end("too much before login")

    def _write_rest(self) -> None:
        if self._out:
            self.connection.write(self._out)
            self._out = []

    async def execute(self, verb: bytes, rest: Any) -> None:
        """Run one command of the form `VERB arguments`: the one place where verb, state and syntax are checked."""
        command = self.commands.find(verb)
        if command is None or (command.capability and self.is_withheld(command)):
            self.send(self.unknown_command(verb))
            self.count_bad_command()
            return
        if self.state not in command.states:
            self.send(self.wrong_state(command))
            self.count_bad_command()
            return
        try:
            arguments = command.syntax(rest)
        except SyntaxProblem as problem:
            self.send(self.bad_syntax(command, problem))
            self.count_bad_command()
            return
        except PortError as error:
            # what the arguments ask for is understood, and refused
            self.send(self.failure(command, error))
            return
        self.bad_commands = 0
        self.actor.doing = command.verb
        monitor = self.services.monitor
        try:
            if monitor is None:
                reply = await command.handler(self, arguments)
            else:
                run = partial(command.handler, self, arguments)
                reply = await monitor.around(self, command.verb, rest, run)
            self.send(await self.before_reply(reply))
        except SyntaxProblem as problem:
            self.send(self.bad_syntax(command, problem))
        except PortError as error:
            self.send(self.failure(command, error))
        finally:
            self.actor.doing = ""

    def count_bad_command(self) -> None:
        """Close on a peer that makes `bad_commands_max` mistakes in a row."""
        self.bad_commands += 1
        if self.bad_commands >= self.limits.bad_commands_max:
            self.send(self.farewell("too many errors"))
            self.how_ended = "too many errors"
            self.closing = True

    def request_shutdown(self) -> None:
        """The service stops: say goodbye when the command at hand is done, or now between commands."""
        self.shutdown_requested = True
        self.connection.poke()

    def end(self, how: str) -> None:
        """Close after the replies that are in the batch."""
        self.how_ended = how
        self.closing = True
