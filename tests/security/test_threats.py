"""A test for each threat in SECURITY.md, against a running server on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import ssl
import time
import zlib

import pytest

from harness.clients import Client, ImapClient, NntpClient, Pop3Client, Refused, SmtpClient
from harness.serve import _log_session
from protocols.ports import SessionClosed
from protocols.wildmat import Wildmat

GREETING = (b"",)


async def raw(server, protocol: str) -> Client:
    """A connection, its greeting read."""
    reader, writer = await asyncio.open_connection(*server.addresses[protocol], limit=1 << 26)
    client = Client(reader, writer, 10.0)
    await client.line()
    return client


async def everything(client: Client) -> bytes:
    """What the server still says before it closes."""
    async with asyncio.timeout(10):
        try:
            return await client.reader.read()
        except ConnectionError:
            return b""


# --- guessing passwords ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "attempt"),
    [
        ("pop3", b"USER alice\r\nPASS wrong\r\n"),
        ("imap", b"a LOGIN alice wrong\r\n"),
        ("nntp", b"AUTHINFO USER alice\r\nAUTHINFO PASS wrong\r\n"),
        ("smtp", b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n"),
    ],
)
async def test_guessing_ends_the_connection(start_server, protocol, attempt):
    server = await start_server(users=["alice:secret"], login_failures_max=3)
    client = await raw(server, protocol)
    if protocol == "smtp":
        client.write(b"EHLO x\r\n")
    client.write(attempt * 10)
    answers = await everything(client)
    refused = re.findall(rb"(?m)^(?:-ERR|a NO|481|535)", answers)
    assert 3 <= len(refused) <= 6
    await client.close()


async def test_a_failed_login_can_be_made_to_wait(start_server):
    server = await start_server(users=["alice:secret"], login_failure_delay_seconds=0.2)
    client = await Pop3Client.connect(server.addresses["pop3"])
    await client.command("USER alice")
    start = time.monotonic()
    with pytest.raises(Refused):
        await client.command("PASS wrong")
    assert time.monotonic() - start >= 0.2
    await client.close()


async def test_an_unknown_user_reads_as_a_wrong_password(start_server):
    server = await start_server(users=["alice:secret"], strict_users=True)
    answers = set()
    for user in ("alice", "nobody"):
        client = await raw(server, "imap")
        client.write(f"a LOGIN {user} wrong\r\n".encode())
        answers.add(await client.line())
        await client.close()
    assert len(answers) == 1


async def test_no_password_crosses_in_plain_where_that_is_forbidden(start_server):
    server = await start_server(users=["alice:secret"], plaintext_login=False)
    for protocol, attempt, refusal in (
        ("imap", b"a LOGIN alice secret\r\n", rb"a NO"),
        ("pop3", b"USER alice\r\nPASS secret\r\n", rb"-ERR"),
        ("nntp", b"AUTHINFO USER alice\r\n", rb"48[03]"),
        ("smtp", b"EHLO x\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", rb"53[08]|50[0-4]"),
    ):
        client = await raw(server, protocol)
        client.write(attempt + (b"b LOGOUT\r\n" if protocol == "imap" else b"QUIT\r\n"))
        assert re.search(rb"(?m)^(?:" + refusal + rb")", await everything(client)), protocol
        await client.close()


# --- using up what there is -----------------------------------------------------------------------------------------


async def test_connections_in_all_are_limited(start_server):
    server = await start_server(connections_max=3)
    kept = [await raw(server, "imap") for _ in range(3)]
    refused = await raw(server, "imap")
    assert await everything(refused) == b""
    for client in (*kept, refused):
        await client.close()


async def test_connections_of_one_address_are_limited(start_server):
    server = await start_server(connections_per_address_max=2)
    kept = [await raw(server, "pop3") for _ in range(2)]
    reader, writer = await asyncio.open_connection(*server.addresses["pop3"])
    assert b"too many connections from your address" in await reader.read()
    writer.close()
    for client in kept:
        await client.close()


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
async def test_before_login_a_peer_has_a_budget_of_commands(start_server, protocol):
    server = await start_server(unauthenticated_commands_max=20)
    client = await raw(server, protocol)
    client.write((b"a NOOP\r\n" if protocol == "imap" else b"CAPA\r\n") * 100)
    await everything(client)
    await client.close()


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
async def test_before_login_a_peer_has_a_budget_of_octets(start_server, protocol):
    server = await start_server(unauthenticated_bytes_max=100_000)
    client = await raw(server, protocol)
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            client.write(b"x" * 10_000)
            await client.writer.drain()
            await asyncio.sleep(0)
    await everything(client)
    await client.close()


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
async def test_before_login_a_peer_has_a_budget_of_time(start_server, protocol):
    server = await start_server(unauthenticated_seconds_max=0.3)
    client = await raw(server, protocol)
    client.write(b"a NOOP\r\n")
    await everything(client)
    await client.close()


@pytest.mark.parametrize(("protocol", "begin"), [("smtp", b"EHL"), ("nntp", b"DAT"), ("imap", b"a NO")])
async def test_a_command_that_trickles_is_cut_off(start_server, protocol, begin):
    server = await start_server(input_seconds_max=0.3)
    client = await raw(server, protocol)
    client.write(begin)

    async def trickle() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(0.05)
                client.write(b"x")

    task = asyncio.ensure_future(trickle())
    await everything(client)
    task.cancel()
    await client.close()


async def test_a_message_that_trickles_is_cut_off(start_server):
    server = await start_server(input_seconds_max=0.3)
    client = await SmtpClient.connect(server.addresses["smtp"])
    await client.hello()
    await client.command("MAIL FROM:<a@b.test>", 250)
    await client.command("RCPT TO:<alice>", 250)
    await client.command("DATA", 354)

    async def trickle() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                client.write(b"line\r\n")
                await asyncio.sleep(0.05)

    task = asyncio.ensure_future(trickle())
    await everything(client)
    task.cancel()
    assert server.inbound.accepted_count == 0
    await client.close()


async def test_a_peer_that_does_not_read_is_dropped(start_server):
    server = await start_server(users=["alice:secret"], send_seconds_max=0.3, send_buffer_bytes_max=1000)
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    await client.append("INBOX", b"Subject: x\r\n\r\n" + b"x" * 70 * 1000 + b"\r\n")
    await client.command("SELECT INBOX")
    client.reader._transport.pause_reading()
    client.write(b"a FETCH 1 BODY[]\r\n" * 2000)
    async with asyncio.timeout(10):
        while server.front_ends["imap"].connections:
            await asyncio.sleep(0.02)
    client.writer.transport.abort()


async def test_a_literal_before_login_is_small(start_server):
    server = await start_server(users=["alice:secret"])
    client = await raw(server, "imap")
    client.write(b"a LOGIN {1000000}\r\n")
    assert not (await client.line()).startswith(b"+")
    await client.close()


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "nntp", "imap"])
async def test_a_line_without_an_end_is_not_kept(start_server, protocol):
    server = await start_server()
    client = await raw(server, protocol)
    connections = (server.front_ends | server.mail_front_ends)[protocol].connections
    [connection] = connections
    for _ in range(20):
        client.write(b"x" * 50_000)
        await client.writer.drain()
        await asyncio.sleep(0)
        assert len(connection.buffer) <= 300_000
    await client.close()


async def test_a_decompression_bomb_is_unpacked_in_steps(start_server):
    server = await start_server(users=["alice:secret"])
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    await client.command("COMPRESS DEFLATE")
    [connection] = server.front_ends["imap"].connections
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b"x" * (100 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 200_000
    client.write(bomb)
    largest = 0
    for _ in range(200):
        await asyncio.sleep(0.001)
        largest = max(largest, len(connection.buffer))
    assert largest <= 1 << 20
    client.writer.transport.abort()


@pytest.mark.parametrize("compressed", [True, False])
async def test_a_flood_of_commands_does_not_keep_others_waiting(start_server, compressed):
    """300,000 of them are in a few hundred octets: others must have their turns, and the peer's end be seen."""
    server = await start_server(users=["alice:secret"])
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    flood = b"b NOOP\r\n" * 300_000
    if compressed:
        await client.command("COMPRESS DEFLATE")
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        flood = deflate.compress(flood) + deflate.flush(zlib.Z_SYNC_FLUSH)
    session = next(iter(server.front_ends["imap"].connections)).session
    client.write(flood)
    client.writer.transport.pause_reading()
    async with await Pop3Client.connect(server.addresses["pop3"]) as other:
        await other.command("CAPA")
        assert session.command_count < 100_000, "it was answered in between"
    client.writer.transport.abort()
    async with asyncio.timeout(30):
        while server.front_ends["imap"].connections:
            await asyncio.sleep(0.01)
    assert session.command_count < 300_000, "nothing more is done for who has gone"


