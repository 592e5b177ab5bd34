"""Durable SMTP and APPEND, messages/s, beside Postfix → Maildir and Dovecot (apt: postfix, dovecot-imapd) in one run.

All three promise the same, on disk before the answer, and serve the same clients: as many connections, which send one
command at a time, or a whole envelope at once (PIPELINING, RFC 2920, as mail servers do). Needs root for Postfix.
`python benchmarks/durable.py [2000]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from idle import start

from harness.clients import ImapClient, SmtpClient

BODY = (
    b"From: a@b.test\r\nTo: c@bench.test\r\nSubject: benchmark\r\n\r\n"
    + b"A line of sixty-two octets, as mail has them by the dozen.\r\n" * 32
)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def reachable(address: tuple[str, int]) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(*address)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit(f"nothing listens on {address}")


async def smtp_rate(address: tuple[str, int], messages: int, connections: int, *, pipelined: bool = False) -> float:
    left = iter(range(messages))
    send = send_pipelined if pipelined else SmtpClient.send

    async def client() -> None:
        async with await SmtpClient.connect(address, seconds_max=60) as smtp:
            await smtp.hello()
            for number in left:
                await send(smtp, "a@b.test", ["c@bench.test"], BODY + b"%d\r\n" % number)

    return await rate(messages, connections, client)


async def send_pipelined(smtp: SmtpClient, sender: str, recipients: list[str], octets: bytes) -> bytes:
    commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA", ""]
    smtp.write("\r\n".join(commands).encode())
    for _ in commands[2:]:
        await smtp.reply(250)
    await smtp.reply(354)
    smtp.write(octets + b".\r\n")
    return await smtp.reply(250)


async def append_rate(address: tuple[str, int], messages: int, connections: int) -> float:
    left = iter(range(messages))

    async def client() -> None:
        async with await ImapClient.connect(address, seconds_max=60) as imap:
            await imap.login("c", "secret")
            for number in left:
                await imap.append("INBOX", BODY + b"%d\r\n" % number)

    return await rate(messages, connections, client)


async def rate(messages: int, connections: int, client: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return messages / (time.perf_counter() - began)


class Postfix:
    """An instance of its own, below a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.address = ("127.0.0.1", free_port())
        self.config = root / "etc"
        self.config.mkdir(parents=True)
        user = pwd.getpwnam("postfix")
        for name in ("data", "maildir", "queue"):
            (root / name).mkdir()
        for name in ("data", "maildir"):
            os.chown(root / name, user.pw_uid, user.pw_gid)
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": root / "queue",
            "data_directory": root / "data",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "command_directory": "/usr/sbin",
            "shlib_directory": "/usr/lib/postfix",
            "inet_interfaces": "loopback-only",
            "inet_protocols": "ipv4",
            "myhostname": "bench.test",
            "mydestination": "",
            "virtual_mailbox_domains": "bench.test",
            "virtual_mailbox_base": root / "maildir",
            "virtual_mailbox_maps": "static:c/",
            "virtual_uid_maps": f"static:{user.pw_uid}",
            "virtual_gid_maps": f"static:{user.pw_gid}",
            "virtual_minimum_uid": "1",
            "smtpd_peername_lookup": "no",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_client_message_rate_limit": "0",
            "in_flow_delay": "0",  # else it holds clients up while it delivers
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "maillog_file": root / "log",
            "maillog_file_prefixes": root,
        }
        (self.config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        lines = Path("/etc/postfix/master.cf").read_text().splitlines()
        kept = [line for line in lines if line.strip() and line[0] not in "# \t" and not line.startswith("smtp ")]
        kept = [line for line in kept if line.split()[1] != "inet"]
        kept = [" ".join([*line.split()[:4], "n", *line.split()[5:]]) for line in kept if "pipe" not in line.split()]
        kept.append(f"127.0.0.1:{self.address[1]} inet n - n - - smtpd")
        kept.append("smtp unix - - n - - smtp")
        (self.config / "master.cf").write_text("\n".join(kept) + "\n")

    def start(self) -> None:
        subprocess.run(["postfix", "-c", str(self.config), "start"], check=True, capture_output=True)

    def stop(self) -> None:
        subprocess.run(["postfix", "-c", str(self.config), "stop"], check=False, capture_output=True)


class Dovecot:
    """An instance of its own, with Maildir and fsync before each answer."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.address = ("127.0.0.1", free_port())
        (root / "mail").mkdir()
        user = pwd.getpwnam("postfix")
        os.chown(root / "mail", user.pw_uid, user.pw_gid)
        self.config = root / "dovecot.conf"
        self.config.write_text(
            f"""protocols = imap
base_dir = {root}/run
log_path = {root}/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{root}/mail/%u
mail_fsync = always
first_valid_uid = 1
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={user.pw_uid} gid={user.pw_gid} home={root}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.address[1]}
  }}
}}
service stats {{
  client_limit = 1000
}}
mail_max_userip_connections = 1000
"""
        )

    def start(self) -> None:
        subprocess.run(["dovecot", "-c", str(self.config)], check=True, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        subprocess.run(["doveadm", "-c", str(self.config), "stop"], check=False, capture_output=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("messages", type=int, nargs="?", default=2000)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    count = (arguments.messages, arguments.connections)
    root = Path(tempfile.mkdtemp(prefix="mailjam-durable-", dir=Path(__file__).parent))
    root.chmod(0o755)
    rates: dict[str, float] = {}
    process, addresses = start("--data", str(root / "mailjam"), "--user", "c:secret")
    try:
        rates["mailjam SMTP"] = await smtp_rate(addresses["smtp"], *count)
        rates["mailjam SMTP pipelined"] = await smtp_rate(addresses["smtp"], *count, pipelined=True)
        rates["mailjam APPEND"] = await append_rate(addresses["imap"], *count)
    finally:
        process.kill()
        process.wait()
    try:
        others: tuple[tuple[str, type[Postfix | Dovecot], Callable[..., Awaitable[float]]], ...] = (
            ("Postfix SMTP", Postfix, smtp_rate),
            ("Postfix SMTP pipelined", Postfix, partial(smtp_rate, pipelined=True)),
            ("Dovecot APPEND", Dovecot, append_rate),
        )
        for name, make, measure in others:
            if shutil.which(name.split()[0].lower()) is None:
                print(f"{name}: not installed (apt-get install postfix dovecot-imapd)")
                continue
            other = make(root / name.replace(" ", "-").lower())
            other.start()
            try:
                await reachable(other.address)
                rates[name] = await measure(other.address, *count)
            finally:
                other.stop()
    finally:
        for name, value in rates.items():
            print(f"{name:24} {value:8,.0f} messages/s")
        for theirs in ("Postfix SMTP", "Postfix SMTP pipelined", "Dovecot APPEND"):
            ours = theirs.replace(theirs.split()[0], "mailjam")
            if ours in rates and theirs in rates:
                print(f"{ours} is {rates[ours] / rates[theirs]:.1f} × {theirs}")
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
