"""Who there is: accounts, addresses, lists. The directory service (MSExchangeDS) of the emulated system.

Reading it takes no critical section. The conversion stage works from its own serialized copy, which the
directory-notification thread rebuilds after changes (KB Q268357, Q274403).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING

from protocols.actor import current_actor
from protocols.ports import NoSuchMailbox

from .events import Bus, DirectoryChanged
from .passwords import PasswordVerifier, hash_password

if TYPE_CHECKING:
    from .config import Settings
    from .logons import Logons
    from .store import Mailbox, Store

_PASSWORD_OF = "password:"  # noqa: S105 - a name
"""Keys of stored passwords among the annotations of the server."""


def split_address(address: str) -> tuple[str, str]:
    """Local part (unquoted) and lower-case domain of an address; the domain is empty when there is none."""
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    if len(local) > 1 and local.startswith('"') and local.endswith('"'):
        local = local[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return local, domain.lower().rstrip(".")


class Directory:
    """Accounts and how addresses and logins find mailboxes.

    A mailbox is known by its name: an account's name, or the address it was made for. A recipient `alice@example.com`
    finds the account of that whole name, else the account `alice`, else the mailbox made earlier for that address, else
    one is made (unless `strict_users`). A login finds a mailbox in the same manner; `alice` also finds the only
    mailbox whose local part is `alice`.
    """

    def __init__(self, settings: Settings, store: Store, bus: Bus) -> None:
        self._settings = settings
        self._store = store
        self._bus = bus
        self._passwords: dict[str, str] = {}
        self._stored: dict[str, str] = {}
        """Of accounts that a data directory keeps: see `passwords`."""
        self._verifier = PasswordVerifier()
        self._tokens: dict[str, str] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        self._by_local: dict[str, set[str]] = {}
        self.logons: Logons | None = None
        """Where logins take their place; None: they need none."""
        self.elsewhere: Callable[[str], bool] = lambda address: False
        """Whether mail for an address leaves by a gateway: nobody needs a mailbox for it here."""
        self.serial = 0
        """Counts changes; the conversion stage's copy carries the serial it was built from."""
        for name in store.mailboxes:
            self._index(name)
        for (scope, key), value in store.annotations.items():
            if scope == "server" and key.startswith(_PASSWORD_OF):
                self._stored[key.removeprefix(_PASSWORD_OF)] = value.decode("utf-8", "replace")
        self._configured = frozenset(self.canonical(account.name) for account in settings.accounts)
        for account in settings.accounts:
            self._passwords[self.canonical(account.name)] = account.password

    # --- administration -----------------------------------------------------------------------------------------------

    async def add_user(self, name: str, password: str) -> Mailbox:
        """Make an account (or change its password) and its mailbox. Raises Unavailable.

        With a data directory the account stays; its password is kept as a hash, unless it is one of the settings'.
        """
        key = self.canonical(name)
        if self._settings.data is not None and key not in self._configured:
            stored = await asyncio.to_thread(hash_password, password)
            await self._store.annotate("server", _PASSWORD_OF + key, stored.encode())
            self._stored[key] = stored
        else:
            self._passwords[key] = password
        mailbox = await self._make(key)
        self.changed(f"user {key}")
        return mailbox

    def add_token(self, token: str, user: str) -> None:
        """Let a bearer token stand for a user (XOAUTH2, OAUTHBEARER)."""
        self._tokens[token] = self.canonical(user)

    def add_list(self, address: str, members: tuple[str, ...]) -> None:
        """A distribution list: mail to it goes to its members; EXPN shows them."""
        self._lists[self.canonical(address)] = members
        self.changed(f"list {address}")

    def members(self, address: str) -> tuple[str, ...] | None:
        """The members of a distribution list, or None."""
        return self._lists.get(self.canonical(address))

    def take_over(self, other: Directory) -> None:
        """Know the accounts, tokens and lists of another directory too, whose server has ended."""
        self._passwords.update(other._passwords)
        self._stored.update(other._stored)
        self._tokens.update(other._tokens)
        self._lists.update(other._lists)

    def changed(self, what: str) -> None:
        """Tell the directory-notification thread that something was modified."""
        self.serial += 1
        self._bus.publish(DirectoryChanged(what))

    @property
    def users(self) -> tuple[str, ...]:
        """All accounts that have a password."""
        return tuple({**self._stored, **self._passwords})

    # --- finding mailboxes --------------------------------------------------------------------------------------------

    @staticmethod
    def canonical(name: str) -> str:
        """Names compare without regard to case and Unicode form of width."""
        return name.strip().casefold()

    def find(self, address: str) -> str | None:
        """The name of the mailbox that `address` (or a login name) reaches now, or None."""
        whole = self.canonical(address)
        mailboxes = self._store.mailboxes
        if whole in self._passwords or whole in self._stored or whole in mailboxes:
            return whole
        local, domain = split_address(whole)
        if domain:
            # sub-addressing (RFC 5233): alice+tag reaches alice
            for candidate in (local, f"{local.partition('+')[0]}@{domain}", local.partition("+")[0]):
                if candidate and any(candidate in known for known in (self._passwords, self._stored, mailboxes)):
                    return candidate
            return None
        candidates = self._by_local.get(local, ())
        return next(iter(candidates)) if len(candidates) == 1 else None

    def is_local(self, address: str) -> bool:
        """Whether mail for the address stays here: always, unless `domains` or a smart host say otherwise."""
        _, domain = split_address(address)
        ours = self._settings.domains
        if self.elsewhere(address):
            return True
        if not domain or domain == "localhost" or domain in ours or domain == self._settings.front_end.hostname.lower():
            return True
        if not ours and not self._settings.smarthost:
            return True
        return self.find(address) is not None or not self._settings.smarthost

    def check_recipient(self, address: str) -> None:
        """Raises NoSuchMailbox when mail for `address` would not be delivered."""
        if self.members(address) is not None or self.find(address) is not None or self.elsewhere(address):
            return
        if self._settings.strict_users and not self._is_postmaster(address):
            raise NoSuchMailbox(f"no mailbox for {address} here")
        if len(self._store.mailboxes) >= self._settings.mailboxes_max:
            raise NoSuchMailbox("no more mailboxes can be made here")

    async def recipient(self, address: str) -> Mailbox:
        """The mailbox to deliver to; made when the settings say so. Raises NoSuchMailbox."""
        name = self.find(address)
        if name is None:
            self.check_recipient(address)
            name = "postmaster" if self._is_postmaster(address) else self.canonical(address)
        return await self._make(name)

    def _is_postmaster(self, address: str) -> bool:
        """Whether it is the mailbox that every server has (RFC 5321 section 4.5.1)."""
        local, domain = split_address(self.canonical(address))
        ours = self._settings.domains
        return local == "postmaster" and (
            not domain or not ours or domain in ours or domain == self._settings.front_end.hostname.lower()
        )

    async def _make(self, name: str) -> Mailbox:
        mailbox = self._store.mailboxes.get(name)
        if mailbox is None:
            mailbox = await self._store.create_mailbox(name)
            self._index(name)
        return mailbox

    def _index(self, name: str) -> None:
        self._by_local.setdefault(split_address(name)[0], set()).add(name)

    # --- logging in ---------------------------------------------------------------------------------------------------

    def authenticate(self, user: str, password: str) -> str | None:
        """The canonical name when the password is right.

        An account has its password. A mailbox that was only made by a delivery has none and opens to any password, and
        where no account is configured anybody may log in: unless `strict_users`. Compared in constant time.
        """
        name = self.find(user)
        known = self._passwords.get(name) if name is not None else None
        if known is not None:
            right = hmac.compare_digest(known.encode(), password.encode("utf-8", "surrogateescape"))
            return name if right else None
        if name is not None and name in self._stored:
            return name if self._verifier.verify(password, self._stored[name]) else None
        hmac.compare_digest(b"x" * 16, password.encode("utf-8", "surrogateescape"))
        if self._settings.strict_users or not password or not user:
            return None
        if name is not None:
            return name
        return self.canonical(user) if not self.users else None

    async def verify(self, user: str, password: str) -> str | None:
        """As `authenticate`; a stored password's hash is computed in a thread, and nobody else waits for it."""
        name = self.find(user)
        stored = self._stored.get(name) if name is not None and name not in self._passwords else None
        if stored is None:
            return self.authenticate(user, password)
        return name if await self._verifier.verify_in_thread(password, stored) else None

    def secret(self, user: str) -> str | None:
        """The plain password of an account, for mechanisms that need it on the server's side."""
        name = self.find(user)
        return self._passwords.get(name) if name is not None else None

    @property
    def has_secrets(self) -> bool:
        """Whether any account has a password."""
        return bool(self._passwords)  # stored ones are not known in plain

    @property
    def has_tokens(self) -> bool:
        """Whether anybody has a bearer token."""
        return bool(self._tokens)

    def token_user(self, token: str) -> str | None:
        """The user for whom a bearer token was issued."""
        found = None
        for known, user in self._tokens.items():
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "surrogateescape")):
                found = user
        return found

    async def login(self, user: str) -> Mailbox:
        """The mailbox of an authenticated user. Raises NoSuchMailbox when it may not be made, Unavailable."""
        if self.logons is not None:
            self.logons.log_on(current_actor.get())
        name = self.find(user) or self.canonical(user)
        if name not in self._store.mailboxes and self._settings.strict_users and name not in self.users:
            raise NoSuchMailbox(f"{user} has no mailbox here")
        return await self._make(name)
