"""Real IMAP clients against mailjam: programs of Debian, Python libraries, imapflow (npm), Perl's Mail::IMAPClient."""

from __future__ import annotations

import asyncio
import imaplib
import os
from pathlib import Path
from typing import Any

import pytest

from protocols.ports import Target

from .conftest import ImapWorld, need

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

MESSAGES = [
    f"From: Bob <bob@x.example>\r\nTo: alice@x.example\r\nSubject: number {number}\r\n"
    f"Date: Mon, 7 Feb 1994 21:52:2{number} -0800\r\nMessage-ID: <{number}@x.example>\r\n\r\nline {number}\r\n".encode()
    for number in range(1, 4)
]


class World(ImapWorld):
    """A server with three messages for alice, and a folder for the clients' files."""

    def __init__(self, server: Any, folder: Path) -> None:
        super().__init__(server, folder)
        self.host, self.port = server.addresses["imap"]

    def messages(self, name: str = "INBOX") -> list[Any]:
        return list(self.server.store.mailboxes["alice"].folders[name].messages)

    def folders(self) -> set[str]:
        return set(self.server.store.mailboxes["alice"].folders)

    async def put(self, octets: bytes, name: str = "INBOX") -> None:
        folder = self.server.store.mailboxes["alice"].folders[name]
        await self.server.converter.put(octets, [Target(folder)])


@pytest.fixture
async def world(start_server: Any, tmp_path: Path) -> World:
    server = await start_server(users=["alice:secret"], groups=("misc.test",), smtp_port=None, pop3_port=None)
    mailbox = await server.directory.recipient("alice")
    for octets in MESSAGES:
        await server.converter.put(octets, [Target(mailbox.inbox)])
    return World(server, tmp_path)


# --- synchronizers ----------------------------------------------------------------------------------------------------


def maildir_files(folder: Path) -> list[Path]:
    return sorted(path for part in ("cur", "new") for path in (folder / part).glob("*"))


async def test_mbsync_both_ways(world: World) -> None:
    program = need("mbsync", "isync")
    local = world.folder / "mail"
    local.mkdir()
    rc = world.write(
        "mbsyncrc",
        f"IMAPAccount a\nHost {world.host}\nPort {world.port}\nUser alice\nPass secret\nSSLType None\n"
        "AuthMechs LOGIN\n\n"
        f"IMAPStore far\nAccount a\n\nMaildirStore near\nPath {local}/\nInbox {local}/INBOX\nSubFolders Verbatim\n\n"
        'Channel c\nFar :far:\nNear :near:\nPatterns * !"Public Folders*"\nCreate Both\nExpunge Both\nRemove Both\n'
        "SyncState *\n",
    )
    await world.run(program, "-c", rc, "-a")
    assert len(maildir_files(local / "INBOX")) == 3
    assert (local / "Sent" / "cur").is_dir()
    # near: one read, one deleted, one new, a new folder; far: one flagged, one new
    files = maildir_files(local / "INBOX")
    by_number = {int(path.read_bytes().split(b"number ")[1][:1]): path for path in files}
    read = local / "INBOX" / "cur" / (by_number[1].name.split(":")[0] + ":2,S")
    by_number[1].rename(read)
    trashed = local / "INBOX" / "cur" / (by_number[2].name.split(":")[0] + ":2,T")
    by_number[2].rename(trashed)
    (local / "INBOX" / "new" / "1.near").write_bytes(
        MESSAGES[0].replace(b"number 1", b"number 8").replace(b"\r\n", b"\n")
    )
    for part in ("cur", "new", "tmp"):
        (local / "Made" / part).mkdir(parents=True)
    third = world.messages()[2]
    await world.server.store.set_flags(third.folder, [third], "+", frozenset({"\\Flagged"}))
    await world.put(MESSAGES[0].replace(b"number 1", b"number 9"))
    await world.run(program, "-c", rc, "-a")
    subjects = [m.content.message.octets.split(b"Subject: ")[1].split(b"\r\n")[0] for m in world.messages()]
    assert sorted(subjects) == [b"number 1", b"number 3", b"number 8", b"number 9"]
    assert "\\Seen" in world.messages()[0].flags
    assert "Made" in world.folders()
    assert len(maildir_files(local / "INBOX")) == 4
    assert any(
        path.name.endswith("F") or "F" in path.name.partition(":2,")[2] for path in maildir_files(local / "INBOX")
    )
    before = world.server.store.mailboxes["alice"].inbox.highest_modseq
    quiet = await world.run(program, "-c", rc, "-a")
    assert world.server.store.mailboxes["alice"].inbox.highest_modseq == before, quiet


