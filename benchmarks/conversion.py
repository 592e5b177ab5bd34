"""Conversion beside other parsers: python benchmarks/conversion.py [FOLDER of .eml files] [--rounds N]

`inbound` finds the structure; `full` computes every property, recipient and attachment; `generate` writes MIME from the
properties alone. The others parse and decode what they offer. Figures are processor time, the
best round of each message, so that they can be compared on a busy machine.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import logging
import time
from collections.abc import Callable
from pathlib import Path

from emulator.imail import inbound, outbound
from emulator.properties import PropertyMessage


def full(octets: bytes) -> None:
    everything(inbound(octets))


def everything(message: PropertyMessage) -> None:
    message.properties.items()
    for recipient in message.recipients:
        recipient.items()
    for attachment in message.attachments:
        attachment.items()
        if attachment.embedded is not None:
            everything(attachment.embedded)


def generate(octets: bytes) -> None:
    message = inbound(octets)
    message.forget_original()
    outbound(message)


def stdlib_compat32(octets: bytes) -> None:
    for part in email.message_from_bytes(octets).walk():
        if not part.is_multipart():
            part.get_payload(decode=True)


def stdlib_default(octets: bytes) -> None:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    for part in message.walk():
        part.items()
        if not part.is_multipart():
            part.get_payload(decode=True)


def contenders() -> dict[str, Callable[[bytes], object]]:
    found: dict[str, Callable[[bytes], object]] = {
        "inbound": inbound,
        "inbound + outbound": lambda octets: outbound(inbound(octets)),
        "full": full,
        "generate": generate,
        "email compat32": stdlib_compat32,
        "email policy.default": stdlib_default,
    }
    try:
        import mailparser  # noqa: PLC0415

        found["mail-parser"] = lambda octets: mailparser.parse_from_bytes(octets).mail
    except ImportError:
        print("mail-parser is not installed: pip install mail-parser")
    try:
        import fast_mail_parser  # noqa: PLC0415

        found["fast-mail-parser"] = fast_mail_parser.parse_email
    except ImportError:
        print("fast-mail-parser is not installed: pip install fast-mail-parser")
    return found


def measure(parse: Callable[[bytes], object], messages: list[bytes], rounds: int) -> tuple[float, int, float]:
    """(seconds for all messages, errors, seconds for the worst one): of each message its best round."""
    best = [float("inf")] * len(messages)
    errors = 0
    for _ in range(rounds):
        errors = 0
        for index, octets in enumerate(messages):
            before = time.process_time()
            try:
                parse(octets)
            except Exception:
                errors += 1
            best[index] = min(best[index], time.process_time() - before)
    return sum(best), errors, max(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "corpus")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    messages = [path.read_bytes() for path in sorted(arguments.folder.rglob("*.eml"))]
    if not messages:
        raise SystemExit(f"{arguments.folder} holds no .eml files")
    octets = sum(map(len, messages))
    logging.disable(logging.WARNING)  # mail-parser tells of each type that it does not handle
    print(f"{len(messages)} messages, {octets / 1e6:.1f} MB")
    print(f"{'':22}{'messages/s':>12}{'MB/s':>9}{'errors':>8}{'worst ms':>10}")
    for name, parse in contenders().items():
        seconds, errors, worst = measure(parse, messages, arguments.rounds)
        print(f"{name:22}{len(messages) / seconds:12.0f}{octets / seconds / 1e6:9.1f}{errors:8}{worst * 1e3:10.1f}")


if __name__ == "__main__":
    main()
