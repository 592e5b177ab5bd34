"""Names of files in a data directory."""

from __future__ import annotations

import os
from pathlib import Path

FILE_NAME = "store.sqlite3"
SPOOL_NAME = "Imcdata"


def sync_directory(directory: Path) -> None:
    """Make new names in a directory durable. Raises OSError."""
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
