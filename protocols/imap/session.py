"""The IMAP4 front-end: one dialogue (RFC 3501, RFC 9051). What commands do stands in the modules beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from protocols.actor import Actor
from protocols.ports import Connection, NoSuchMailbox, PortError, Services
from protocols.reader import InputTooLong
from protocols.registry import Command, Registry, SyntaxProblem
from protocols.reply import Reply, one_line
from protocols.session import Session

from . import access
from .capabilities import capability_names, greeting_text, signing_off
from .context import refresh_all
from .cutter import BrokenCommand, CommandCutter, CutterLimits, RawCommand, tag_of
from .errors import Bad, code_of
from .names import SEPARATOR, decode_name, encode_name, not_composed, quote
from .scanner import Scanner
from .states import COMMANDS, State
from .view import View

BETWEEN = b"between commands"
"""Stands for a verb while nothing is being executed and messages may not go."""

KEEP_NUMBERS = frozenset({b"FETCH", b"STORE", b"SEARCH", b"SORT", b"THREAD", BETWEEN})
"""Commands during which no message may go (RFC 9051 section 7.5.1, RFC 5256 section 3)."""

REMOVING = frozenset({b"EXPUNGE", b"UID EXPUNGE", b"MOVE", b"UID MOVE", b"REPLACE", b"UID REPLACE"})
"""Commands whose own expunges are told whatever the client wants to be notified of."""


class ImapSession(Session["ImapSession"]):
    """One IMAP4 dialogue."""

    protocol: ClassVar[str] = "imap"
    commands: ClassVar[Registry[Any]] = COMMANDS

    def __init__(self, connection: Connection, services: Services, actor: Actor | None = None) -> None:
        super().__init__(connection, services, actor)
        self.state = State.NOT_AUTHENTICATED
        self.tag = b"*"
        self.verb = b""
        self.mailbox: Any = None
        """The user's own folders, after login."""
        self.view: View | None = None
        """The selected mailbox."""
        self.watching = False
        """Whether the peer is to be told at once of what happens (IDLE)."""
        self.condstore = False
        self.qresync = False
        self.utf8 = False
        self.rev2 = False
        self.uidonly = False
        self.enabled: set[str] = set()
        self.client_id: dict[str, str | None] = {}
        """What the client said of itself (RFC 2971)."""
        self.notify: Any = None
        """What the client wants to be told of (RFC 5465), see `notify`."""
        self.message_events: frozenset[str] | None = None
        """Events of the selected mailbox that NOTIFY left the client to be told of; None: it did not use NOTIFY."""
        limits = self.limits
        self._cutter = CommandCutter(
            CutterLimits(
                limits.imap_line_bytes_max,
                limits.literal_unauthenticated_bytes_max * 2 + limits.imap_line_bytes_max,
                limits.literal_unauthenticated_bytes_max,
                0,
            )
        )
        self._cutter.non_synchronizing_max = self._literal_limit()

    # --- input --------------------------------------------------------------------------------------------------------

    def greeting(self) -> Reply:
        """`* OK` with the capabilities, so that a client need not ask (RFC 9051 section 7.1)."""
        return greeting_text(self)

    def next_input(self) -> RawCommand | BrokenCommand | None:
        """The next command, cut and not parsed."""
        return self._cutter.next(self.connection.buffer, self.send)

    def _literal_limit(self) -> int | None:
        hidden = self.settings.capabilities_hidden
        if "LITERAL+" not in hidden:
            return None
        return 4096 if "LITERAL-" not in hidden else -1

    async def handle_input(self, item: RawCommand | BrokenCommand) -> None:
        """Run one command."""
        if isinstance(item, BrokenCommand):
            self.tag = item.tag
            self.send(b"%s %s %s\r\n" % (item.tag, item.condition, item.text))
            if not item.refused_literal:
                self.count_bad_command()
            if item.fatal:
                self.send(b"* BYE A literal of that size cannot be skipped\r\n")
                self.end("absurd literal")
            return
        self.tag = item.tag
        self.verb = item.verb
        await self.execute(item.verb, Scanner(item.pieces, utf8=self.utf8, depth_max=self.limits.nesting_max))
        view = self.view
        if view is not None and view.gone_folder:
            self._leave_deleted()
        elif self.notify is not None or (view is not None and view.contexts):
            await self.after_updates()

    async def before_reply(self, reply: Reply) -> Reply:
        """Live searches and NOTIFY's FETCHes belong behind the updates they follow from, before the tagged line."""
        view = self.view
        if (self.notify is None and (view is None or not view.contexts)) or not isinstance(reply, bytes):
            return reply
        start = reply.rfind(b"\r\n" + self.tag + b" ") + 2
        if start < 2:
            start = 0
        self.send(reply[:start])
        await self.after_updates()
        return reply[start:]

    def scan(self, pieces: tuple[Any, ...]) -> Scanner:
        """A scanner with this session's settings."""
        return Scanner(pieces, utf8=self.utf8, depth_max=self.limits.nesting_max)

    # --- refusals -----------------------------------------------------------------------------------------------------

    def unknown_command(self, verb: bytes) -> Reply:
        """RFC 9051 section 7.1.3."""
        return b"%s BAD Unknown command %s\r\n" % (self.tag, verb[:32])

    def wrong_state(self, command: Command[Any]) -> Reply:
        """BAD: the command is not valid in this state."""
        if State.NOT_AUTHENTICATED in command.states:
            where = "after login"
        elif self.state is State.NOT_AUTHENTICATED:
            where = "before login"
        else:
            where = "while no mailbox is selected"
        return b"%s BAD %s is not valid %s\r\n" % (self.tag, command.verb.encode(), where.encode())

    def bad_syntax(self, command: Command[Any], problem: SyntaxProblem) -> Reply:
        """BAD, with what is wrong."""
        code = problem.code if isinstance(problem, Bad) else b""
        return self._tagged(b"BAD", f"{command.verb}: {problem}", code)

    def failure(self, command: Command[Any], error: PortError) -> Reply:
        """NO, with the response code of RFC 5530 that says why; changes are told as with any other end."""
        return self.updates() + self._tagged(b"NO", str(error) or command.verb, code_of(error))

    def too_long(self, problem: InputTooLong) -> Reply:
        """A line that was too long to keep; its beginning tells the tag."""
        return b"%b BAD [TOOBIG] A line may have at most %d octets\r\n" % (tag_of(problem.head), problem.limit)

    def farewell(self, why: str) -> Reply:
        """`* BYE`, with the reason where the peer can use one."""
        if why == "deadline":
            text = "Autologout; idle for too long" if self.user else "Nobody logged in for too long"
        elif why == "shutdown":
            return signing_off(self)
        else:
            text = why[:1].upper() + why[1:]
        code = b"[UNAVAILABLE] " if why not in ("deadline", "too many errors") else b""
        return b"* BYE " + code + one_line(text) + b"\r\n"

    def _tagged(self, condition: bytes, text: str, code: bytes) -> bytes:
        words = one_line(text, self.limits.reply_text_bytes_max)
        if not self.utf8 and not words.isascii():
            words = words.decode("utf-8", "replace").encode("ascii", "replace")  # RFC 3501 section 9: text is 7-bit
        if code:
            return b"%s %s [%s] %s\r\n" % (self.tag, condition, code, words)
        return b"%s %s %s\r\n" % (self.tag, condition, words)

    # --- completions --------------------------------------------------------------------------------------------------

    def ok(self, text: bytes, code: bytes = b"") -> bytes:
        """What happened meanwhile, and `tag OK [code] text`."""
        view = self.view
        untagged = self.updates() if (view is not None and view.pending) or self.notify is not None else b""
        if code:
            return b"%s%s OK [%s] %s\r\n" % (untagged, self.tag, code, text)
        return b"%s%s OK %s\r\n" % (untagged, self.tag, text)

    def no(self, text: bytes, code: bytes) -> bytes:
        """What happened meanwhile, and `tag NO [code] text`."""
        return b"%s%s NO [%s] %s\r\n" % (self.updates(), self.tag, code, text)

    def updates(self) -> bytes:
        """The untagged responses that are due, as far as the command at hand allows them."""
        told = b""
        view = self.view
        if view is not None and view.pending:
            told = self._of_selected(view)
        if self.notify is not None:
            told += self.notify.take()
        return told

    def _of_selected(self, view: View) -> bytes:
        expunge = self.verb not in KEEP_NUMBERS
        events = self.message_events
        if events is None:
            told = view.updates(expunge=expunge)
        else:  # RFC 5465 section 3.1: what was not asked for is not told; without MessageNew the view stands still
            counts = "MESSAGENEW" in events
            expunge = (expunge and counts) or self.verb in REMOVING
            told = view.updates(expunge=expunge, new=counts, flags="FLAGCHANGE" in events)
        if self.qresync and not expunge and view.gone_modseq and (told or self.verb != BETWEEN):
            # RFC 7162 section 3.2: mod-sequences were told while an expunge of a lower one waits
            told += b"* OK [HIGHESTMODSEQ %d] An expunge is to be told\r\n" % (view.gone_modseq - 1)
        return told

    def enable_condstore(self) -> None:
        """The client knows mod-sequences from now on; the first time it is told HIGHESTMODSEQ (RFC 7162 3.1)."""
        if not self.condstore:
            self.condstore = True
            if self.view is not None:
                self.send(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % self.view.folder.highest_modseq)

    def something_happened(self) -> None:
        """A listener noted a change: wake up if the peer waits for it."""
        if self.watching:
            self.connection.poke()

    async def on_attention(self) -> None:
        """Between commands: what NOTIFY asked for is told at once (RFC 5465 section 5); a deleted mailbox is left."""
        if self._cutter.inside or self.connection.buffer:
            return
        view = self.view
        if view is not None and view.gone_folder:
            self._leave_deleted()
        elif self.notify is not None:
            # without a command in progress messages may only go where the client agreed to it (SELECTED)
            self.verb = BETWEEN if self.notify.delayed else b""
            self.send(self.updates())
            await self.after_updates()

    async def after_updates(self) -> None:
        """What follows from the responses just gathered: live searches, items of new messages."""
        view = self.view
        if view is not None and view.contexts and view.dirty:
            await refresh_all(self, view)
        if self.notify is not None:
            await self.notify.fetch_new()

    def caused(self, folder: Any, messages: Sequence[Any]) -> None:
        """The command at hand put messages into a folder: the client need not be told of them (RFC 5465 section 5)."""
        view = self.view
        if view is not None and view.folder is folder and (self.notify is not None or view.contexts):
            view.own.update([message.uid for message in messages])
        if self.notify is not None:
            self.notify.caused(folder, messages)

    def no_update(self) -> bytes:
        """A live search is not kept (RFC 5267 section 4.3)."""
        return b"* NO [NOUPDATE %b] The result will not be updated\r\n" % quote(self.tag)

    def _leave_deleted(self) -> None:
        """The selected mailbox is gone (RFC 2180 section 3.3): the session ends, for its numbers mean nothing now."""
        self.send(b"* BYE [UNAVAILABLE] The selected mailbox was deleted\r\n")
        self.end("mailbox deleted")

    async def on_close(self) -> None:
        """Stop following mailboxes."""
        self.deselect()
        if self.notify is not None:
            self.notify.close()
            self.notify = None

    def deselect(self) -> bool:
        """Leave the selected mailbox without expunging. False: there was none."""
        view, self.view = self.view, None
        if self.user:
            self.state = State.AUTHENTICATED
        if view is None:
            return False
        view.close()
        return True

    # --- who and where ------------------------------------------------------------------------------------------------

    async def logged_in(self, user: str) -> None:
        """The peer has proved to be `user`. Raises NoSuchMailbox, Unavailable."""
        self.mailbox = await self.services.directory.login(user)
        self.user = self.actor.user = user
        self.state = State.AUTHENTICATED
        self.login_failures = 0
        limits = self.limits
        self._cutter.limits = CutterLimits(
            limits.imap_line_bytes_max,
            limits.imap_command_bytes_max,
            limits.imap_command_bytes_max,
            limits.message_bytes_max,
        )

    def logged_out(self) -> None:
        """Back to the state before login (RFC 8437)."""
        self.deselect()
        if self.notify is not None:
            self.notify.close()
            self.notify = None
        self.message_events = None
        self.watching = False
        self.user = self.actor.user = ""
        self.mailbox = None
        self.state = State.NOT_AUTHENTICATED
        self.enabled.clear()
        self.condstore = self.qresync = self.utf8 = self.rev2 = self.uidonly = False
        limits = self.limits
        self._cutter.limits = CutterLimits(
            limits.imap_line_bytes_max,
            limits.literal_unauthenticated_bytes_max * 2 + limits.imap_line_bytes_max,
            limits.literal_unauthenticated_bytes_max,
            0,
        )

    def capabilities(self) -> list[str]:
        """What can be used now."""
        return capability_names(self)

    def name_text(self, octets: bytes) -> str:
        """A mailbox name as it came."""
        return decode_name(octets, utf8=self.utf8)

    def name_octets(self, name: str) -> bytes:
        """A mailbox name as it is sent."""
        return encode_name(name, self.utf8)

    def listed(self, folder: Any, octets: bytes) -> bytes:
        """The untagged LIST of a mailbox that the peer named so, with what it called it where we do not call it so
        (RFC 9051 section 6.3.9.7)."""
        old = not_composed(octets)
        return b'* LIST (%b) "/" %b%b\r\n' % (
            b"" if folder.selectable else b"\\Noselect",
            self.name_octets(self.folder_name(folder)),
            b' ("OLDNAME" (%b))' % self.name_octets(old) if old else b"",
        )

    def tell_composed(self, folder: Any, octets: bytes) -> None:
        """Say what a mailbox is called that the peer called otherwise."""
        if self.rev2 and not_composed(octets):
            self.send(self.listed(folder, octets))

    def find(self, name: str) -> Any:
        """The folder of a name that this user may know of. Raises NoSuchMailbox."""
        return access.find(self, name)

    def find_selectable(self, name: str, need: str) -> Any:
        """A folder that has messages and on which the user has the rights `need`. Raises NoSuchMailbox, No [NOPERM]."""
        folder = access.find(self, name)
        if not folder.selectable:
            raise NoSuchMailbox(f"{name} only has mailboxes below it")
        access.require(self, folder, need)
        return folder

    def rights(self, folder: Any) -> str:
        """The user's rights on a folder (RFC 4314)."""
        return str(access.rights(self, folder))

    def folder_name(self, folder: Any) -> str:
        """A folder's name as this user sees it."""
        if folder.owner is None:
            return f"{self.settings.public_namespace}{folder.name}"
        if folder.owner is not self.mailbox:
            return f"{access.OTHER_USERS}{folder.owner.name}{SEPARATOR}{folder.name}"
        return str(folder.name)

    # --- shapes of responses ------------------------------------------------------------------------------------------

    @property
    def vanished(self) -> bool:
        """Whether expunges are told as VANISHED (RFC 7162 section 3.2.10, RFC 9586 section 3)."""
        return self.qresync or self.uidonly

    def flags_response(self, view: View, number: int, message: Any) -> bytes:
        """The untagged FETCH that tells new flags."""
        flags = view.flags_of(message)
        if self.uidonly:
            if self.condstore:
                return b"* %d UIDFETCH (FLAGS %s MODSEQ (%d))\r\n" % (message.uid, flags, message.modseq)
            return b"* %d UIDFETCH (FLAGS %s)\r\n" % (message.uid, flags)
        if self.condstore:
            return b"* %d FETCH (UID %d FLAGS %s MODSEQ (%d))\r\n" % (number, message.uid, flags, message.modseq)
        if self.rev2 or self.notify is not None or self.verb.startswith(b"UID "):
            return b"* %d FETCH (UID %d FLAGS %s)\r\n" % (number, message.uid, flags)
        return b"* %d FETCH (FLAGS %s)\r\n" % (number, flags)

    def announced(self, messages: list[Any]) -> None:
        """The peer has just been told of these messages."""
        if self.notify is not None:
            self.notify.new_messages(messages)
