"""One NNTP dialogue: what it remembers, how its commands are cut and how refusals read (RFC 3977 section 3).

The commands register themselves from the other modules of this package; they are imported at the end of this one.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import Enum, auto
from typing import Any, ClassVar

from protocols.actor import Actor
from protocols.ports import Connection, NotPermitted, PortError, Services
from protocols.reader import InputTooLong
from protocols.registry import Command, Registry, SyntaxProblem
from protocols.reply import CRLF, Reply, one_line
from protocols.sasl import mechanisms
from protocols.session import Session

NO_MESSAGE_ID = b"<0>"
"""What stands for the Message-ID of an article without one (RFC 3977 section 3.6)."""

LINES_PER_STEP = 1000
"""Lines of a long reply that are built before they may be handed to the transport."""


class State(Enum):
    """Whether the peer may read. RESTRICTED: a login is required and has not happened (480)."""

    RESTRICTED = auto()
    READER = auto()


RESTRICTED, READER = State.RESTRICTED, State.READER
ANY = (RESTRICTED, READER)

commands: Registry[NntpSession] = Registry()

EXCHANGE55_COMMANDS = frozenset(
    b"ARTICLE HEAD BODY STAT GROUP LISTGROUP LAST NEXT LIST NEWNEWS NEWGROUPS POST IHAVE XOVER XHDR DATE HELP MODE "
    b"AUTHINFO STARTTLS QUIT".split()
)
"""RFC 977 and the common extensions (KB Q194657): no CAPABILITIES, no streaming."""


class NntpSession(Session["NntpSession"]):
    """One NNTP dialogue."""

    protocol: ClassVar[str] = "nntp"
    commands: ClassVar[Registry[Any]] = commands

    def __init__(self, connection: Connection, services: Services, actor: Actor | None = None) -> None:
        super().__init__(connection, services, actor)
        self.exchange55 = self.settings.personality == "exchange55"
        self.group: Any = None
        """The selected newsgroup."""
        self.current: int | None = None
        """The current article number; None: invalid (RFC 3977 section 6.1.1)."""
        self.offered_name: str | None = None
        """What AUTHINFO USER said, until AUTHINFO PASS."""
        self.reset()

    def reset(self) -> None:
        """As after the greeting (RFC 4642 section 2.2.2: what was learned before TLS is forgotten)."""
        self.state = RESTRICTED if self.settings.login_required else READER
        self.group = self.current = self.offered_name = None

    # --- protocols.session.Session ------------------------------------------------------------------------------------

    def greeting(self) -> Reply:
        return self.welcome()

    def welcome(self) -> bytes:
        """200 or 201 (RFC 3977 section 5.1), also the answer to MODE READER."""
        code, note = (b"200", "posting allowed") if self.posting_allowed else (b"201", "no posting")
        if self.exchange55:
            text = f"Microsoft Exchange Internet News Service Version {self.settings.build} ({note})"
        else:
            text = f"{self.settings.hostname} mailjam NNTP server ready ({note})"
        return code + b" " + text.encode() + CRLF

    def next_input(self) -> bytes | None:
        return self.connection.buffer.line(self.limits.command_line_bytes_max)

    async def handle_input(self, item: bytes) -> None:
        if self.group is not None and self.services.store.newsgroups.get(self.group.name) is not self.group:
            self.group = self.current = None  # it was removed meanwhile
        words = item.split(None, 1)
        verb = words[0] if words else b""
        if self.exchange55 and verb.upper() not in EXCHANGE55_COMMANDS:
            self.send(self.unknown_command(verb))
            self.count_bad_command()
            return
        await self.execute(verb, words[1] if len(words) > 1 else b"")

    def unknown_command(self, verb: bytes) -> Reply:
        if self.exchange55:
            return b"500 command not recognized\r\n"
        if not verb:
            return b"500 a command is expected\r\n"
        return b"500 unknown command " + one_line(verb.decode("ascii", "replace"), 40) + CRLF

    def wrong_state(self, command: Command[Any]) -> Reply:
        return b"480 authentication is required\r\n"

    def bad_syntax(self, command: Command[Any], problem: SyntaxProblem) -> Reply:
        return b"501 " + one_line(f"{problem}; usage: {command.usage or command.verb}") + CRLF

    def failure(self, command: Command[Any], error: PortError) -> Reply:
        code = b"502 " if isinstance(error, NotPermitted) else b"403 "
        return code + one_line(str(error)) + CRLF

    def too_long(self, problem: InputTooLong) -> Reply:
        return b"501 the line is " + one_line(str(problem)) + CRLF

    def farewell(self, why: str) -> Reply:
        text = "idle for too long" if why == "deadline" else why
        return b"400 " + one_line(text) + b", closing\r\n"

    def idle_seconds_max(self) -> float:
        return self.limits.nntp_idle_seconds_max

    @property
    def before_login(self) -> bool:
        # news is read without a login: where none is required the budget for logging in does not apply
        return self.state is not READER and super().before_login

    # --- what is allowed ----------------------------------------------------------------------------------------------

    @property
    def posting_allowed(self) -> bool:
        """Whether POST may be said."""
        return self.settings.posting_allowed

    @property
    def password_allowed(self) -> bool:
        """Whether a password may cross the connection as it is now."""
        return self.settings.plaintext_login or self.connection.tls

    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that can be used now, best first."""
        connection, settings = self.connection, self.settings
        return mechanisms(
            self.services.directory,
            tls=connection.tls,
            plaintext_allowed=settings.plaintext_login,
            binding=connection.channel_binding,
            hidden=settings.capabilities_hidden,
        )

    # --- articles -----------------------------------------------------------------------------------------------------

    def select(self, group: Any) -> tuple[int, int, int]:
        """Make `group` the selected one: estimated number of articles, low and high water mark."""
        self.group = group
        count, low, high = water_marks(group)
        self.current = low if count else None
        return count, low, high

    def number_of(self, message: Any) -> int:
        """The article's number in the selected newsgroup, else 0."""
        return message.uid if message.folder is self.group else 0

    def neighbour(self, step: int) -> Any | None:
        """The article after (`step` 1) or before (-1) the current one in the selected newsgroup, or None."""
        assert self.current is not None
        uids = self.group.uids
        index = bisect_left(uids, self.current + 1) if step > 0 else bisect_left(uids, self.current) - 1
        return self.group.messages[index] if 0 <= index < len(uids) else None

    def xref(self, message: Any) -> bytes:
        """`host group:number …` (RFC 5536 section 3.2.14): where the article is now; made anew at each reading.

        An article that was also copied about by other means is named once for each newsgroup, and in so many at most
        as an article may be posted to: the time for a line of the overview has a bound.
        """
        content, folder = message.content, message.folder
        copies = self.services.store.find_message_id(content.message_id) if content.message_id else ()
        if len(copies) <= 1:
            return f"{self.settings.hostname} {folder.name}:{message.uid}".encode()
        places: dict[str, int] = {}
        for copy in copies[: self.limits.newsgroups_per_article_max]:
            if copy.content is content:
                places.setdefault(copy.folder.name, copy.uid)
        places[folder.name] = message.uid
        return f"{self.settings.hostname} {' '.join([f'{name}:{uid}' for name, uid in places.items()])}".encode()


def water_marks(group: Any) -> tuple[int, int, int]:
    """Number of articles, low and high water mark; where there are none, low is high + 1 (RFC 3977 section 6.1.1.2)."""
    uids = group.uids
    high = group.uid_next - 1
    return (len(uids), uids[0], high) if uids else (0, high + 1, high)


from . import access, listing, overview, posting, reading, streaming  # noqa: E402  (they register their commands)

__all__ = ["NntpSession", "access", "listing", "overview", "posting", "reading", "streaming"]
