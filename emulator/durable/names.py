"""Names of files in a data directory."""

from __future__ import annotations

FILE_NAME = "store.sqlite3"