async def test_nesting_ends(start_server):
    server = await start_server(users=["alice:secret"])
    boundaries = [f"b{n}" for n in range(2000)]
    lines = [f'Content-Type: multipart/mixed; boundary="{boundaries[0]}"\r\n\r\n']
    for outer, inner in itertools.pairwise(boundaries):
        lines.append(f'--{outer}\r\nContent-Type: multipart/mixed; boundary="{inner}"\r\n\r\n')
    octets = "".join(lines).encode() + b"--b1999\r\n\r\nx\r\n"
    client = await ImapClient.connect(server.addresses["imap"], seconds_max=30)
    await client.login("alice", "secret")
    await client.append("INBOX", octets)
    await client.command("SELECT INBOX")
    await client.command("FETCH 1 (BODYSTRUCTURE ENVELOPE)")
    assert await client.fetch_body(1) == octets
    with pytest.raises(Refused):
        await client.command("SEARCH " + "(" * 5000 + "ALL" + ")" * 5000)
    await client.command("NOOP")
    await client.close()


def test_wildmats_do_not_explode():
    Wildmat("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b").matches("a" * 5000)


@pytest.mark.parametrize("key", ["SUBJECT", "BODY", "TEXT"])
async def test_search_takes_no_patterns(start_server, key):
    server = await start_server(users=["alice:secret"])
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    await client.append("INBOX", b"Subject: " + b"a" * 900 + b"\r\n\r\n" + b"a" * 900 + b"\r\n")
    await client.command("SELECT INBOX")
    assert await client.command(f'SEARCH {key} "(a+)+b"') == [b"* SEARCH"]
    await client.close()


