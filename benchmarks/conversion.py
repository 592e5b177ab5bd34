"""Conversion beside other parsers: python benchmarks/conversion.py [FOLDER of .eml files] [--rounds N] [--pathological]

`inbound` finds the structure; `full` computes every property, recipient and attachment; `generate` writes MIME from the
properties alone. The others parse and decode what they offer. `--pathological`: the kinds of benchmarks/pathological.py
instead, a megabyte of each; `read` is inbound conversion with every property, ENVELOPE and BODYSTRUCTURE. Figures are
processor time, the best round of each message, so that they can be compared on a busy machine. `worst ms/MB` is of the
messages of SIZE_OCTETS_MIN and more, `worst ms` of those below, where what every message costs outweighs its size.
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
from protocols.imap.envelope import bodystructure, envelope


def full(octets: bytes) -> None:
    inbound(octets).compute()


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


SIZE_OCTETS_MIN = 16_384


def measure(parse: Callable[[bytes], object], messages: list[bytes], rounds: int) -> tuple[list[float], int]:
    """(seconds for each message in its best round, errors)."""
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
    return best, errors


OCTETS = 1_000_000


def pathological(rounds: int) -> None:
    """Milliseconds for each megabyte, the worst kind first."""
    from benchmarks.pathological import KINDS  # noqa: PLC0415

    def read(octets: bytes) -> None:
        message = inbound(octets)
        message.compute()
        envelope(message.structure)
        bodystructure(message.structure)

    rows = []
    for kind, make in KINDS.items():
        octets = make(OCTETS)
        figures = [measure(work, [octets], rounds)[0][0] * 1e9 / len(octets) for work in (inbound, read, generate)]
        rows.append((figures[1], figures, kind))
    print(f"{'':40}{'inbound':>10}{'read':>10}{'generate':>10}   ms/MB")
    for _, figures, kind in sorted(rows, reverse=True):
        print(f"{kind:40}" + "".join(f"{figure:10.1f}" for figure in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "corpus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pathological", action="store_true")
    arguments = parser.parse_args()
    if arguments.pathological:
        pathological(arguments.rounds)
        return
    paths = sorted(arguments.folder.rglob("*.eml"))
    messages = [path.read_bytes() for path in paths]
    if not messages:
        raise SystemExit(f"{arguments.folder} holds no .eml files")
    octets = sum(map(len, messages))
    logging.disable(logging.WARNING)  # mail-parser tells of each type that it does not handle
    print(f"{len(messages)} messages, {octets / 1e6:.1f} MB")
    print(f"{'':22}{'messages/s':>12}{'MB/s':>9}{'errors':>8}{'worst ms':>10}{'worst ms/MB':>13}  (which)")
    for name, parse in contenders().items():
        best, errors = measure(parse, messages, arguments.rounds)
        small = [seconds for seconds, message in zip(best, messages, strict=True) if len(message) < SIZE_OCTETS_MIN]
        large = [
            (seconds * 1e9 / len(message), path.name)
            for seconds, message, path in zip(best, messages, paths, strict=True)
            if len(message) >= SIZE_OCTETS_MIN
        ]
        seconds = sum(best)
        rate, which = max(large, default=(0.0, "none"))
        print(
            f"{name:22}{len(messages) / seconds:12.0f}{octets / seconds / 1e6:9.1f}{errors:8}"
            f"{max(small, default=0.0) * 1e3:10.2f}{rate:13.1f}  ({which[-60:]})"
        )


if __name__ == "__main__":
    main()
