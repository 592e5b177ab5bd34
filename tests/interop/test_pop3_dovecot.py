"""Dovecot's answers to the POP3 cases, for calibration.

Where Dovecot departs from a case is a table, `pop3_dovecot_differences.json`: for each case the line that it does not
answer as written, and what it says instead. `MAILJAM_CALIBRATE=1` writes the table anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.dialogue import Case, DialogueError, read_cases, run_case

pytestmark = pytest.mark.interop

DIFFERENCES = Path(__file__).with_name("pop3_dovecot_differences.json")
CASES = [
    case
    for case in read_cases(Path(__file__).parent.parent / "dialogues" / "pop3")
    if not case.values("set") and set(case.values("user")) == {"alice:secret"} and "maildrop" not in case.title
]
"""Those that need nothing but alice and messages."""

CONFIGURATION = """
protocols = pop3
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 apop
auth_failure_delay = 0 secs
mail_location = maildir:{folder}/mail
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
first_valid_gid = 1
pop3_lock_session = yes
pop3_no_flag_updates = yes
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/home
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


class Dovecot:
    """An instance of its own below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.configuration = folder / "dovecot.conf"
        self.configuration.write_text(CONFIGURATION.format(folder=folder, port=self.port))
        self.mail = folder / "mail"
        self.process = subprocess.Popen(["dovecot", "-F", "-c", self.configuration], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"dovecot does not listen: {self.log}")

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def fill(self, messages: list[str]) -> None:
        """Make the maildrop anew with these messages (as in `@ message` lines)."""
        # made beside, then exchanged: the last session may still be writing in the old one
        fresh, old = self.mail.with_name("fresh"), self.mail.with_name("old")
        for name in ("cur", "new", "tmp"):
            (fresh / name).mkdir(parents=True)
        for number, value in enumerate(messages):
            text = value.partition("\n")[2].replace("\n", "\r\n") + "\r\n"
            # Dovecot sorts by the names of the files
            (fresh / "new" / f"{1000 + number}.M{number}.mailjam").write_bytes(text.encode())
        for path in (fresh, *fresh.rglob("*")):
            shutil.chown(path, "mail", "mail")
        if self.mail.exists():
            self.mail.rename(old)
        fresh.rename(self.mail)
        shutil.rmtree(old, ignore_errors=True)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    if shutil.which("dovecot") is None or os.geteuid() != 0:
        pytest.skip("dovecot is not here, or this is not root: apt-get install dovecot-pop3d")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "home").mkdir()
        shutil.chown(Path(name) / "home", "mail", "mail")
        server = Dovecot(Path(name))
        try:
            yield server
        finally:
            server.stop()


async def departure(case: Case, port: int) -> str | None:
    """Where the server at `port` departs from the case, in one line, or None."""
    try:
        await run_case(case, lambda: asyncio.open_connection("127.0.0.1", port), line_seconds_max=10)
    except DialogueError as error:
        expected, got = str(error).splitlines()[-2:]
        wanted = re.sub(r"^ *line \d+ expects: ", "", expected)
        # host names, times and process numbers differ from run to run
        said = re.sub(r"<[^>]*>|\d+/\d+", "…", got.removeprefix("  got: "))
        return f"{wanted} | {said}"
    except ConnectionError:
        return "the connection stays | closed"
    return None


@pytest.mark.timeout(300)
async def test_where_dovecot_departs_from_the_cases(dovecot: Dovecot) -> None:
    found = {}
    for case in CASES:
        dovecot.fill(case.values("message"))
        difference = await departure(case, dovecot.port)
        if difference is not None:
            found[case.title] = difference
    if os.environ.get("MAILJAM_CALIBRATE"):
        DIFFERENCES.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    known = json.loads(DIFFERENCES.read_text())
    assert set(found) == set(known), dovecot.log
    assert len(CASES) - len(found) >= 40, "most cases hold for Dovecot too"
