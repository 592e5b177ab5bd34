"""`mailjam …`: one word each. A flag `--smtp-port` may also be set as the variable `MAILJAM_SMTP_PORT`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from emulator.builds import UnknownBuild
from emulator.config import SettingsError

from . import check, commands, explain, explorer, replay, serve, soak

EXIT_USAGE = 2


def build_parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    parser = argparse.ArgumentParser(
        prog="mailjam", description="A mail and news server (SMTP, POP3, IMAP4, NNTP) that can be jammed on purpose."
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve.add_parser(subparsers)
    commands.reproduce_parser(subparsers)
    commands.verify_parser(subparsers)
    commands.demo_parser(subparsers)
    explorer.add_parser(subparsers)
    replay.add_parser(subparsers)
    explain.add_parser(subparsers)
    soak.add_parser(subparsers)
    check.add_parser(subparsers)
    for subparser in subparsers.choices.values():
        _take_environment(subparser)
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
    parsed = build_parser().parse_args(arguments)
    try:
        code = parsed.run(parsed)
    except (SettingsError, UnknownBuild) as error:
        print(f"mailjam: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    assert isinstance(code, int)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
