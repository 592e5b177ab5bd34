"""`mailjam …`: one word each. A flag `--smtp-port` may also be set as the variable `MAILJAM_SMTP_PORT`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from emulator.builds import UnknownBuild
from emulator.config import SettingsError

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130

COMMANDS: dict[str, tuple[str, str, str]] = {
    "serve": ("serve", "add_parser", "start the servers"),
    "reproduce": ("commands", "reproduce_parser", "jam a build on real sockets and show why"),
    "verify": ("commands", "verify_parser", "show that the defective build jams and the patched one does not"),
    "demo": ("commands", "demo_parser", "the whole story in half a minute: jam, reason, symptoms, patch"),
    "explore": ("explorer", "add_parser", "run all interleavings of a scenario: a proof or a counter-example"),
    "replay": ("replay", "add_parser", "run one schedule again, in the explorer or on real sockets"),
    "report": ("explain", "add_parser", "explain a schedule: the graph, the actors, the timeline"),
    "ps": ("ps", "add_parser", "ask a running server who holds what and who waits for whom"),
    "soak": ("soak", "add_parser", "seeded random traffic until it jams or time is up"),
    "watch": ("watch", "add_parser", "probe any mail server from outside: alive, slow, hung, backing up"),
    "client-check": ("client_check", "add_parser", "run a mail client against a server that stalls, stage by stage"),
    "check": ("check", "add_parser", "verify a data directory"),
    "convert": ("convert", "add_parser", "show a message as properties, or in another format"),
    "send": ("remote", "send_parser", "send a message through a running server"),
    "ingest": ("remote", "ingest_parser", "put .eml files straight into mailboxes or newsgroups of a running server"),
    "dump": ("remote", "dump_parser", "write a running server's messages into a folder"),
    "wait": ("remote", "wait_parser", "wait until a running server has a message that matches"),
    "fault": ("remote", "fault_parser", "arm, show, release and clear faults of a running server"),
    "service": ("remote", "service_parser", "show, start, stop, pause and continue a running server's services"),
    "user": ("remote", "user_parser", "add and list accounts of a running server"),
    "tenant": ("remote", "tenant_parser", "add, show, reset and remove systems of their own beside a running server"),
    "agent": ("swarm", "agent_parser", "wait at a broker for runs of a swarm"),
    "swarm": ("swarm", "swarm_parser", "start agents at one instant, add up latencies"),
    "ca": ("ca", "add_parser", "print the certificate authority that clients have to trust"),
}
"""Each command: its module in this package, the function there that adds its parser, and one line of help.

A module is imported only when its command is used, so that `mailjam serve` does not wait for the explorer.
"""


class _Version(argparse.Action):
    """Looked up only when asked for: reading the metadata takes longer than starting a command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"mailjam {version('mailjam')}, Python {sys.version.split()[0]}")
        parser.exit()


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of one command, or, where none of that name exists, of all (by name and help alone)."""
    parser = argparse.ArgumentParser(
        prog="mailjam", description="A mail and news server (SMTP, POP3, IMAP4, NNTP) that can be jammed on purpose."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and that of Python")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    if command is not None:
        module, function, _ = COMMANDS[command]
        getattr(import_module(f".{module}", __package__), function)(subparsers)
        _take_environment(subparsers.choices[command])
    for name, (_, _, text) in COMMANDS.items():
        if name not in subparsers.choices:
            subparsers.add_parser(name, help=text)
    return parser


def _take_environment(parser: argparse.ArgumentParser) -> None:
    """Let MAILJAM_* variables be the defaults of flags; lists are separated by white space."""
    for action in parser._actions:
        text = os.environ.get(f"MAILJAM_{action.dest.upper()}")
        if text is None or not action.option_strings or action.dest == "help":
            continue
        if isinstance(action, argparse._StoreTrueAction):
            action.default = text.lower() in ("1", "true", "yes", "on")
        elif isinstance(action, argparse._AppendAction):
            convert = action.type if callable(action.type) else str
            action.default = [convert(part) for part in text.split()]
        else:
            action.default = text  # argparse converts a text default as it would the flag's value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 2: a setting cannot be used; the line on standard error names the fix."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in arguments if word in COMMANDS), None)
    try:
        parsed = build_parser(command).parse_args(arguments)
        code = parsed.run(parsed)
    except (SettingsError, UnknownBuild) as error:
        print(f"mailjam: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("mailjam: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    assert isinstance(code, int)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
