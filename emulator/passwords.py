"""Stored passwords: scrypt (RFC 7914), salted, in one line of text that names its own parameters.

scrypt rather than Argon2 because it is in Python's standard library: nothing to compile, nothing more to install.
Passwords given with `--user` on the command line stay plain in memory (CRAM-MD5, APOP and SCRAM need them); what is
written to a data directory is never plain.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os

LOG2_N, BLOCK, PARALLEL = 14, 8, 1
"""16 MiB and some 40 ms a guess (RFC 7914 section 2; the parameters its author gave for interactive logins)."""
SALT_OCTETS = 16
KEY_OCTETS = 32
PASSWORD_OCTETS_MAX = 4096
LOG2_N_MAX = 17
_MEMORY_OCTETS_MAX = 256 << 20
_REMEMBERED_MAX = 1000
_AT_ONCE_MAX = 2


def hash_password(password: str, *, log2_n: int = LOG2_N) -> str:
    """`scrypt$14$8$1$SALT$KEY`, to store."""
    salt = os.urandom(SALT_OCTETS)
    key = _derive(password, salt, log2_n, BLOCK, PARALLEL)
    encoded = (base64.b64encode(part).decode() for part in (salt, key))
    return "$".join(("scrypt", str(log2_n), str(BLOCK), str(PARALLEL), *encoded))


def _derive(password: str, salt: bytes, log2_n: int, block: int, parallel: int) -> bytes:
    if not 0 < log2_n <= LOG2_N_MAX:
        raise ValueError("a guess would cost too much")
    return hashlib.scrypt(
        password.encode("utf-8", "surrogateescape")[:PASSWORD_OCTETS_MAX],
        salt=salt,
        n=1 << log2_n,
        r=block,
        p=parallel,
        maxmem=_MEMORY_OCTETS_MAX,
        dklen=KEY_OCTETS,
    )


def verify_password(password: str, stored: str) -> bool:
    """Whether the password is the one that was stored, compared in constant time; False for what is no stored one."""
    parts = stored.split("$")
    if len(parts) != 6 or parts[0] != "scrypt":
        return False
    try:
        log2_n, block, parallel = map(int, parts[1:4])
        salt, key = (base64.b64decode(part, validate=True) for part in parts[4:])
        derived = _derive(password, salt, log2_n, block, parallel)
    except (ValueError, OverflowError, MemoryError):  # damaged, or parameters beyond what one login may cost
        return False
    return hmac.compare_digest(derived, key)


class PasswordVerifier:
    """Verifies; what was right once is remembered under a key of this process, so that each login is not 40 ms."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._turns: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def verify(self, password: str, stored: str) -> bool:
        """As `verify_password`."""
        mark = self._mark(password, stored)
        return mark in self._right or self._remember(mark, verify_password(password, stored))

    async def verify_in_thread(self, password: str, stored: str) -> bool:
        """As `verify`; so many at a time as there may be threads for it, each with 16 MiB."""
        mark = self._mark(password, stored)
        if mark in self._right:
            return True
        loop = asyncio.get_running_loop()
        if self._turns is None or self._loop is not loop:
            self._turns, self._loop = asyncio.Semaphore(_AT_ONCE_MAX), loop
        async with self._turns:
            if mark in self._right:  # it was the same one that was before us
                return True
            return self._remember(mark, await asyncio.to_thread(verify_password, password, stored))

    def _mark(self, password: str, stored: str) -> bytes:
        octets = stored.encode() + b"\0" + password.encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, octets, "sha256")

    def _remember(self, mark: bytes, right: bool) -> bool:
        if right:
            self._right[mark] = None
            while len(self._right) > _REMEMBERED_MAX:
                del self._right[next(iter(self._right))]
        return right
