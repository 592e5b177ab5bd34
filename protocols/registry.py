"""How every front-end registers its commands: explicitly, with the states in which each is legal and its syntax.

    commands = Registry[Pop3Session]()

    @commands.command("RETR", states={TRANSACTION}, syntax=message_number)
    async def retr(session, number): ...

`Session.execute` (session.py) is the one place where unknown verbs, illegal states and bad syntax are answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .reply import Reply

S = TypeVar("S")
Handler = Callable[[S, Any], Awaitable[Reply]]


class SyntaxProblem(Exception):
    """The arguments of a command do not have its syntax; the text tells the peer what is wrong."""


@dataclass(frozen=True, slots=True)
class Command(Generic[S]):
    """One verb: when it may be said, how its arguments read, what it does."""

    verb: str
    states: frozenset[Any]
    syntax: Callable[[Any], Any]
    handler: Handler[S]
    usage: str = ""
    capability: str = ""
    """The capability that brings the command; where a user hides that capability, the command is unknown."""


def no_arguments(rest: bytes) -> None:
    """The syntax of a command that takes none."""
    if rest.strip(b" "):
        raise SyntaxProblem("no arguments are allowed here")


def raw_arguments(rest: bytes) -> bytes:
    """The arguments as they came, without the white space around them."""
    return rest.strip(b" \t")


class Registry(Generic[S]):
    """The commands of one protocol."""

    def __init__(self) -> None:
        self._commands: dict[bytes, Command[S]] = {}

    def command(
        self,
        verb: str,
        *,
        states: Iterable[Any],
        syntax: Callable[[Any], Any] = no_arguments,
        usage: str = "",
        capability: str = "",
    ) -> Callable[[Handler[S]], Handler[S]]:
        """Register the decorated handler under `verb`. Raises ValueError when the verb is taken."""

        def register(handler: Handler[S]) -> Handler[S]:
            key = verb.upper().encode()
            if key in self._commands:
                raise ValueError(f"{verb} is registered twice")
            self._commands[key] = Command(verb.upper(), frozenset(states), syntax, handler, usage, capability)
            return handler

        return register

    def find(self, verb: bytes) -> Command[S] | None:
        """The command for `verb` in any case, or None."""
        return self._commands.get(verb) or self._commands.get(verb.upper())

    def __iter__(self) -> Iterator[Command[S]]:
        return iter(self._commands.values())
