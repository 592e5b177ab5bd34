"""`mailjam watch` against Dovecot and Postfix: healthy, stopped by SIGSTOP, and with a queue that is held."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from harness.watch import Finding, Watcher, WatchSettings

from .conftest import free_port
from .test_nntp_inn import BINARIES, Inn

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

DOVECOT = """
{version}
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/server.pem
ssl_key = <{base}/server.pem
disable_plaintext_auth = no
mail_location = maildir:{base}/mail/%u
first_valid_uid = 1
default_internal_user = dovecot
default_login_user = dovenull
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={base}/home/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""

POSTFIX = """
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.test
mydestination =
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = example.test
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = static:alice/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_recipient_restrictions = permit_mynetworks, reject
maillog_file = /var/log/mailjam-watch-test.log
alias_maps =
alias_database =
local_recipient_maps =
"""


def need(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        text = f"{program} is missing: apt-get install dovecot-imapd dovecot-pop3d postfix"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    if os.geteuid() != 0:
        pytest.skip("Dovecot and Postfix have to be started by root")
    return found


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
            sock.settimeout(5)
            if sock.recv(1):
                return
        time.sleep(0.05)
    pytest.fail(f"nothing answers on port {port}")


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting.extend(children.get(found[-1], ()))
    return found


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP for all of a server's processes, and SIGCONT afterwards."""
    members = family(pid)
    for member in members:
        os.kill(member, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGCONT)


@dataclass
class Servers:
    dovecot: subprocess.Popen[bytes]
    postfix: subprocess.Popen[bytes]
    configuration: Path
    ports: dict[str, int]

    def watcher(self, **options: float) -> Watcher:
        targets = {name: ("127.0.0.1", port) for name, port in self.ports.items() if name != "imaps"}
        settings: dict[str, Any] = {"deadline_seconds": 20.0, "slow_seconds": 10.0, "delivery_seconds": 40.0} | options
        return Watcher(WatchSettings(targets, "alice", "secret", "alice@example.test", **settings))


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    dovecot, postfix = need("dovecot"), need("postfix")
    base = Path(tempfile.mkdtemp(prefix="mailjam-watch-"))  # not below pytest's folder, which only its owner enters
    base.chmod(0o755)
    uid, gid = (int(line.split(":")[2]) for line in _account("mail"))
    for name in ("mail", "home", "run", "state", "data", "spool"):
        (base / name).mkdir()
    os.chown(base / "mail", uid, gid)
    os.chown(base / "home", uid, gid)
    shutil.chown(base / "data", "postfix")
    ports = {name: free_port() for name in ("smtp", "pop3", "imap", "imaps")}
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(base / "server.pem"))
    version = subprocess.run([dovecot, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]
    if not version.startswith("2.3"):
        pytest.skip(f"the configuration is for Dovecot 2.3, not {version}")
    (base / "dovecot.conf").write_text(DOVECOT.format(version="", base=base, **ports))
    etc = base / "postfix"
    etc.mkdir()
    asked = subprocess.run(["postconf", "-dh", "daemon_directory"], capture_output=True, text=True, check=True)
    (etc / "main.cf").write_text(POSTFIX.format(base=base, uid=uid, gid=gid, daemons=asked.stdout.strip()))
    master = (
        Path("/usr/share/postfix/master.cf.dist").read_text()
        if Path("/usr/share/postfix/master.cf.dist").exists()
        else ""
    )
    rows = []
    for row in (master or Path("/etc/postfix/master.cf").read_text()).splitlines():
        columns = row.split()
        if row[:1] not in ("#", " ", "") and len(columns) >= 8:
            if columns[0] == "smtp" and columns[1] == "inet":
                columns[0] = f"127.0.0.1:{ports['smtp']}"
            elif columns[1] == "inet":
                continue
            columns[4] = "n"  # no chroot
            rows.append(" ".join(columns))
    (etc / "master.cf").write_text("\n".join(rows) + "\n")
    imap = subprocess.Popen([dovecot, "-F", "-c", str(base / "dovecot.conf")], stderr=subprocess.DEVNULL)
    subprocess.run([postfix, "-c", str(etc), "check"], check=False, capture_output=True, timeout=60)
    mta = subprocess.Popen([postfix, "-c", str(etc), "start-fg"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for name in ("smtp", "pop3", "imap"):
            wait_for_port(ports[name])
        yield Servers(imap, mta, etc, ports)
    finally:
        subprocess.run([postfix, "-c", str(etc), "stop"], check=False, capture_output=True, timeout=30)
        imap.terminate()
        for process in (imap, mta):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        Path("/var/log/mailjam-watch-test.log").unlink(missing_ok=True)
        shutil.rmtree(base, ignore_errors=True)


def _account(name: str) -> tuple[str, str]:
    users = next(line for line in Path("/etc/passwd").read_text().splitlines() if line.startswith(f"{name}:"))
    groups = next(line for line in Path("/etc/group").read_text().splitlines() if line.startswith(f"{name}:"))
    return users, groups


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.service: finding.status for finding in findings}


async def test_healthy_servers_are_alive_round_after_round(servers: Servers) -> None:
    watcher = servers.watcher()
    try:
        for _ in range(5):
            found = await watcher.round()
            assert set(states(found).values()) <= {"alive", "slow"}, [finding.line() for finding in found]
            assert len(found) == 4
    finally:
        watcher.close()


async def test_a_stopped_dovecot_is_hung_and_postfix_is_not(servers: Servers) -> None:
    watcher = servers.watcher(deadline_seconds=2.5)
    try:
        await watcher.round()
        with stopped(servers.dovecot.pid):
            found = {finding.service: finding for finding in await watcher.round()}
        assert {found["imap"].status, found["pop3"].status} == {"hung"}, found
        assert found["imap"].where in ("all sessions", "accept")
        assert found["smtp"].status == "alive"
        assert states(await watcher.round())["imap"] in ("alive", "slow")
    finally:
        watcher.close()


async def test_a_held_queue_is_backing_up(servers: Servers) -> None:
    configure = ["postconf", "-c", str(servers.configuration)]
    reload = ["postfix", "-c", str(servers.configuration), "reload"]
    subprocess.run([*configure, "-e", "defer_transports=virtual"], check=True)
    subprocess.run(reload, check=True, capture_output=True)
    watcher = servers.watcher(delivery_seconds=3.0)
    try:
        wait_for_port(servers.ports["smtp"])
        found = {finding.service: finding for finding in await watcher.round()}
        assert found["smtp"].status in ("alive", "slow")
        assert (found["delivery"].status, found["delivery"].where) == ("backing up", "delivery")
    finally:
        watcher.close()
        subprocess.run([*configure, "-e", "defer_transports="], check=True)
        subprocess.run(reload, check=True, capture_output=True)


async def test_tls_of_dovecot(servers: Servers) -> None:
    watcher = Watcher(WatchSettings({"imaps": ("127.0.0.1", servers.ports["imaps"])}, "alice", "secret"))
    try:
        (found,) = await watcher.round()
        assert found.status in ("alive", "slow"), found
        assert "tls" in found.seconds
    finally:
        watcher.close()


async def test_inn_healthy_and_stopped() -> None:
    if not (BINARIES / "innd").exists():
        text = "innd is missing: apt-get install inn2"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    if os.geteuid() != 0:
        pytest.skip("INN has to be started by root")
    with tempfile.TemporaryDirectory(prefix="mailjam-watch-") as folder:
        Path(folder).chmod(0o755)
        inn = await asyncio.to_thread(Inn, Path(folder) / "inn", ("misc.test",))
        watcher = Watcher(WatchSettings({"nntp": ("127.0.0.1", inn.reader_port)}, slow_seconds=5.0))
        try:
            for _ in range(3):
                (found,) = await watcher.round()
                assert found.status in ("alive", "slow"), found
            with stopped(inn.processes[1].pid):
                (found,) = await watcher.round()
            assert (found.status, found.where) == ("hung", "all sessions"), found
        finally:
            watcher.close()
            await asyncio.to_thread(inn.stop)
