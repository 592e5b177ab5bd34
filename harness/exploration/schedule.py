"""Schedules as values: which actor takes each step, and a short printable token for it.

Token: `mj1-` and base 32 (lower case, Crockford's alphabet: no i, l, o, u) of
  form            1 octet    0: steps
  label           1 octet length, then UTF-8: which program (scenario, build) the schedule belongs to
  fingerprint     2 octets   CRC of the operations' names, to notice a program that has changed
  runs            varint count, then (actor, steps) varints: one pair per stretch without a context switch
  check           2 octets   CRC of all before, to notice a typing error
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from harness.exploration.execution import Outcome

PREFIX: Final = "mj1-"
STEPS_MAX: Final = 1_000_000
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)} | {"o": 0, "i": 1, "l": 1}
_FORM_STEPS: Final = 0


class TokenError(ValueError):
    """The text is not a token of this version; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The order of the actors, as their numbers in the order in which the program names them."""

    order: tuple[int, ...]
    label: str = ""
    fingerprint: int = 0

    @property
    def runs(self) -> list[tuple[int, int]]:
        """(actor, steps) for each stretch without a context switch."""
        return [(actor, len(list(steps))) for actor, steps in groupby(self.order)]

    @property
    def context_switches(self) -> int:
        return max(0, len(self.runs) - 1)

    @classmethod
    def of(cls, outcome: Outcome, label: str = "") -> Schedule:
        """The schedule of an execution, with actors renumbered by their first appearance in the program's own order."""
        return cls(tuple(local_order(outcome)), label, fingerprint(outcome.operations))

    @property
    def token(self) -> str:
        label = self.label.encode()
        if len(label) > 255:
            raise ValueError("a schedule's label has at most 255 octets")
        body = bytearray([_FORM_STEPS, len(label)])
        body += label
        body += self.fingerprint.to_bytes(2, "big")
        runs = self.runs
        body += _varint(len(runs))
        for actor, steps in runs:
            body += _varint(actor) + _varint(steps)
        body += binascii.crc_hqx(bytes(body), 0).to_bytes(2, "big")
        return PREFIX + _base32(bytes(body))

    @classmethod
    def parse(cls, token: str) -> Schedule:
        """Raises TokenError for anything that `token` did not produce."""
        text = token.strip().lower()
        if not text.startswith(PREFIX):
            raise TokenError(f"a schedule token starts with {PREFIX}; this one starts with {text[:4]!r}")
        data = _unbase32(text[len(PREFIX) :])
        if len(data) < 7 or binascii.crc_hqx(data[:-2], 0) != int.from_bytes(data[-2:], "big"):
            raise TokenError("the token is incomplete or mistyped: its check digits do not agree")
        body, position = data[:-2], 0
        if body[0] != _FORM_STEPS:
            raise TokenError(f"the token has form {body[0]}, which this version does not know")
        end = 2 + body[1]
        try:
            label = body[2:end].decode()
            mark = int.from_bytes(body[end : end + 2], "big")
            count, position = _read_varint(body, end + 2)
            order: list[int] = []
            for _ in range(count):
                actor, position = _read_varint(body, position)
                steps, position = _read_varint(body, position)
                if len(order) + steps > STEPS_MAX:
                    raise TokenError(f"the token has more than {STEPS_MAX} steps")
                order += [actor] * steps
        except (IndexError, UnicodeDecodeError) as error:
            raise TokenError("the token is incomplete") from error
        if position != len(body):
            raise TokenError("the token has octets after its end")
        return cls(tuple(order), label, mark)


def local_order(outcome: Outcome) -> Iterable[int]:
    """The order with actors numbered as that execution started them (whatever was explored before it)."""
    numbers = {index: number for number, index in enumerate(outcome.started)}
    return (numbers[index] for index in outcome.order)


def fingerprint(operations: Sequence[str]) -> int:
    """16 bits over the names of the operations in their order."""
    return binascii.crc_hqx("\n".join(operations).encode(), 0)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = data[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
        if shift > 28:
            raise TokenError("the token has a number that is too large")


def _base32(data: bytes) -> str:
    bits = len(data) * 8
    value = int.from_bytes(data, "big") << (-bits % 5)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(bits + (-bits % 5) - 5, -1, -5))


def _unbase32(text: str) -> bytes:
    value = 0
    for letter in text:
        if letter not in _VALUES:
            raise TokenError(f"the token has the letter {letter!r}, which is not in its alphabet")
        value = value << 5 | _VALUES[letter]
    bits = len(text) * 5
    spare = bits % 8
    if spare >= 5 or value & ((1 << spare) - 1):
        raise TokenError("the token is incomplete or mistyped: it does not end on an octet")
    return (value >> spare).to_bytes(bits // 8, "big")
