"""`mailjam ca`: the certificate authority that made the servers' certificates, for clients to trust."""

from __future__ import annotations

import argparse
from pathlib import Path

from emulator.certificates import authority, default_directory


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam ca`."""
    parser = subparsers.add_parser("ca", help="print the certificate authority that clients have to trust")
    parser.add_argument(
        "--tls-directory",
        type=Path,
        default=default_directory(),
        metavar="DIR",
        help="where it is kept; give `mailjam serve` the same one (%(default)s)",
    )
    parser.add_argument("--pem", action="store_true", help="print the certificate itself, not the path of its file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the authority if it is not there yet. Raises SettingsError when its folder cannot be used."""
    found = authority(arguments.tls_directory)
    print(found.pem.decode() if arguments.pem or found.path is None else found.path)
    return 0
