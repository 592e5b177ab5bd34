"""NTLM as a server of its time checked it ([MS-NLMP]): its three messages, and NTLMv2 responses (section 3.3.2).

No signing, no sealing, no NTLMv1 (its keys are DES): a client has to answer with NTLMv2, as all can since 1998. MD4
and MD5 are what the protocol is made of; it is here for the personality of Exchange 5.5, which offered nothing better.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass

SIGNATURE = b"NTLMSSP\0"
CHALLENGE_OCTETS = 8

_UNICODE, _REQUEST_TARGET, _NTLM, _ALWAYS_SIGN = 0x1, 0x4, 0x200, 0x8000
_TARGET_IS_SERVER, _EXTENDED_SECURITY, _TARGET_INFO = 0x20000, 0x80000, 0x800000
_FLAGS = _UNICODE | _REQUEST_TARGET | _NTLM | _ALWAYS_SIGN | _TARGET_IS_SERVER | _EXTENDED_SECURITY | _TARGET_INFO
_COMPUTER, _DOMAIN, _DNS_COMPUTER = 1, 2, 3
_CHALLENGE_HEAD, _AUTHENTICATE_HEAD = 48, 64
_PROOF_OCTETS = 16
_NTLMV1_OCTETS = 24
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Answer:
    """What the AUTHENTICATE_MESSAGE says (section 2.2.1.3)."""

    user: str
    domain: str
    response: bytes
    """NtChallengeResponse: a proof of 16 octets, and what was proved with it."""


def is_negotiate(message: bytes) -> bool:
    """Whether this is a NEGOTIATE_MESSAGE (section 2.2.1.1)."""
    return message.startswith(SIGNATURE + b"\1\0\0\0") and len(message) >= 16


def challenge(nonce: bytes, hostname: str) -> bytes:
    """The CHALLENGE_MESSAGE (section 2.2.1.2), in the name of this host."""
    computer = hostname.partition(".")[0].upper()
    target = computer.encode("utf-16-le")
    info = b"".join(
        struct.pack("<HH", kind, len(text.encode("utf-16-le"))) + text.encode("utf-16-le")
        for kind, text in ((_DOMAIN, computer), (_COMPUTER, computer), (_DNS_COMPUTER, hostname))
    )
    info += bytes(4)
    return b"".join(
        (
            SIGNATURE,
            struct.pack("<IHHII", 2, len(target), len(target), _CHALLENGE_HEAD, _FLAGS),
            nonce,
            bytes(8),
            struct.pack("<HHI", len(info), len(info), _CHALLENGE_HEAD + len(target)),
            target,
            info,
        )
    )


def read_answer(message: bytes) -> Answer | None:
    """The AUTHENTICATE_MESSAGE; None for what is none."""
    if not message.startswith(SIGNATURE + b"\3\0\0\0") or len(message) < _AUTHENTICATE_HEAD:
        return None
    (flags,) = struct.unpack_from("<I", message, 60)
    codec = "utf-16-le" if flags & _UNICODE else "cp1252"
    response, domain, user = (_field(message, position) for position in (20, 28, 36))
    if response is None or domain is None or user is None:
        return None
    return Answer(user.decode(codec, "replace"), domain.decode(codec, "replace"), response)


def _field(message: bytes, position: int) -> bytes | None:
    """Octets that a length and an offset in the head point to; None where they point outside."""
    length, _, offset = struct.unpack_from("<HHI", message, position)
    return message[offset : offset + length] if offset + length <= len(message) else None


def is_right(answer: Answer, nonce: bytes, password: str) -> bool:
    """Whether the response proves the password (section 3.3.2). Compares in constant time."""
    proof, proved = answer.response[:_PROOF_OCTETS], answer.response[_PROOF_OCTETS:]
    if len(answer.response) <= _NTLMV1_OCTETS:
        return False
    # clients put the domain in as they send it, with or without capitals (section 3.3.2, NTOWFv2)
    wanted = hmac.digest(response_key(answer.user, answer.domain, password), nonce + proved, "md5")
    return hmac.compare_digest(wanted, proof)


def response_key(user: str, domain: str, password: str) -> bytes:
    """NTOWFv2 (section 3.3.2)."""
    name = (user.upper() + domain).encode("utf-16-le", "surrogatepass")
    return hmac.digest(md4(password.encode("utf-16-le", "surrogatepass")), name, "md5")


# --- MD4 --------------------------------------------------------------------------------------------------------------

_ROUNDS = (
    (0x00000000, tuple(range(16)), (3, 7, 11, 19)),
    (0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
    (0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
)
"""Of each round (RFC 1320 section 3.4): the constant, the order of the words, the shifts."""


def md4(octets: bytes) -> bytes:
    """RFC 1320. OpenSSL 3 has it no more."""
    padded = octets + b"\x80" + bytes(-(len(octets) + 9) % 64) + struct.pack("<Q", len(octets) * 8)
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for start in range(0, len(padded), 64):
        words = struct.unpack_from("<16I", padded, start)
        a, b, c, d = state
        for number, (constant, order, shifts) in enumerate(_ROUNDS):
            for step, word in enumerate(order):
                mixed = (b & c | ~b & d) if number == 0 else (b & c | b & d | c & d) if number == 1 else b ^ c ^ d
                total = (a + mixed + words[word] + constant) & _MASK
                shift = shifts[step % 4]
                a, b, c, d = d, (total << shift | total >> 32 - shift) & _MASK, b, c
        state = tuple((old + new) & _MASK for old, new in zip(state, (a, b, c, d), strict=True))  # type: ignore[assignment]
    return struct.pack("<4I", *state)
