"""Every session as a file of its dialogue with times (`--transcripts DIR`), secrets masked.

The loop only puts what was said into a list; one thread masks, formats and writes it. A file, the number of files and
what waits to be written are bounded; what is left out is said in the file.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from protocols.masking import Masker

from .config import Settings, SettingsError

BACKLOG_OCTETS_MAX = 64 << 20
"""What waits for the disk; what comes above it is left out."""
FLUSH_SECONDS = 0.2
"""A batch for the disk is gathered for so long."""
_NAME = re.compile(r"\d{8}T\d{6}-\d+-\d{6,}-[a-z0-9]+\.txt")
_numbers = itertools.count(1)


class FileTranscript:
    """One session's file. Fulfils `emulator.transport.Tap`; a piece costs the loop one append."""

    def __init__(self, owner: TranscriptFiles, path: Path, protocol: str, head: str) -> None:
        self.path = path
        self.masker = Masker(protocol)
        self.began = time.monotonic()
        self.pieces: list[tuple[float, str, bytes]] = []
        self.left_out = 0
        """Octets that did not fit into the backlog since the last batch."""
        self.written = 0
        self.full = False
        self.made = False
        self.head = head
        self._owner = owner

    def received(self, octets: bytes) -> None:
        """From the peer."""
        self._add("C", octets)

    def sent(self, octets: bytes) -> None:
        """To the peer."""
        self._add("S", octets)

    def closed(self) -> None:
        """The connection is gone."""
        self.pieces.append((time.monotonic(), "", b""))
        self._owner.dirty(self, 0)

    def _add(self, side: str, octets: bytes) -> None:
        if self.full:
            return
        if self._owner.backlog_octets > BACKLOG_OCTETS_MAX:
            self.left_out += len(octets)
            return
        self.pieces.append((time.monotonic(), side, octets))
        self._owner.dirty(self, len(octets))


class TranscriptFiles:
    """The folder of transcripts, and the thread that writes them."""

    def __init__(self, directory: Path, *, file_bytes_max: int, files_max: int) -> None:
        """Raises SettingsError when the folder cannot be made or written."""
        self._directory = directory
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._kept = sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
        except OSError as error:
            raise SettingsError(f"--transcripts {directory}: {error.strerror or error}") from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise SettingsError(f"--transcripts {directory}: the folder is not writable")
        self.backlog_octets = 0
        self.failed = ""
        """Why a file could not be written, the last time; the session goes on without."""
        self._dirty: dict[FileTranscript, None] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mailjam-transcripts", daemon=True)
        self._thread.start()

    def begin(self, protocol: str, actor: str, peer: str, tls: bool) -> FileTranscript:
        """The transcript of a session that begins now."""
        now = datetime.now(UTC)
        number = next(_numbers)
        name = f"{now:%Y%m%dT%H%M%S}-{os.getpid()}-{number:06}-{protocol}.txt"
        head = f"# {actor} from {peer}{', TLS' if tls else ''}, {now.isoformat(timespec='milliseconds')}\n"
        return FileTranscript(self, self._directory / name, protocol, head)

    def dirty(self, transcript: FileTranscript, octets: int) -> None:
        """The transcript has something to write."""
        with self._lock:
            self.backlog_octets += octets
            self._dirty[transcript] = None
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what waits and end the thread. Blocks until then."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait()
            closing = self._closing.wait(FLUSH_SECONDS)
            self._wake.clear()
            with self._lock:
                batch, self._dirty = self._dirty, {}
            for transcript in batch:
                self._write(transcript)
            if closing and not self._dirty:
                return

    def _write(self, transcript: FileTranscript) -> None:
        pieces, transcript.pieces = transcript.pieces, []
        left_out, transcript.left_out = transcript.left_out, 0
        text = self._format(transcript, pieces)
        if left_out:
            text += f"# {left_out} octets are left out here: the disk did not keep up\n"
        with self._lock:
            self.backlog_octets -= sum(len(octets) for _, _, octets in pieces)
        encoded = text.encode("utf-8", "backslashreplace")
        try:
            if not transcript.made:
                encoded = transcript.head.encode("utf-8", "backslashreplace") + encoded
                self._make_room()
                transcript.made = True
                self._kept.append(transcript.path)
            with transcript.path.open("ab") as file:
                file.write(encoded)
        except OSError as error:
            self.failed = str(error)
        transcript.written += len(encoded)

    def _format(self, transcript: FileTranscript, pieces: list[tuple[float, str, bytes]]) -> str:
        found: list[str] = []
        room = self._file_bytes_max - transcript.written
        for moment, side, octets in pieces:
            stamp = f"{moment - transcript.began:10.3f}"
            if not side:
                for each in "CS":
                    found += [f"{stamp} {each}: {shown(line)}\n" for line in transcript.masker.rest(each)]
                found.append(f"{stamp} closed\n")
                continue
            if transcript.full:
                continue
            for line in transcript.masker.lines(side, octets):
                text = f"{stamp} {side}: {shown(line)}\n"
                room -= len(text)
                if room < 0:
                    transcript.full = True
                    found.append(f"# the rest is left out: a transcript has at most {self._file_bytes_max} octets\n")
                    break
                found.append(text)
        return "".join(found)

    def _make_room(self) -> None:
        while len(self._kept) >= self._files_max:
            self._kept.pop(0).unlink(missing_ok=True)


def shown(line: bytes) -> str:
    """A line for people: UTF-8 where it is, everything else and control characters escaped."""
    text = line.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii", "replace") for c in text
    )


def open_transcripts(settings: Settings) -> TranscriptFiles | None:
    """Where the settings want transcripts. Raises SettingsError."""
    if settings.transcripts is None:
        return None
    return TranscriptFiles(
        settings.transcripts,
        file_bytes_max=settings.transcript_bytes_max,
        files_max=settings.transcripts_max,
    )
