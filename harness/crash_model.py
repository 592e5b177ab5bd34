"""What a crash test's clients know: what was acknowledged, what was in doubt when the server died, what they find.

A message is named by a token in its Subject. An operation without an answer may have been done or not; after the
restart reality decides, and the model takes it over. Everything that was answered must be so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Found:
    """A message as FETCH shows it."""

    uid: int
    token: str
    flags: frozenset[str]


@dataclass(slots=True)
class FolderModel:
    """An IMAP folder that one client works in: APPEND, STORE, EXPUNGE, COPY into it."""

    name: str
    uid_validity: int = 0
    messages: dict[int, tuple[str, frozenset[str]]] = field(default_factory=dict)
    """UID → (token, flags), all acknowledged."""
    largest_uid: int = 0
    arriving: Counter[str] = field(default_factory=Counter)
    """Tokens whose APPEND or COPY was not answered."""
    flags_in_doubt: dict[int, frozenset[str]] = field(default_factory=dict)
    """UID → flags that it has if the unanswered STORE was done."""
    leaving: set[int] = field(default_factory=set)
    """UIDs whose unanswered EXPUNGE may have been done."""

    def arrived(self, uid: int, token: str, flags: frozenset[str]) -> list[str]:
        """An answered APPEND or COPY; what is wrong with its UID."""
        wrong = [] if uid > self.largest_uid else [f"{self.name}: UID {uid} was used again"]
        self.messages[uid] = (token, flags)
        self.largest_uid = max(uid, self.largest_uid)
        return wrong

    def compare(self, uid_validity: int, uid_next: int, found: list[Found]) -> list[str]:
        """What is wrong after a restart; then reality is the model."""
        wrong = []
        if self.uid_validity not in (0, uid_validity):
            wrong.append(f"{self.name}: UIDVALIDITY {self.uid_validity} became {uid_validity}")
        self.uid_validity = uid_validity
        there = {each.uid: each for each in found}
        if len(there) != len(found):
            wrong.append(f"{self.name}: a UID is there twice")
        for uid, (token, flags) in self.messages.items():
            each = there.get(uid)
            if each is None:
                if uid not in self.leaving:
                    wrong.append(f"{self.name}: {token} (UID {uid}) was acknowledged and is lost")
            elif each.token != token:
                wrong.append(f"{self.name}: UID {uid} was {token} and is {each.token}")
            elif each.flags not in (flags, self.flags_in_doubt.get(uid, flags)):
                wrong.append(f"{self.name}: {token} has flags {sorted(each.flags)} instead of {sorted(flags)}")
        for uid, each in there.items():
            if uid in self.messages:
                continue
            if self.arriving[each.token] <= 0:
                wrong.append(f"{self.name}: {each.token} (UID {uid}) is there twice, or came back")
            if uid <= self.largest_uid:
                wrong.append(f"{self.name}: UID {uid} was used again")
            self.arriving[each.token] -= 1
        if uid_next <= max(there, default=0):
            wrong.append(f"{self.name}: UIDNEXT {uid_next} is not above UID {max(there)}")
        self.messages = {uid: (each.token, each.flags) for uid, each in there.items()}
        # What was given out and vanished without an answer may be given out again: nobody saw it.
        self.largest_uid = max(self.largest_uid, *there, 0)
        self.arriving.clear()
        self.flags_in_doubt.clear()
        self.leaving.clear()
        return wrong


@dataclass(slots=True)
class DeliveryModel:
    """A place that messages only come into: an INBOX by SMTP, a newsgroup by POST."""

    name: str
    sent: set[str] = field(default_factory=set)
    """Tokens whose answer did not come."""
    acknowledged: set[str] = field(default_factory=set)
    confirmed: dict[int, str] = field(default_factory=dict)
    """UID or article number → token, of earlier rounds."""

    def compare(self, found: dict[int, str]) -> list[str]:
        """What is wrong with the new ones of a round, by number; then they are confirmed."""
        wrong = []
        earlier = set(self.confirmed.values())
        counts = Counter(found.values())
        for number, token in found.items():
            if number in self.confirmed or number < max(self.confirmed, default=0):
                wrong.append(f"{self.name}: number {number} was used again")
            if token in earlier or counts[token] > 1:
                wrong.append(f"{self.name}: {token} is there twice")
            elif token not in self.acknowledged and token not in self.sent:
                wrong.append(f"{self.name}: {token} was never sent")
        wrong.extend(f"{self.name}: {token} was acknowledged and is lost" for token in self.acknowledged - set(counts))
        self.confirmed.update(found)
        self.acknowledged.clear()
        self.sent.clear()
        return wrong

    def compare_all(self, found: dict[int, str]) -> list[str]:
        """At the end: everything that was ever confirmed, and nothing twice."""
        if found == self.confirmed:
            return []
        lost = set(self.confirmed.items()) - set(found.items())
        new = set(found.items()) - set(self.confirmed.items())
        return [f"{self.name}: {len(lost)} confirmed messages are lost, {len(new)} appeared"]