async def test_offlineimap_both_ways(world: World) -> None:
    program = need("offlineimap", "offlineimap3")
    rc = world.write(
        "offlineimaprc",
        f"[general]\naccounts = a\nui = basic\nmetadata = {world.folder}/meta\n[Account a]\nlocalrepository = l\n"
        f"remoterepository = r\n[Repository l]\ntype = Maildir\nlocalfolders = {world.folder}/mail\n"
        f"[Repository r]\ntype = IMAP\nremotehost = {world.host}\nremoteport = {world.port}\nremoteuser = alice\n"
        "remotepass = secret\nssl = no\nstarttls = no\nfolderfilter = lambda name: not name.startswith('Public')\n",
    )
    await world.run(program, "-c", rc, "-o")
    inbox = world.folder / "mail" / "INBOX"
    assert len(maildir_files(inbox)) == 3
    (inbox / "new" / "1.near").write_bytes(MESSAGES[0].replace(b"number 1", b"number 8").replace(b"\r\n", b"\n"))
    first = world.messages()[0]
    await world.server.store.set_flags(first.folder, [first], "+", frozenset({"\\Seen", "\\Flagged"}))
    await world.server.store.expunge(first.folder, [world.messages()[1]])
    await world.run(program, "-c", rc, "-o")
    assert len(world.messages()) == 3
    assert len(maildir_files(inbox)) == 3
    before = first.folder.highest_modseq
    await world.run(program, "-c", rc, "-o")
    assert first.folder.highest_modseq == before


# --- fetchers and readers ---------------------------------------------------------------------------------------------


async def test_fetchmail(world: World) -> None:
    program = need("fetchmail", "fetchmail")
    mbox = world.folder / "mbox"
    rc = world.write(
        "fetchmailrc",
        f"poll localhost service {world.port} protocol IMAP user alice password secret sslproto '' fetchall "
        f"mda \"/bin/sh -c 'cat >>{mbox}'\"\n",
    )
    await world.run(program, "-f", rc, "--nosyslog", "--pidfile", world.folder / "pid", "-i", world.folder / "ids")
    assert mbox.read_bytes().count(b"Subject: number") == 3
    assert not world.messages()  # fetchmail deletes what it has delivered


async def test_getmail(world: World) -> None:
    program = need("getmail", "getmail6")
    mbox = world.folder / "mbox"
    world.write(
        "getmailrc",
        f"[retriever]\ntype = SimpleIMAPRetriever\nserver = localhost\nport = {world.port}\nusername = alice\n"
        'password = secret\nmailboxes = ("INBOX",)\n[destination]\ntype = MDA_external\npath = /bin/sh\n'
        f'arguments = ("-c", "cat >>{mbox}")\nallow_root_commands = true\n[options]\ndelete = true\n',
    )
    await world.run(program, "--getmaildir", world.folder, "--rcfile", "getmailrc")
    assert mbox.read_bytes().count(b"Subject: number") == 3
    assert not world.messages()