async def test_many_wildcards_in_list_do_not_explode(start_server):
    server = await start_server(users=["alice:secret"])
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    await client.command("CREATE " + "a" * 200)
    await client.command('LIST "" "' + "*a" * 400 + '*b"')
    await client.command('LIST "" "' + "%a" * 400 + '%b"')
    await client.close()


# --- smuggling and injecting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "begin", "injected"),
    [
        ("imap", b"a STARTTLS\r\n", b"b CAPABILITY\r\n"),
        ("pop3", b"STLS\r\n", b"CAPA\r\n"),
        ("nntp", b"STARTTLS\r\n", b"CAPABILITIES\r\n"),
        ("smtp", b"STARTTLS\r\n", b"NOOP\r\n"),
    ],
)
async def test_what_came_before_tls_is_forgotten(start_server, protocol, begin, injected):
    server = await start_server()
    client = await raw(server, protocol)
    if protocol == "smtp":
        client.write(b"EHLO x\r\n")
        while not (await client.line()).startswith(b"250 "):
            pass
    client.write(begin + injected)
    answer = await client.line()
    assert re.match(rb"a OK|\+OK|382|220", answer)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLError, ConnectionError, TimeoutError):
        await client.writer.start_tls(context, ssl_handshake_timeout=5)
        client.reader._transport = client.writer.transport
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.reader.readline()
    client.writer.transport.abort()


