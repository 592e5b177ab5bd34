"""Mutated commands: whatever a peer sends, the session answers or closes, and nothing is raised."""

from __future__ import annotations

import random
from typing import Any

import pytest

from protocols.imap.session import ImapSession
from protocols.ports import Target
from protocols.reader import Buffer

MESSAGES = (
    b"Subject: x\r\n\r\ny\r\n",
    b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nhi\r\n--q\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: z\r\n\r\nw\r\n--q--\r\n",
)
INSERTS = [
    b" ",
    b"(",
    b")",
    b'"',
    b"{3}\r\n",
    b"{2+}\r\nxx",
    b"*",
    b"$",
    b"\xff",
    b"\0",
    b"99999999999",
    b"]",
    b"<",
    b"[",
]
INSERTS += [b"NIL", b"\\", b",", b":", b"~"]
COMMANDS = [
    b"SELECT INBOX",
    b"EXAMINE INBOX",
    b"FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE BODY[1.MIME] BODY.PEEK[HEADER.FIELDS (SUBJECT)"
    b"]<0.10> RFC822.SIZE PREVIEW (LAZY) MODSEQ)",
    b"UID FETCH 1:* (BODY[]) (CHANGEDSINCE 3 VANISHED)",
    b"STORE 1:* +FLAGS (\\Seen foo)",
    b"UID STORE 1 (UNCHANGEDSINCE 3) FLAGS.SILENT ()",
    b"SEARCH RETURN (MIN MAX ALL COUNT SAVE) OR FROM x NOT (TEXT y UID 1:3)",
    b"UID SEARCH RETURN (UPDATE PARTIAL -1:-4) UNSEEN",
    b'SEARCH MODSEQ "/flags/\\\\x" all 1 SENTSINCE 1-Feb-1994 LARGER 3 HEADER a b KEYWORD foo',
    b"SORT (REVERSE SUBJECT DATE DISPLAYFROM) UTF-8 ALL",
    b"THREAD REFERENCES UTF-8 ALL",
    b"COPY 1 Sent",
    b"UID MOVE 1:2 Trash",
    b"EXPUNGE",
    b"UID EXPUNGE 1:*",
    b"CLOSE",
    b"CREATE a/b/c",
    b"DELETE a/b",
    b"RENAME a z",
    b"RENAME INBOX old",
    b'LIST (SUBSCRIBED RECURSIVEMATCH) "" (%  "*") RETURN (STATUS (MESSAGES SIZE) MYRIGHTS METAD'
    b"ATA (/private/comment))",
    b'LSUB "" %',
    b"STATUS INBOX (MESSAGES UIDNEXT SIZE RECENT DELETED-STORAGE APPENDLIMIT)",
    b"NAMESPACE",
    b"ENABLE QRESYNC UTF8=ACCEPT IMAP4rev2",
    b"ENABLE UIDONLY",
    b"SELECT INBOX (QRESYNC (1 1 1:* (1,2 3,4)))",
    b'APPEND INBOX (\\Seen) "07-Feb-1994 22:43:04 -0800" {10+}\r\nabc: d\r\n\r\n',
    b'APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=1.MIME/;PARTIAL=0.5" TEXT {3+}\r\nabc)',
    b"APPEND INBOX UTF8 (~{6+}\r\na: \x00b\r)",
    b"REPLACE 1 INBOX {3+}\r\na:b",
    b"SETACL INBOX bob +lrsx",
    b"GETACL INBOX",
    b"DELETEACL INBOX bob",
    b"LISTRIGHTS INBOX bob",
    b'MYRIGHTS "Other Users/bob/INBOX"',
    b"GETQUOTAROOT INBOX",
    b'SETQUOTA "" (STORAGE 1)',
    b"GETMETADATA (DEPTH infinity MAXSIZE 10) INBOX (/private /shared/comment)",
    b'SETMETADATA INBOX (/private/comment "x" /shared/y NIL)',
    b"NOTIFY SET STATUS (selected (MessageNew (BODY.PEEK[]) MessageExpunge FlagChange)) (subtree"
    b' (a "b") (MailboxName MessageNew MessageExpunge))',
    b"NOTIFY NONE",
    b"ESEARCH IN (mailboxes (INBOX Sent) subtree-one a) RETURN (COUNT) ALL",
    b'CANCELUPDATE "t"',
    b"SUBSCRIBE z",
    b"UNSUBSCRIBE z",
    b'ID ("a" NIL)',
    b"NOOP",
    b"CHECK",
    b"UNSELECT",
    b"COMPRESS DEFLATE",
    b"IDLE\r\nDONE",
    b"UNAUTHENTICATE",
    b"LOGIN alice secret",
    b'LOGIN {5+}\r\nalice "secret"',
    b"AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==",
    b"CAPABILITY",
    b'SELECT "Public Folders/misc.test"',
    b"FETCH $ (BINARY[1]<0.9> BINARY.SIZE[1])",
]


class Wire:
    """A connection in memory: gives its lines one by one and forgets what is written."""

    peer = "test"
    tls = tls_available = compressed = False

    def __init__(self, lines: list[bytes]) -> None:
        self.buffer = Buffer()
        self.lines = lines[::-1]
        self.written: list[bytes] = []

    def write(self, pieces: Any) -> None:
        self.written.extend(pieces)

    async def drain(self) -> None:
        pass

    async def more(self, seconds_max: float | None) -> bool:
        if not self.lines:
            return False
        self.buffer.feed(self.lines.pop())
        return True

    def poke(self) -> None:
        pass

    def close(self) -> None:
        pass

    def start_compression(self) -> None:
        pass

    def channel_binding(self, kind: str) -> bytes | None:
        return None


def mutate(chance: random.Random, command: bytes) -> bytes:
    octets = bytearray(command)
    if chance.random() < 0.6:
        for _ in range(chance.randint(1, 3)):
            kind, at = chance.random(), chance.randrange(len(octets) + 1)
            if kind < 0.3:
                del octets[at : at + chance.randint(1, 4)]
            elif kind < 0.6:
                octets[at:at] = chance.choice(INSERTS)
            elif octets:
                octets[at % len(octets)] = chance.randrange(256)
    return b"t " + bytes(octets) + b"\r\n"


@pytest.mark.parametrize("part", range(3))
async def test_mutated_commands_raise_nothing(start_server: Any, part: int) -> None:
    server = await start_server(
        users=["alice:secret", "bob:secret"], groups=("misc.test",), smtp_port=None, pop3_port=None, nntp_port=None
    )
    mailbox = server.store.mailboxes["alice"]
    for seed in range(part * 100, part * 100 + 100):
        chance = random.Random(seed)
        for octets in MESSAGES:
            await server.converter.put(octets, [Target(mailbox.inbox)])
        lines = [b"t LOGIN alice secret\r\n", b"t SELECT INBOX\r\n"]
        wire = Wire(lines + [mutate(chance, chance.choice(COMMANDS)) for _ in range(12)])
        await ImapSession(wire, server.services).run()
        assert wire.written
        if len(mailbox.inbox.messages) > 60:
            await server.store.expunge(mailbox.inbox, list(mailbox.inbox.messages))