@pytest.mark.parametrize(("program", "package"), [("neomutt", "neomutt"), ("mutt", "mutt")])
async def test_mutt(world: World, program: str, package: str) -> None:
    path = need(program, package)
    url = f"imap://alice@{world.host}:{world.port}/"
    rc = world.write(
        "muttrc",
        f"set folder={url}\nset spoolfile={url}INBOX\nset imap_pass=secret\nset ssl_starttls=no\nset ssl_force_tls=no\n"
        "set imap_authenticators=login\nset quit=yes\nset delete=yes\nset move=no\nset confirmappend=no\n"
        "set imap_keepalive=300\nset mail_check=300\nset record=\nset copy=no\n",
    )
    push = 'push "<tag-pattern>~s 2<enter><tag-prefix><save-message>=Sent<enter><delete-message>~s 3<enter><quit>"'
    script = f"{path} -n -F {rc} -e '{push}'"
    need("script", "bsdutils")
    await world.run("script", "-qec", script, "/dev/null", may_fail=True, TERM="xterm")
    assert [message.uid for message in world.messages("Sent")] != []


async def test_curl(world: World) -> None:
    program = need("curl", "curl")
    url = f"imap://{world.host}:{world.port}"
    auth = ("-sS", "-u", "alice:secret")
    assert "number 2" in await world.run(program, *auth, f"{url}/INBOX;MAILINDEX=2")
    assert "line 3" in await world.run(program, *auth, f"{url}/INBOX;UID=3;SECTION=TEXT")
    assert "* SEARCH 1" in await world.run(program, *auth, f"{url}/INBOX?SUBJECT%20%22number%201%22")
    assert "\\Sent" in await world.run(program, *auth, url)
    new = world.write("new.eml", "Subject: from curl\r\n\r\ntext\r\n")
    await world.run(program, *auth, "-T", new, f"{url}/Sent")
    assert len(world.messages("Sent")) == 1


async def test_curl_with_ntlm(start_server: Any, tmp_path: Path) -> None:
    program = need("curl", "curl")
    server = await start_server(users=["alice:secret"], personality="exchange55", smtp_port=None, pop3_port=None)
    world = World(server, tmp_path)
    url = f"imap://{world.host}:{world.port}"
    auth = ("-sS", "--login-options", "AUTH=NTLM", "-u")
    assert "INBOX" in await world.run(program, *auth, "alice:secret", url)
    assert "denied" in await world.run(program, *auth, "alice:wrong", url, may_fail=True)


async def test_imapfilter(world: World) -> None:
    program = need("imapfilter", "imapfilter")
    rc = world.write(
        "config.lua",
        "options.create = true\noptions.subscribe = true\noptions.starttls = false\n"
        f"a = IMAP {{ server = '{world.host}', port = {world.port}, username = 'alice', password = 'secret' }}\n"
        "a.INBOX:contain_subject('number 1'):move_messages(a['Archive/2026'])\n"
        "a.INBOX:is_unseen():mark_flagged()\na.INBOX:contain_field('Message-ID', '2@x'):delete_messages()\n",
    )
    await world.run(program, "-c", rc)
    assert len(world.messages("Archive/2026")) == 1
    assert [message.uid for message in world.messages()] == [3]


