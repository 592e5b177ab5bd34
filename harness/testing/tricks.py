"""What a store does behind the backs of its clients, and rarely in front of a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.changes import MemoryBackend
from emulator.folder import Folder, Message
from protocols.ports import NotPermitted

if TYPE_CHECKING:
    from harness.workbench import Workbench


class Tricks:
    """Each takes effect at once, in open sessions too."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    async def bump_uid_validity(self, folder: Folder) -> int:
        """Give the folder a new UIDVALIDITY (RFC 9051 section 2.3.1.1): clients must forget what they cached.

        Sessions that have it selected are told that it is gone.
        """
        store = self._workbench.server.store
        self._workbench.snapshots.look_at_folder(folder)
        store._last_uid_validity = max(store._last_uid_validity, folder.uid_validity) + 1
        folder.uid_validity = store._last_uid_validity
        await store.save_folder(folder)
        listeners, folder.listeners = folder.listeners, []
        for listener in listeners:
            listener.folder_gone(folder)
        return folder.uid_validity

    async def expunge(self, folder: Folder, uids: list[int] | None = None) -> list[int]:
        """Remove messages (all, or those UIDs) behind the back of whoever reads them: the UIDs that were there."""
        chosen = list(folder.messages) if uids is None else [m for m in map(folder.by_uid, uids) if m is not None]
        return await self._workbench.server.store.expunge(folder, chosen)

    def set_quota(self, octets: int) -> None:
        """Quota of every mailbox from now on, in octets; 0: none."""
        if octets < 0:
            raise ValueError("a quota is 0 (none) or a number of octets")
        server = self._workbench.server
        server.settings = replace(server.settings, mailbox_bytes_max=octets)
        server.store.settings = server.settings

    async def renumber(self, folder: Folder, *, seed: int | None = None) -> list[int]:
        """Put the messages into another order (reversed, or drawn from `seed`) under new UIDs and a new UIDVALIDITY.

        Raises NotPermitted for a durable store, whose records are never rewritten.
        """
        workbench = self._workbench
        if not isinstance(workbench.backend.inner, MemoryBackend):
            raise NotPermitted("renumbering needs a store in memory: start the server without --data")
        workbench.snapshots.look_at_numbers(folder)
        messages: list[Message] = list(folder.messages)
        if seed is None:
            messages.reverse()
        else:
            Random(seed).shuffle(messages)  # noqa: S311  # reproducible, not secret
        for message in messages:
            workbench.archive.forget_copy(message)
        for uid, message in enumerate(messages, folder.uid_next):
            message.uid = uid
        folder.messages = messages
        folder.uids = [message.uid for message in messages]
        folder.uid_next += len(messages)
        folder.uid_drawn = folder.uid_next - 1
        folder.vanished.clear()
        await self.bump_uid_validity(folder)
        for message in messages:
            workbench.archive.know_copy(message)
        return folder.uids

    def set_internal_date(self, message: Message, seconds: float) -> None:
        """Set when a message was received (INTERNALDATE), seconds since the epoch. In memory only."""
        self._workbench.snapshots.look_at_date(message)
        message.internal_date = seconds

    async def do(self, trick: str, body: Mapping[str, Any]) -> Any:
        """A trick by its name with JSON arguments. Raises LookupError, ValueError with one line that names the fix."""
        if trick == "quota":
            octets = body.get("octets")
            if not isinstance(octets, int) or isinstance(octets, bool):
                raise ValueError('"octets" is needed, a whole number; 0 takes the quota away')
            self.set_quota(octets)
            return {"octets": octets}
        if trick not in ("bump-uidvalidity", "expunge", "renumber", "internaldate"):
            raise LookupError(f"no trick {trick!r}: bump-uidvalidity, expunge, quota, internaldate, renumber")
        folder = self._workbench.find_folder(str(body.get("folder", "")))
        if trick == "bump-uidvalidity":
            return {"uid_validity": await self.bump_uid_validity(folder)}
        if trick == "expunge":
            uids = body.get("uids")
            if uids is not None and not (isinstance(uids, list) and all(isinstance(uid, int) for uid in uids)):
                raise ValueError('"uids" is a list of numbers; without it all messages go')
            return {"expunged": await self.expunge(folder, uids)}
        if trick == "renumber":
            seed = body.get("seed")
            return {"uids": list(await self.renumber(folder, seed=seed if isinstance(seed, int) else None))}
        message = folder.by_uid(body["uid"]) if isinstance(body.get("uid"), int) else None
        if message is None:
            raise LookupError(f'"uid": {folder.name} has no message {body.get("uid")}')
        try:
            self.set_internal_date(message, parsedate_to_datetime(str(body.get("date"))).timestamp())
        except (TypeError, ValueError):
            raise ValueError('"date" is needed, as in Tue, 01 Jun 2000 10:00:00 +0000') from None
        return {"uid": message.uid, "internal_date": message.internal_date}
