"""What the front-ends and the relay of some builds do in their own way, beside the conversion and its sections.

Which build has which quirk is data (emulator.defects). A quirk of a front-end is a class of session over that
front-end's own; a build without quirks never comes here. What ends the process does so because an error is met where
nobody looks for it (an index beyond a name, a conversion without its argument), not because somebody asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from protocols.imap.session import ImapSession
from protocols.mime import parse
from protocols.nntp import NntpSession
from protocols.ports import Connection, ConnectionLost, Services
from protocols.reader import Buffer
from protocols.reply import Reply
from protocols.session import Session

from .thread_pool import ThreadPool

if TYPE_CHECKING:
    from .builds import Build

SessionClass = type[Session[Any]]

LITERAL_TAKES_LINE_END = "literal takes the line end along"
FIELD_NAMES_BETWEEN_SPACES = "field names between single spaces"
REPLIES_ARE_FORMATS = "replies are format strings"
NO_LAST_LINE_END = "quoted-printable without its last line end"

WAITS_FOR_THE_PEER = frozenset({b"IDLE"})
"""Commands that go on until the peer says more: they are not served by a thread."""
_LITERAL_CHUNK_OCTETS = 1 << 20
_FIELDS = re.compile(rb"(?i)HEADER\.FIELDS(?:\.NOT)? \(([^)\]]*)\)")


def _access_violation(session: Session[Any], error: Exception) -> ConnectionLost:
    """The error that nobody looks for ends the process of the information store, and this session with it."""
    conversion = cast("Any", session.services.conversion)
    conversion.faulted(f"access violation in {session.protocol}: {error}")
    return ConnectionLost()


class _LosingBuffer(Buffer):
    """Under TLS, the line end that stands behind a literal in the same read is taken with it (KB Q239082)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection, *, quirk_bare_lf: bool) -> None:
        super().__init__(quirk_bare_lf=quirk_bare_lf)
        self._connection = connection

    def some(self, count_max: int) -> bytes:
        octets = super().some(count_max)
        whole = len(octets) == count_max < _LITERAL_CHUNK_OCTETS
        if whole and self._connection.tls and self._data.startswith(b"\r\n", self._position):
            super().octets(2)
        return octets


def _literal_takes_line_end(base: SessionClass) -> SessionClass:
    class LineEndLosingSession(base):  # type: ignore[misc,valid-type]
        def __init__(self, connection: Connection, services: Services, actor: Any = None) -> None:
            buffer = _LosingBuffer(connection, quirk_bare_lf=services.settings.quirk_bare_lf)
            cast("Any", connection).buffer = buffer
            super().__init__(connection, services, actor)

    return LineEndLosingSession


def _field_names_between_spaces(base: SessionClass) -> SessionClass:
    class NameSplittingSession(base):  # type: ignore[misc,valid-type]
        async def execute(self, verb: bytes, rest: Any) -> None:
            if verb in (b"FETCH", b"UID FETCH"):
                try:
                    for found in _FIELDS.finditer(rest.single or b""):
                        sorted(found[1].split(b" "), key=lambda name: name[0])  # a table by the first letter
                except IndexError as error:
                    raise _access_violation(self, error) from error
            await super().execute(verb, rest)

    return NameSplittingSession


def _replies_are_formats(base: SessionClass) -> SessionClass:
    class FormattingSession(base):  # type: ignore[misc,valid-type]
        async def before_reply(self, reply: Reply) -> Reply:
            reply = await super().before_reply(reply)
            if self.actor.doing in ("STAT", "LAST", "NEXT") and isinstance(reply, bytes):
                try:
                    reply = reply % ()
                except (TypeError, ValueError) as error:
                    raise _access_violation(self, error) from error
            return reply

    return FormattingSession


SESSION_QUIRKS: dict[str, tuple[SessionClass, Callable[[SessionClass], SessionClass]]] = {
    LITERAL_TAKES_LINE_END: (ImapSession, _literal_takes_line_end),
    FIELD_NAMES_BETWEEN_SPACES: (ImapSession, _field_names_between_spaces),
    REPLIES_ARE_FORMATS: (NntpSession, _replies_are_formats),
}
"""For each quirk of a front-end: whose it is, and what makes its class."""
RELAY_QUIRKS = frozenset({NO_LAST_LINE_END})


def without_last_line_end(octets: bytes) -> bytes:
    """What IMAIL emitted of a message whose last part is quoted-printable (KB Q146993): its last line has no end."""
    parts = [part for part in parse(octets).walk() if not part.children]
    if not parts or parts[-1].encoding != "quoted-printable":
        return octets
    return octets.removesuffix(b"\r\n")


def _on_threads(base: SessionClass, pool: ThreadPool) -> SessionClass:
    """Each command is served by a thread, which stays until the peer has taken the reply (KB Q169686)."""

    class ThreadedSession(base):  # type: ignore[misc,valid-type]
        async def execute(self, verb: bytes, rest: Any) -> None:
            if verb.upper() in WAITS_FOR_THE_PEER:
                await super().execute(verb, rest)
                return
            async with pool.thread():
                await super().execute(verb, rest)
                await self.flush()

    return ThreadedSession


def session_class(base: SessionClass, build: Build, threads: ThreadPool) -> SessionClass:
    """The class of a front-end's sessions in this build: `base` itself where nothing is special."""
    made = base
    for quirk in sorted(build.quirks & SESSION_QUIRKS.keys()):
        whose, make = SESSION_QUIRKS[quirk]
        if issubclass(base, whose):
            made = make(made)
    return made if threads.threads_max is None else _on_threads(made, threads)