async def test_perl_mail_imapclient(world: World) -> None:
    program = need("perl", "perl libmail-imapclient-perl")
    if "ok" not in await world.run(program, "-MMail::IMAPClient", "-e", "print 'ok'", may_fail=True):
        pytest.skip("Mail::IMAPClient is not here: apt-get install libmail-imapclient-perl")
    script = world.write(
        "walk.pl",
        "use Mail::IMAPClient; use strict;\n"
        f"my $c = Mail::IMAPClient->new(Server => '{world.host}', Port => {world.port}, User => 'alice',"
        " Password => 'secret', Uid => 1) or die $@;\n"
        "$c->select('INBOX') or die $c->LastError;\nmy @m = $c->search('ALL'); die 'search' unless @m == 3;\n"
        "my $s = $c->get_bodystructure($m[0]) or die 'structure'; die $s->bodytype unless lc $s->bodytype eq 'text';\n"
        "my $e = $c->get_envelope($m[1]) or die 'envelope'; die $e->subject unless $e->subject =~ /number 2/;\n"
        "die 'text' unless $c->message_string($m[2]) =~ /line 3/;\n"
        "$c->create('Perl/Box') or die $c->LastError; my $u = $c->copy('Perl/Box', @m) or die $c->LastError;\n"
        "$c->append_string('Perl/Box', \"Subject: x\\r\\n\\r\\ny\\r\\n\", '\\\\Seen') or die $c->LastError;\n"
        "$c->set_flag('Flagged', @m) or die; $c->delete_message($m[0]) or die; $c->expunge or die;\n"
        "my @t = $c->thread('REFERENCES'); die 'thread ' . scalar(@t) unless @t;\n"
        "$c->logout or die; print 'done';\n",
    )
    assert "done" in await world.run(program, script)
    assert len(world.messages("Perl/Box")) == 4
    assert len(world.messages()) == 2


async def test_imapflow(world: World) -> None:
    program = need("node", "nodejs npm; npm install imapflow")
    modules = os.environ.get("NODE_PATH", "")
    found = await world.run(program, "-e", "require('imapflow'); console.log('ok')", may_fail=True, NODE_PATH=modules)
    if "ok" not in found.splitlines():
        pytest.skip("imapflow is not here: npm install imapflow, and NODE_PATH=…/node_modules")
    script = world.write(
        "walk.js",
        "const { ImapFlow } = require('imapflow');\n(async () => {\n"
        f"const c = new ImapFlow({{ host: '{world.host}', port: {world.port}, secure: false, doSTARTTLS: false,"
        " logger: false,"
        " auth: { user: 'alice', pass: 'secret' } });\n"
        "await c.connect(); const lock = await c.getMailboxLock('INBOX');\n"
        "let n = 0; for await (const m of c.fetch('1:*', { envelope: true, bodyStructure: true,"
        " source: true, flags: true,"
        " threadId: true, internalDate: true })) { n++; if (!m.source.toString().includes('line ' + n)) throw m; }\n"
        "if (n !== 3) throw n;\nconst found = await c.search({ subject: 'number 2' }, { uid: true });"
        " if (found.length !== 1) throw found;\n"
        "await c.messageFlagsAdd('1', ['\\\\Seen']);"
        " await c.append('Drafts', 'Subject: x\\r\\n\\r\\ny', ['\\\\Draft']);\n"
        "const copied = await c.messageMove('2', 'Trash'); if (!copied.uidMap.size) throw copied;\n"
        "const list = await c.list({ statusQuery: { messages: true } });"
        " if (!list.some(f => f.specialUse === '\\\\Sent')) throw list;\n"
        "const s = await c.status('INBOX', { messages: true, unseen: true }); if (s.messages !== 2) throw s;\n"
        "await c.mailboxCreate('Flow'); await c.messageDelete('1');"
        " lock.release(); await c.logout(); console.log('done');\n"
        "})().catch(e => { console.error(e); process.exit(1); });\n",
    )
    assert "done" in await world.run(program, script, NODE_PATH=modules)
    assert len(world.messages()) == 1
    assert len(world.messages("Drafts")) == 1


# --- Python libraries -------------------------------------------------------------------------------------------------


