"""Mailboxes, their folders, and newsgroups: the upper half of the store.

What changes the folders of a mailbox is done in turn, mailbox by mailbox: each decision sees what the one before made.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from protocols.ports import AlreadyExists, NoSuchMailbox, NotPermitted, OverQuota

from . import changes
from .changes import Backend, Change, Done, MemoryBackend, Settle
from .content import Content
from .folder import Folder, Mailbox, Message
from .scheduling import READY
from .turns import Turns

if TYPE_CHECKING:
    from .config import Settings

NAME_CHARACTERS_MAX = 1000
NEWSGROUPS = object()
"""The key of the newsgroups' turn."""


def check_name(name: str) -> None:
    """Names are kept, listed and logged: no control characters, nothing UTF-8 cannot carry. Raises NotPermitted."""
    if not 0 < len(name) <= NAME_CHARACTERS_MAX:
        raise NotPermitted(f"a name has 1 to {NAME_CHARACTERS_MAX} characters")
    if any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c < "\ue000" for c in name):
        raise NotPermitted("this character cannot be in a name")


class Hierarchy:
    """What there is by name."""

    def __init__(
        self, settings: Settings, backend: Backend | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.backend: Backend = backend or MemoryBackend()
        self.mailboxes: dict[str, Mailbox] = {}
        self.newsgroups: dict[str, Folder] = {}
        self.folders_by_id: dict[int, Folder] = {}
        self.annotations: dict[tuple[str, str], bytes] = {}
        self._contents: dict[bytes, Content] = {}
        self._message_ids: dict[bytes, list[Message]] = {}
        self._turns = Turns()
        self._now = now
        self._last_folder_id = 0
        self._last_uid_validity = 0
        self._lazily: list[Change] = []
        """Changes that nobody waits for: they go with the next commit."""
        self.pause: Callable[[], Awaitable[None]] = lambda: READY
        """Lets others have their turn: what its server's scheduler has for it."""
        self.before_unrecorded: Callable[[Folder], None] | None = None
        """Called before something about a folder changes whose record comes later (snapshots look at it)."""

    # --- committing ---------------------------------------------------------------------------------------------------

    async def _commit(self, records: Sequence[Change], settle: Settle) -> None:
        """Hand over, together with what waited for an occasion. Raises Unavailable."""
        await self.backend.commit(*self._with_lazy(records, settle))

    def _hand_over(self, records: Sequence[Change], settle: Settle, done: Done) -> None:
        """As `_commit`, for whoever is told."""
        self.backend.hand_over(*self._with_lazy(records, settle), done)

    def _with_lazy(self, records: Sequence[Change], settle: Settle) -> tuple[Sequence[Change], Settle]:
        carried, self._lazily = self._lazily, []
        if not carried:
            return records, settle

        def settle_both(kept: bool) -> None:
            if not kept:
                self._lazily[:0] = carried
            settle(kept)

        return [*carried, *records], settle_both

    async def flush(self) -> None:
        """Keep what nobody waited for. Raises Unavailable."""
        if self._lazily:
            await self._commit([], lambda kept: None)

    async def close(self) -> None:
        """`flush`, and end the backend. Raises Unavailable when the last could not be kept."""
        try:
            await self.flush()
        finally:
            await self.backend.close()

    # --- finding ------------------------------------------------------------------------------------------------------

    def mailbox(self, user: str) -> Mailbox:
        """Raises NoSuchMailbox."""
        try:
            return self.mailboxes[user]
        except KeyError:
            raise NoSuchMailbox(f"no mailbox {user}") from None

    def newsgroup(self, name: str) -> Folder:
        """Raises NoSuchMailbox."""
        try:
            return self.newsgroups[name]
        except KeyError:
            raise NoSuchMailbox(f"no newsgroup {name}") from None

    def find_message_id(self, message_id: bytes) -> Sequence[Message]:
        """All copies in newsgroups of the article with that Message-ID, angle brackets included."""
        return self._message_ids.get(message_id, ())

    # --- mailboxes ----------------------------------------------------------------------------------------------------

    def _new_folder(self, owner: Mailbox | None, name: str) -> Folder:
        self._last_uid_validity = max(self._last_uid_validity + 1, int(self._now()))
        self._last_folder_id += 1
        return Folder(self._last_folder_id, owner, name, self._last_uid_validity, self._now())

    def _add_folder(self, folder: Folder) -> None:
        self.folders_by_id[folder.folder_id] = folder
        if folder.owner is None:
            self.newsgroups[folder.name] = folder
        else:
            folder.owner.folders[folder.name] = folder

    async def create_mailbox(self, name: str) -> Mailbox:
        """The mailbox of that name, made with INBOX and the default folders if it is not there. Raises Unavailable."""
        found = self.mailboxes.get(name)
        if found is not None:
            return found
        check_name(name)
        async with self._turns.turn(name):
            return self.mailboxes.get(name) or await self._make_mailbox(name)

    async def _make_mailbox(self, name: str) -> Mailbox:
        mailbox = Mailbox(name)
        folders = [self._new_folder(mailbox, "INBOX")]
        for folder_name, special_use in self.settings.default_folders:
            folder = self._new_folder(mailbox, folder_name)
            folder.special_use = special_use
            folders.append(folder)
        names = tuple(folder.name for folder in folders)
        records: list[Change] = [changes.MailboxMade(name), *(folder.saved() for folder in folders)]

        def settle(kept: bool) -> None:
            if kept:
                mailbox.subscriptions.update(names)
                self.mailboxes[name] = mailbox
                for folder in folders:
                    self._add_folder(folder)

        await self._commit([*records, changes.SubscriptionsSet(name, names)], settle)
        return mailbox

    async def delete_mailbox(self, name: str) -> None:
        """Delete a mailbox with all its folders. Raises NoSuchMailbox, Unavailable."""
        async with self._turns.turn(name):
            mailbox = self.mailbox(name)
            folders = list(mailbox.folders.values())

            def settle(kept: bool) -> None:
                for folder in folders:
                    folder.closing = False
                    if kept:
                        self._drop_folder(folder)
                if kept:
                    self.mailboxes.pop(name, None)
                    for scope, key in [pair for pair in self.annotations if pair[0] == f"mailbox:{name}"]:
                        del self.annotations[scope, key]

            for folder in folders:
                folder.closing = True
            await self._commit([changes.MailboxDeleted(name)], settle)

    # --- folders ------------------------------------------------------------------------------------------------------

    def _levels_above(self, mailbox: Mailbox, name: str) -> list[Folder]:
        """Folders, not made yet, that a name needs above itself."""
        parts = name.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return [self._new_folder(mailbox, each) for each in above if each not in mailbox.folders]

    def _check_folder_count(self, mailbox: Mailbox, new: int) -> None:
        if len(mailbox.folders) + new > self.settings.folders_per_mailbox_max:
            raise OverQuota(f"no more than {self.settings.folders_per_mailbox_max} folders can be made")

    async def create_folder(self, mailbox: Mailbox, name: str, *, special_use: str = "") -> Folder:
        """Make a folder, and the levels above it. Raises AlreadyExists, NotPermitted, OverQuota, Unavailable."""
        check_name(name)
        async with self._turns.turn(mailbox.name):
            existing = mailbox.folders.get(name)
            if name.upper() == "INBOX" or (existing is not None and existing.selectable):
                raise AlreadyExists(f"{name} exists")
            self._check_folder_count(mailbox, 1 + name.count("/"))
            folders = self._levels_above(mailbox, name)
            folder = self._new_folder(mailbox, name)
            folder.special_use = special_use
            folders.append(folder)
            records: list[Change] = [made.saved() for made in folders]
            if existing is not None:
                records.insert(0, changes.FolderDeleted(existing.folder_id))

            def settle(kept: bool) -> None:
                if not kept:
                    return
                if existing is not None:
                    self._drop_folder(existing)
                for made in folders:
                    self._add_folder(made)

            await self._commit(records, settle)
            return folder

    async def delete_folder(self, folder: Folder) -> None:
        """Delete a folder and its messages; one with levels below stays as a \\Noselect name (RFC 9051 6.3.5).

        Raises NotPermitted for INBOX and for a \\Noselect name with levels below, NoSuchMailbox when it is gone.
        """
        mailbox = folder.owner
        if mailbox is None:
            await self.delete_newsgroup(folder.name)
            return
        if folder.name == "INBOX":
            raise NotPermitted("INBOX cannot be deleted")
        async with self._turns.turn(mailbox.name):
            if folder.gone:
                raise NoSuchMailbox(f"{folder.name} is not there any more")
            below = folder.name + "/"
            children = any(name.startswith(below) for name in mailbox.folders)
            if children and not folder.selectable:
                raise NotPermitted(f"{folder.name} has folders below it")
            placeholder = None
            if children:
                placeholder = self._new_folder(mailbox, folder.name)
                placeholder.selectable = False
            await self._delete(folder, placeholder)

    async def _delete(self, folder: Folder, placeholder: Folder | None = None) -> None:
        """Delete a folder; nothing is put into it from now on, or what was put would be lost with it."""
        records: list[Change] = [changes.FolderDeleted(folder.folder_id)]
        if placeholder is not None:
            records.append(placeholder.saved())

        def settle(kept: bool) -> None:
            folder.closing = False
            if not kept:
                return
            names = self.newsgroups if folder.owner is None else folder.owner.folders
            names.pop(folder.name, None)
            self._drop_folder(folder)
            if placeholder is not None:
                self._add_folder(placeholder)

        folder.closing = True
        await self._commit(records, settle)

    def _drop_folder(self, folder: Folder) -> None:
        folder.gone = True
        self.folders_by_id.pop(folder.folder_id, None)
        for message in folder.messages:
            message.expunged = True
            self._forget(message)
        if folder.owner is not None:
            folder.owner.size -= folder.size
        for listener in folder.listeners:
            listener.folder_gone(folder)
        folder.listeners = []

    def _check_rename(self, folder: Folder, name: str) -> Mailbox:
        mailbox = folder.owner
        if mailbox is None:
            raise NotPermitted("a newsgroup cannot be renamed")
        check_name(name)
        if folder.gone:
            raise NoSuchMailbox(f"{folder.name} is not there any more")
        if name in mailbox.folders or name.upper() == "INBOX":
            raise AlreadyExists(f"{name} exists")
        return mailbox

    async def _rename(self, folder: Folder, name: str) -> None:
        """Rename a folder and the levels below it, INBOX apart; the caller has the mailbox's turn."""
        mailbox = self._check_rename(folder, name)
        below = folder.name + "/"
        if name.startswith(below):
            raise NotPermitted("a folder cannot be moved below itself")
        moved = [folder, *(other for other in mailbox.folders.values() if other.name.startswith(below))]
        names = {other.folder_id: name + other.name[len(folder.name) :] for other in moved}
        if any(new in mailbox.folders for new in names.values()):
            raise AlreadyExists(f"{name} has folders of those names below it")
        made = self._levels_above(mailbox, name)
        self._check_folder_count(mailbox, len(made))

        def settle(kept: bool) -> None:
            if not kept:
                return
            for each in moved:
                mailbox.folders.pop(each.name, None)
            for each in moved:
                each.name = names[each.folder_id]
                mailbox.folders[each.name] = each
            for each in made:
                self._add_folder(each)

        records: list[Change] = [each.saved() for each in made]
        records.extend(replace(each.saved(), name=names[each.folder_id]) for each in moved)
        await self._commit(records, settle)

    async def subscribe(self, mailbox: Mailbox, name: str, subscribed: bool) -> None:
        """Add or take a name from the subscriptions; the name need not exist (RFC 9051 section 6.3.7).

        Raises OverQuota, Unavailable.
        """
        async with self._turns.turn(mailbox.name):
            names = set(mailbox.subscriptions)
            if subscribed:
                names.add(name)
            else:
                names.discard(name)
            if names == mailbox.subscriptions:
                return
            if len(names) > 2 * self.settings.folders_per_mailbox_max:
                raise OverQuota("too many subscriptions")

            def settle(kept: bool) -> None:
                if kept:
                    mailbox.subscriptions = names

            await self._commit([changes.SubscriptionsSet(mailbox.name, tuple(sorted(names)))], settle)

    async def save_folder(self, folder: Folder) -> None:
        """Keep what was changed about a folder (description, posting, special use, first recent UID)."""
        if not folder.gone and not folder.closing:
            await self._commit([folder.saved()], lambda kept: None)

    def claim_recent(self, folder: Folder) -> int:
        """Make all messages that are there no longer \\Recent to others: the UID from which on they were.

        Does not wait; `save_folder` keeps it.
        """
        if self.before_unrecorded is not None:
            self.before_unrecorded(folder)
        first = folder.first_recent_uid
        folder.first_recent_uid = max(first, folder.uid_next)
        return first

    @property
    def quota_bytes_max(self) -> int:
        """Quota of each mailbox, octets; 0: none (RFC 9208)."""
        return self.settings.mailbox_bytes_max

    # --- newsgroups ---------------------------------------------------------------------------------------------------

    async def create_newsgroup(self, name: str, *, description: str = "", posting: str = "y") -> Folder:
        """A newsgroup, which is a public folder. Raises AlreadyExists, NotPermitted, Unavailable."""
        check_name(name)
        async with self._turns.turn(NEWSGROUPS):
            if name in self.newsgroups:
                raise AlreadyExists(f"newsgroup {name} exists")
            folder = self._new_folder(None, name)
            folder.description, folder.posting = description, posting

            def settle(kept: bool) -> None:
                if kept:
                    self._add_folder(folder)

            await self._commit([folder.saved()], settle)
            return folder

    async def delete_newsgroup(self, name: str) -> None:
        """Raises NoSuchMailbox, Unavailable."""
        async with self._turns.turn(NEWSGROUPS):
            await self._delete(self.newsgroup(name))

    # --- what is kept by name -----------------------------------------------------------------------------------------

    async def annotate(self, scope: str, key: str, value: bytes | None) -> None:
        """Keep a named value (METADATA, ACL, quota, stored passwords); None removes it."""

        def settle(kept: bool) -> None:
            if not kept:
                return
            if value is None:
                self.annotations.pop((scope, key), None)
            else:
                self.annotations[scope, key] = value

        await self._commit([changes.AnnotationSet(scope, key, value)], settle)

    # --- contents -----------------------------------------------------------------------------------------------------

    def _forget(self, message: Message) -> None:
        """A message is gone: its content has one reference less, its Message-ID names it no more."""
        content = message.content
        if message.folder.owner is None:
            copies = self._message_ids.get(content.message_id)
            if copies and message in copies:
                copies.remove(message)
                if not copies:
                    del self._message_ids[content.message_id]
        self._release(content)

    def _release(self, content: Content) -> None:
        content.references -= 1
        if content.references <= 0:
            if self._contents.get(content.digest) is content:
                del self._contents[content.digest]
            if content.row:
                self._lazily.append(changes.ContentForgotten(content))