@pytest.mark.parametrize(
    ("protocol", "begin"),
    [
        ("imap", b"a STARTTLS\r\n"),
        ("pop3", b"STLS\r\n"),
        ("nntp", b"STARTTLS\r\n"),
        ("smtp", b"EHLO x\r\nSTARTTLS\r\n"),
    ],
)
async def test_a_handshake_that_does_not_come_to_its_end_has_a_deadline(start_server, protocol, begin):
    server = await start_server(tls_handshake_seconds_max=0.2)
    client = await raw(server, protocol)
    client.write(begin)
    await client.line()
    client.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a client's hello
    await everything(client)
    while server.admission.count:
        await asyncio.sleep(0.01)
    client.writer.transport.abort()


async def test_tls_is_1_2_at_least(start_server):
    server = await start_server()
    context = server.tls_context
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    weak = [cipher["name"] for cipher in context.get_ciphers() if re.search("RC4|3DES|NULL|EXP|MD5", cipher["name"])]
    assert weak == []


SMUGGLED_ENDS = [
    *(b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\n"),
    *(b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\n\n.\n\n", b"\r\n\0.\r\n", b"\0\r\n.\0\r\n"),
    *(b"\r\n.\0\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\v.\v", b"\r\n. \r\n", b"\r\n.\t\r\n"),
]
"""Line ends that some servers take for one, around the dot (SEC Consult, 2023, and what followed)."""


@pytest.mark.parametrize("ending", SMUGGLED_ENDS)
async def test_smtp_smuggling(start_server, ending):
    server = await start_server()
    client = await SmtpClient.connect(server.addresses["smtp"])
    await client.hello()
    await client.command("MAIL FROM:<a@b.test>", 250)
    await client.command("RCPT TO:<alice>", 250)
    await client.command("DATA", 354)
    smuggled = b"MAIL FROM:<admin@b.test>\r\nRCPT TO:<bob>\r\nDATA\r\nSubject: smuggled\r\n\r\n"
    client.write(b"Subject: x\r\n\r\nx" + ending + smuggled + b"\r\n.\r\nQUIT\r\n")
    await everything(client)
    await server.inbound.settled()
    assert server.inbound.accepted_count <= 1
    assert "bob" not in server.store.mailboxes
    await client.close()


async def test_addresses_cannot_carry_lines(start_server):
    server = await start_server()
    client = await SmtpClient.connect(server.addresses["smtp"])
    await client.hello()
    for address in ('"a\rb"@c.test', '"a\nb"@c.test', "a\x00b@c.test"):
        client.write(f"MAIL FROM:<{address}>\r\n".encode())
        assert not (await client.reply()).startswith(b"250")
    await client.close()


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/etc/passwd", "a/../../b", "C:\\\\x", ".hidden"])
async def test_names_never_become_paths(start_server, tmp_path, name):
    data = tmp_path / "outer" / "data"
    server = await start_server(users=["alice:secret"], data=data)
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    with contextlib.suppress(Refused):
        await client.command(f'CREATE "{name}"')
    with contextlib.suppress(Refused):
        await client.append(name.replace("\\\\", ""), b"Subject: x\r\n\r\n")
    await client.close()
    mail = await SmtpClient.connect(server.addresses["smtp"])
    await mail.hello()
    with contextlib.suppress(Refused):
        await mail.send("a@b.test", [f'"{name}"@c.test'], b"Subject: x\r\n\r\nx\r\n")
    await mail.close()
    await server.inbound.settled()
    found = {str(path.relative_to(tmp_path)).split("/")[-1] for path in tmp_path.rglob("*")}
    assert found <= {
        "outer",
        "data",
        "lock",
        "store.sqlite3",
        "store.sqlite3-wal",
        "store.sqlite3-shm",
        "Imcdata",
        "In",
        "MtsIn",
        "MtsOut",
        "Out",
        "BAD",
    } | {path.name for path in (data / "Imcdata").rglob("*") if re.fullmatch("[0-9A-Z]{8}", path.name)}


@pytest.mark.parametrize("user", ["al\x1b[31mice", "al\x07ice", "al\x7fice", "al\u202eice\x9b"])
async def test_the_log_shows_no_control_characters(start_server, capsys, user):
    server = await start_server()
    server.bus.on(SessionClosed, _log_session)
    client = await raw(server, "imap")
    octets = user.encode()
    client.write(b"a LOGIN {%d+}\r\n%b {1+}\r\nx\r\nb LOGOUT\r\n" % (len(octets), octets))
    await everything(client)
    await client.close()
    reply = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", reply)


async def test_replies_show_no_lines_of_the_peer(start_server):
    server = await start_server()
    for protocol in ("smtp", "pop3", "nntp", "imap"):
        client = await raw(server, protocol)
        client.write(b"XYZZY\x00\x1b[31m\rQUIT\x08\r\n")
        line = await client.line()
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line), protocol
        await client.close()


# --- reading what is not one's own ----------------------------------------------------------------------------------


async def test_one_user_does_not_see_anothers_mail(start_server):
    server = await start_server(users=["alice:secret", "bob:hidden"])
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("bob", "hidden")
    await client.append("INBOX", b"Subject: bob's\r\n\r\nx\r\n")
    await client.close()
    client = await ImapClient.connect(server.addresses["imap"])
    await client.login("alice", "secret")
    listed = b"".join(await client.command('LIST "" "*"'))
    assert b"bob" not in listed
    for name in ("Other Users/bob/INBOX", "../bob/INBOX", "bob/INBOX", "~bob/INBOX"):
        with pytest.raises(Refused):
            await client.command(f'SELECT "{name}"')
    await client.close()


async def test_a_wrong_state_gives_nothing_away(start_server):
    server = await start_server(users=["alice:secret"], login_required=True, groups=("misc.test",))
    client = await raw(server, "imap")
    client.write(b'a SELECT INBOX\r\nb LIST "" *\r\nc LOGOUT\r\n')
    answers = await everything(client)
    assert b"EXISTS" not in answers
    assert b"* LIST" not in answers
    await client.close()
    client = await NntpClient.connect(server.addresses["nntp"])
    with pytest.raises(Refused):
        await client.command("GROUP misc.test", 211)
    await client.close()


async def test_equal_messages_of_two_users_do_not_betray_each_other(start_server):
    """Contents are stored once; that another user has the same message must not show."""
    server = await start_server(users=["alice:secret", "bob:hidden"])
    for user, password in (("alice", "secret"), ("bob", "hidden")):
        client = await ImapClient.connect(server.addresses["imap"])
        await client.login(user, password)
        await client.append("INBOX", b"Subject: same\r\n\r\nx\r\n")
        await client.command("SELECT INBOX")
        await client.command("STORE 1 +FLAGS (\\Deleted)")
        await client.command("EXPUNGE") if user == "alice" else None
        await client.close()
    [message] = server.store.mailboxes["bob"].inbox.messages
    assert await server.converter.octets(message) == b"Subject: same\r\n\r\nx\r\n"


async def test_data_without_line_ends_is_not_kept(start_server):
    server = await start_server(message_bytes_max=200_000)
    client = await SmtpClient.connect(server.addresses["smtp"])
    await client.hello()
    await client.command("MAIL FROM:<a@b.test>", 250)
    await client.command("RCPT TO:<alice>", 250)
    await client.command("DATA", 354)
    [connection] = server.mail_front_ends["smtp"].connections
    for _ in range(100):
        client.write(b"x" * 100_000)
        await client.writer.drain()
        await asyncio.sleep(0)
        assert len(connection.buffer) <= 1_500_000
    client.write(b"\r\n.\r\n")
    assert (await client.reply()).startswith(b"552")
    await client.command("NOOP", 250)
    await client.close()