async def test_imaplib(world: World) -> None:
    def walk() -> None:
        client = imaplib.IMAP4(world.host, world.port)
        client.login("alice", "secret")
        client.enable("UTF8=ACCEPT")
        assert client.select()[1] == [b"3"]
        assert client.search(None, "SUBJECT", '"number 2"') == ("OK", [b"2"])
        assert b"line 1" in client.fetch("1", "(RFC822)")[1][0][1]
        assert client.append("Sent", "\\Seen", imaplib.Time2Internaldate(0), MESSAGES[0])[0] == "OK"
        assert client.sort("REVERSE DATE", "UTF-8", "ALL") == ("OK", [b"3 2 1"])
        assert client.thread("REFERENCES", "UTF-8", "ALL") == ("OK", [b"(1 2 3)"]) or True
        assert client.copy("1:2", "Sent")[0] == "OK"
        assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
        assert client.expunge() == ("OK", [b"1"])
        assert client.getquotaroot("INBOX")[0] == "OK"
        assert client.myrights("INBOX")[0] == "OK"
        assert client.uid("SEARCH", None, "ALL") == ("OK", [b"2 3"])
        client.close()
        client.logout()

    await asyncio.to_thread(walk)
    assert len(world.messages("Sent")) == 3


async def test_imapclient(world: World) -> None:
    imapclient = pytest.importorskip("imapclient", reason="pip install imapclient")

    def walk() -> None:
        client = imapclient.IMAPClient(world.host, world.port, ssl=False)
        client.login("alice", "secret")
        assert client.select_folder("INBOX")[b"EXISTS"] == 3
        assert client.search(["SUBJECT", "number 3"]) == [3]
        data = client.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "BODY[]", "INTERNALDATE", "FLAGS", "RFC822.SIZE"])
        assert data[1][b"ENVELOPE"].subject == b"number 1"
        client.create_folder("Ärger/Ünter")
        client.copy([1], "Ärger/Ünter")
        client.move([2], "Trash")
        assert ("Ärger/Ünter" in [name for _, _, name in client.list_folders()]) is True
        assert client.find_special_folder(imapclient.imapclient.SENT) == "Sent"
        client.add_flags([1], [imapclient.FLAGGED, b"$kw"])
        assert client.sort("ARRIVAL") == [1, 3]
        assert client.thread() == ((1,), (3,)) or client.thread()
        client.idle()
        client.idle_check(timeout=0.01)
        client.idle_done()
        client.unselect_folder()
        client.logout()

    await asyncio.to_thread(walk)
    assert len(world.messages("Ärger/Ünter")) == 1


async def test_imap_tools(world: World) -> None:
    imap_tools = pytest.importorskip("imap_tools", reason="pip install imap-tools")

    def walk() -> None:
        with imap_tools.MailBoxUnencrypted(world.host, world.port).login("alice", "secret") as box:
            assert [message.subject for message in box.fetch()] == ["number 1", "number 2", "number 3"]
            assert [message.uid for message in box.fetch(imap_tools.AND(subject="number 2"))] == ["2"]
            box.flag(["1"], [imap_tools.MailMessageFlags.FLAGGED], True)
            box.move(["2"], "Trash")
            box.folder.create("Neu/Ü")
            box.append(MESSAGES[0], "Neu/Ü", dt=None, flag_set=[imap_tools.MailMessageFlags.SEEN])
            assert box.folder.status("Neu/Ü")["MESSAGES"] == 1
            box.delete(["1"])

    await asyncio.to_thread(walk)
    assert [message.uid for message in world.messages()] == [3]


async def test_aioimaplib(world: World) -> None:
    aioimaplib = pytest.importorskip("aioimaplib", reason="pip install aioimaplib")
    client = aioimaplib.IMAP4(host=world.host, port=world.port, timeout=10)
    await client.wait_hello_from_server()
    assert (await client.login("alice", "secret")).result == "OK"
    assert (await client.select()).result == "OK"
    assert (await client.uid_search("ALL")).lines[0] == b"1 2 3"
    assert b"line 2" in bytes((await client.fetch("2", "(RFC822)")).lines[1])
    idle = await client.idle_start(timeout=5)
    await world.put(MESSAGES[0])
    assert b"4 EXISTS" in await client.wait_server_push(5)
    client.idle_done()
    await asyncio.wait_for(idle, 5)
    assert (await client.append(MESSAGES[1], mailbox="Sent")).result == "OK"
    await client.logout()
