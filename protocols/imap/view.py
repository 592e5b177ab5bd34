"""What one session knows of the mailbox it has selected, and how that follows the mailbox (RFC 9051 sections 5.2, 7.5).

Message sequence numbers are positions in `messages`, the session's own list. Changes by anybody are gathered by the
listener methods and applied by `updates` alone, at moments when the RFC lets the peer be told: EXPUNGE never during
FETCH, STORE, SEARCH, SORT and THREAD. Until then an expunged message keeps its number here (RFC 2180 section 4.1).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .flags import DELETED, SEEN, SYSTEM, format_flags
from .sequence import Ranges, beyond, format_set, resolve, spans

if TYPE_CHECKING:
    from .session import ImapSession


class View:
    """A selected mailbox, as one session knows it."""

    def __init__(self, session: ImapSession, folder: Any, *, read_only: bool) -> None:
        self.session = session
        self.folder = folder
        self.read_only = read_only
        self.messages: list[Any] = list(folder.messages)
        self.uids: list[int] = list(folder.uids)
        self.recent: set[int] = set()
        self.announced_recent = 0
        self.keywords: set[str] = set()
        """Keywords that the peer was told of in FLAGS."""
        self._known: set[str] = set(SYSTEM)
        """These and the system flags."""
        self._untold: set[str] = set()
        """Flags of changed messages; among them are keywords that the peer was not told of."""
        self.saved: list[int] = []
        """UIDs of the saved search result, `$` (RFC 5182)."""
        self.gone_folder = False
        self.gone_modseq = 0
        """Mod-sequence of the first expunge that the peer was not told of; 0: of all."""
        self.own: set[int] = set()
        """UIDs of messages that this session itself put here and was not yet told of."""
        self.contexts: dict[bytes, Any] = {}
        """Live searches by tag (CONTEXT=SEARCH), see `context`."""
        self.dirty: dict[int, Any] = {}
        """Messages for which the live searches have to be decided anew, by UID."""
        self.fresh: set[int] = set()
        """Those among them that another session has just put here."""
        self._new: list[Any] = []
        self._changed: dict[int, Any] = {}
        self._gone: list[int] = []
        folder.listen(self)

    # --- told by the folder -------------------------------------------------------------------------------------------

    def appended(self, message: Any) -> None:
        """A message is there."""
        self._new.append(message)
        self.session.something_happened()

    def flags_changed(self, message: Any) -> None:
        """Flags (or the mod-sequence) of a message are others."""
        self._changed[message.uid] = message
        if not message.flags <= self._known:
            self._untold |= message.flags
        if self.contexts:
            self.dirty[message.uid] = message
        self.session.something_happened()

    def expunged(self, messages: Sequence[Any]) -> None:
        """Messages are gone."""
        self._gone.extend([message.uid for message in messages])
        self.gone_modseq = self.gone_modseq or self.folder.highest_modseq
        self.session.something_happened()

    def folder_gone(self, folder: Any) -> None:
        """The mailbox was deleted: nothing can be told of it any more, the session has to leave it."""
        self.gone_folder = True
        self.session.something_happened()

    def close(self) -> None:
        """Stop following the mailbox."""
        self.folder.unlisten(self)

    @property
    def in_step(self) -> bool:
        """Whether message numbers are positions in the folder: nothing has come or gone that was not applied."""
        return not (self._new or self._gone or self.gone_folder)

    # --- numbers ------------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """EXISTS as the peer knows it."""
        return len(self.messages)

    def number_of(self, uid: int) -> int:
        """The message sequence number of a UID, 0 where the view has none."""
        index = bisect_left(self.uids, uid)
        return index + 1 if index < len(self.uids) and self.uids[index] == uid else 0

    def index_spans(self, ranges: Ranges | None, *, by_uid: bool) -> list[tuple[int, int]]:
        """Half-open index spans of a sequence set in `messages`. None is `$`. O(ranges · log n)."""
        uids = self.uids
        if ranges is None:
            ranges, by_uid = spans(self.saved), True
        if by_uid:
            found = []
            for low, high in resolve(ranges, uids[-1] if uids else 0):
                start, stop = bisect_left(uids, low), bisect_right(uids, high)
                if start < stop:
                    found.append((start, stop))
            return found
        return [(low - 1, high) for low, high in resolve(ranges, len(uids))]

    def out_of_range(self, ranges: Ranges | None) -> bool:
        """Whether message sequence numbers lie beyond the mailbox (RFC 9051 section 9, `seq-number`: BAD)."""
        return ranges is not None and beyond(ranges, len(self.messages))

    def select(self, ranges: Ranges | None, *, by_uid: bool) -> list[tuple[int, Any]]:
        """(number, message) of a sequence set, ascending."""
        found: list[tuple[int, Any]] = []
        for start, stop in self.index_spans(ranges, by_uid=by_uid):
            if stop - start == 1:
                found.append((stop, self.messages[start]))
            else:
                found.extend(enumerate(self.messages[start:stop], start + 1))
        return found

    # --- flags --------------------------------------------------------------------------------------------------------

    def flags_of(self, message: Any) -> bytes:
        """The FLAGS value of a message, `\\Recent` included."""
        return format_flags(message.flags, message.uid in self.recent and not self.session.rev2)

    def forget_change(self, uid: int) -> None:
        """The peer has just been told the flags of this message."""
        if self._changed:
            self._changed.pop(uid, None)

    def forget_changes(self, messages: Iterable[Any]) -> None:
        """The peer is being told the flags of these messages."""
        if self._changed:
            for message in messages:
                self._changed.pop(message.uid, None)

    def has_change(self, uid: int) -> bool:
        """Whether the peer is still to be told of new flags of this message."""
        return uid in self._changed

    def learn_keywords(self) -> None:
        """Collect the keywords in use: one pass, at SELECT."""
        seen: set[frozenset[str]] = {message.flags for message in self.messages}
        for flags in seen:
            self.keywords |= flags - self._known
            self._known |= flags

    def flags_line(self) -> bytes:
        """The untagged FLAGS response: system flags and keywords in use."""
        names = [*SYSTEM, *sorted(self.keywords)]
        return b"* FLAGS (" + " ".join(names).encode("ascii", "replace") + b")\r\n"

    def permanent_flags(self) -> list[str]:
        """Flags that the session can change for good; `\\*` says that new keywords can be made."""
        if self.read_only:
            return []
        rights = self.session.rights(self.folder)
        names = [name for name in SYSTEM if _needed_right(name) in rights]
        if "w" in rights:
            names += [*sorted(self.keywords), "\\*"]
        return names

    def permanent_flags_line(self) -> bytes:
        """The untagged OK [PERMANENTFLAGS] response."""
        names = " ".join(self.permanent_flags()).encode("ascii", "replace")
        return b"* OK [PERMANENTFLAGS (" + names + b")] Flags permitted\r\n"

    def announce_keywords(self, flags: Iterable[str] = ()) -> bytes:
        """FLAGS and PERMANENTFLAGS anew, where a keyword appears that the peer has not seen: before flags are told."""
        if self._untold:
            flags, self._untold = {*flags, *self._untold}, set()
        fresh = set(flags) - self._known
        if not fresh:
            return b""
        self.keywords |= fresh
        self._known |= fresh
        return self.flags_line() + self.permanent_flags_line()

    # --- following the mailbox ----------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether there may be something to tell."""
        return bool(self._new or self._changed or self._gone or self.gone_folder)

    def updates(self, *, expunge: bool, new: bool = True, flags: bool = True) -> bytes:
        """Apply what happened and return the responses that say so.

        `expunge`: whether messages may go now; `new` and `flags`: whether the peer wants to hear of those (RFC 5465).
        """
        out: list[bytes] = []
        if expunge and self._gone:
            out.append(self._apply_expunges())
        changed = self._apply_changes() if self._changed and flags else b""
        if self._new and new:
            out.append(self._apply_new())
        if changed:
            out.append(changed)
        return b"".join(out)

    def _apply_expunges(self) -> bytes:
        gone, self._gone = sorted(set(self._gone)), []
        self.gone_modseq = 0
        uids = self.uids
        numbers = []
        known = []
        for uid in gone:
            index = bisect_left(uids, uid)
            if index < len(uids) and uids[index] == uid:
                numbers.append(index + 1)
                known.append(uid)
        if not known:
            return b""
        before = b"".join([context.before_expunge(self, known) for context in self.contexts.values()])
        if len(numbers) == 1:
            del self.messages[numbers[0] - 1]
            del uids[numbers[0] - 1]
        else:
            dropped = set(known)
            self.messages = [message for message in self.messages if message.uid not in dropped]
            self.uids = [uid for uid in uids if uid not in dropped]
        self.recent.difference_update(known)
        self.announced_recent = min(self.announced_recent, len(self.recent))
        if self.saved:
            dropped = set(known)
            self.saved = [uid for uid in self.saved if uid not in dropped]
        for uid in known:
            self._changed.pop(uid, None)
        if self.session.vanished:
            return before + b"* VANISHED %s\r\n" % format_set(known)
        return before + b"".join([b"* %d EXPUNGE\r\n" % number for number in reversed(numbers)])

    def _apply_new(self) -> bytes:
        new, self._new = self._new, []
        there = [message for message in new if not message.expunged]
        if not there:
            return b""
        self.messages.extend(there)
        self.uids.extend([message.uid for message in there])
        flags: set[str] = set()
        for message in there:
            if message.flags:
                flags |= message.flags
            self._changed.pop(message.uid, None)
        out = self.announce_keywords(flags) + b"* %d EXISTS\r\n" % len(self.messages)
        self.claim_recent(there)
        if not self.session.rev2:
            self.announced_recent = len(self.recent)
            out += b"* %d RECENT\r\n" % self.announced_recent
        others = [message for message in there if message.uid not in self.own] if self.own else there
        self.own.clear()
        if self.contexts:
            self.dirty.update({message.uid: message for message in there})
            self.fresh.update([message.uid for message in others])
        self.session.announced(others)
        return out

    def claim_recent(self, messages: Sequence[Any]) -> None:
        """Those of the messages that no session has had as \\Recent are this session's; EXAMINE does not claim them."""
        first = self.folder.first_recent_uid
        if messages and messages[-1].uid >= first:
            if not self.read_only:
                first = self.session.services.store.claim_recent(self.folder)
            self.recent.update(message.uid for message in messages if message.uid >= first)

    def _apply_changes(self) -> bytes:
        changed, self._changed = self._changed, {}
        lines = []
        for uid in sorted(changed):
            message = changed[uid]
            number = 0 if message.expunged else self.number_of(uid)
            if number:
                lines.append(self.session.flags_response(self, number, message))
        return self.announce_keywords() + b"".join(lines) if lines else b""

    # --- counts -------------------------------------------------------------------------------------------------------

    def first_unseen(self) -> int:
        """Number of the first message without \\Seen, 0 for none."""
        if not self.folder.unseen:
            return 0
        for number, message in enumerate(self.messages, 1):
            if SEEN not in message.flags:
                return number
        return 0

    def deleted_messages(self) -> list[Any]:
        """Messages of the view that have \\Deleted."""
        if not self.folder.deleted:
            return []
        return [message for message in self.messages if DELETED in message.flags and not message.expunged]


def _needed_right(flag: str) -> str:
    """The right (RFC 4314 section 4) that a flag needs."""
    return "s" if flag == SEEN else "t" if flag == DELETED else "w"
