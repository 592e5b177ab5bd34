"""Fuzz targets: a whole session of each front-end over a connection in memory, and the conversion both ways.

A target raises when there is a defect: an exception that reaches the top of a session, a buffer beyond its bound,
octets that do not come out as they went in. `fuzz.py` drives them with atheris; `test_targets.py` runs seeds and
regressions.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from emulator import imail
from emulator.config import Settings, limits_with, parse_account
from emulator.imail.compound_file import write_compound_file
from emulator.imail.containers import split_mbox
from emulator.imail.enriched import html_from_enriched
from emulator.imail.mac import MacFile, read_apple, read_binhex, write_appledouble, write_binhex
from emulator.imail.msg import message_from_msg, message_to_msg
from emulator.imail.rtf_compression import compress_rtf, decompress_rtf, store_rtf
from emulator.imail.rtf_text import html_from_rtf, text_from_rtf
from emulator.imail.tnef import message_from_tnef, message_to_tnef
from emulator.imail.tnef_stream import read_stream
from emulator.properties import PropertyMessage
from emulator.scheduling import Preemption
from emulator.server import Server
from emulator.smtp import smtp_session
from harness.dialogue import parse_cases
from protocols import sasl
from protocols.imap.envelope import body, bodystructure, envelope
from protocols.imap.session import ImapSession
from protocols.mime import parse, transfer
from protocols.mime.address import format_mailbox, parse_addresses
from protocols.mime.dates import parse_date
from protocols.mime.words import decode_words
from protocols.nntp import NntpSession
from protocols.pop3 import Pop3Session
from protocols.ports import Target
from protocols.reader import Buffer
from protocols.wildmat import PATTERN_CHARACTERS_MAX, Pattern, Wildmat, WildmatError

MESSAGE = (
    b"From: Bob <bob@b.test>\r\nTo: alice@c.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    b"Message-ID: <1@b.test>\r\nNewsgroups: misc.test\r\nDate: Tue, 01 Jun 2010 10:00:00 +0200\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\n.dot\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: in\r\n\r\nbody\r\n--x--\r\n"
)
LOGINS = {
    "imap": b"z0 LOGIN alice secret\r\nz1 SELECT INBOX\r\n",
    "pop3": b"USER alice\r\nPASS secret\r\n",
    "nntp": b"GROUP misc.test\r\n",
    "smtp": b"EHLO fuzz.test\r\n",
}
BUFFER_OCTETS_MAX = 1 << 20


class MemoryConnection:
    """Hands a session the octets of one input, in pieces, and checks that no more of them are kept than may be."""

    tls = tls_available = compressed = False
    peer = "127.0.0.1:9"
    peer_address = "127.0.0.1"
    plug = None
    octets_received = 0

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.buffer = Buffer()
        self.pieces = deque(pieces)
        self.octets_written = 0

    def write(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            assert isinstance(piece, bytes | bytearray | memoryview)
            self.octets_written += len(piece)

    async def drain(self) -> None:
        assert len(self.buffer) <= BUFFER_OCTETS_MAX

    async def more(self, seconds_max: float | None) -> bool:
        if not self.pieces:
            return False
        self.buffer.feed(self.pieces.popleft())
        return True

    def channel_binding(self, kind: str) -> bytes | None:
        return None

    def poke(self) -> None:
        pass

    def close(self) -> None:
        pass

    abort = close


class World:
    """One server without listeners, which all inputs of a process share; mailboxes are made anew now and then."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        settings = Settings(
            smtp_port=None,
            pop3_port=None,
            imap_port=None,
            nntp_port=None,
            accounts=(parse_account("alice:secret"),),
            groups=("misc.test",),
            preemption=Preemption(one_in=0),
        )
        self.settings = limits_with(settings, message_bytes_max=100_000)
        self.inputs = 0
        self.server: Server | None = None

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 20))

    async def _fresh(self) -> Server:
        if self.server is not None:
            await self.server.kill()
        self.server = Server(self.settings)
        await self.server.start()
        targets = [
            Target(self.server.store.mailboxes["alice"].inbox),
            Target(self.server.store.newsgroups["misc.test"]),
        ]
        await self.server.converter.put(MESSAGE, targets)
        return self.server

    async def session(self, protocol: str, data: bytes) -> None:
        """Drive one session with one input."""
        if self.server is None or self.inputs % 200 == 0:
            await self._fresh()
        self.inputs += 1
        server = self.server
        assert server is not None
        step = 1 + data[0] if data else 1
        body = data[1:]
        if data and data[0] % 2:
            body = LOGINS[protocol] + body
        pieces = [body] if step > 200 else [body[start : start + step] for start in range(0, len(body), step)]
        connection: Any = MemoryConnection(pieces)
        await self._make(protocol, server, connection).run()
        if server.scheduler.failures:
            raise server.scheduler.failures[0][1]

    @staticmethod
    def _make(protocol: str, server: Server, connection: Any) -> Any:
        if protocol == "smtp":
            return smtp_session(server.services)(connection)
        session_class = {"imap": ImapSession, "pop3": Pop3Session, "nntp": NntpSession}[protocol]
        return session_class(connection, server.services)

    def close(self) -> None:
        if self.server is not None:
            self.loop.run_until_complete(self.server.kill())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


_world: World | None = None


def world() -> World:
    global _world  # noqa: PLW0603 - one server for all inputs of a process
    if _world is None:
        _world = World()
    return _world


def fuzz_smtp(data: bytes) -> None:
    world().run(world().session("smtp", data))


def fuzz_pop3(data: bytes) -> None:
    world().run(world().session("pop3", data))


def fuzz_imap(data: bytes) -> None:
    world().run(world().session("imap", data))


def fuzz_nntp(data: bytes) -> None:
    world().run(world().session("nntp", data))


def fuzz_conversion(data: bytes) -> None:
    """MIME → property message → MIME is the identity; through bytes too; regeneration gives something that parses."""
    message = imail.inbound(data)
    assert imail.outbound(message) == data
    for _ in message.structure.walk():
        pass
    packed = PropertyMessage.from_bytes(message.to_bytes())
    assert imail.outbound(packed) == data
    packed.forget_original()
    again = imail.outbound(packed)
    imail.inbound(again)


def fuzz_mime(data: bytes) -> None:
    """The MIME parser and all that IMAP and NNTP read from its structure; headers give their own octets back."""
    root = parse(data)
    assert root.octets.replace(b"\n", b"\r") == data.replace(b"\n", b"\r")
    for part in root.walk():
        assert 0 <= part.start <= part.body_start <= part.end <= len(data)
        header = root.octets[part.headers.start : part.headers.end]
        assert b"".join([b"".join(field) for field in part.headers.raw]) == header
        transfer.decode(part.body, part.encoding)
        _ = (part.params, part.disposition_params, part.language, part.lines)
        for _, value in part.headers:
            decode_words(value)
            parse_date(value)
            for address in parse_addresses(value):
                format_mailbox(address.email)
    envelope(root)
    body(root)
    bodystructure(root)
    transfer.find_uuencoded(data)
    transfer.find_yenc(data)


def fuzz_formats(data: bytes) -> None:
    """The formats around MIME: TNEF, compound files, compressed RTF, BinHex, AppleSingle, enriched text, mbox."""
    stream = read_stream(data)
    if stream is not None:
        assert stream.to_bytes() == data
    for message in (message_from_tnef(data), message_from_msg(data)):
        if message is not None:
            message_from_tnef(message_to_tnef(message))
            message_from_msg(message_to_msg(message))
            imail.outbound(message)
    rtf = decompress_rtf(data, 1 << 20)
    text_from_rtf(data if rtf is None else rtf)
    html_from_rtf(data)
    assert decompress_rtf(compress_rtf(data)) == data
    read_binhex(data, 1 << 20)
    read_apple(data)
    html_from_enriched(data.decode("latin-1"))
    list(split_mbox(data))


class Accounts:
    """A directory with one account, for `protocols.sasl`."""

    has_secrets = True
    has_tokens = True

    def authenticate(self, user: str, password: str) -> str | None:
        return "alice" if (user, password) == ("alice", "secret") else None

    def secret(self, user: str) -> str | None:
        return "secret" if user == "alice" else None

    def token_user(self, token: str) -> str | None:
        return "alice" if token == "token" else None


ACCOUNTS: Any = Accounts()
SECRETS = (b"secret", b"token")
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER", "NTLM")


def fuzz_sasl(data: bytes) -> None:
    """Each mechanism: whatever the lines are, the exchange ends, and nobody without a secret is let in."""
    if not data:
        return
    name = MECHANISMS[data[0] % len(MECHANISMS)]
    encode = data[0] & 128
    lines = [base64.b64encode(line) if encode else line for line in data[1:].split(b"\n")]
    exchange = sasl.start(name, ACCOUNTS, random_octets=bytes, binding=lambda kind: b"channel")
    assert exchange is not None
    outcome = exchange.first(None if data[0] & 64 else lines.pop(0))
    steps = 0
    while isinstance(outcome, sasl.Challenge):
        assert b"\r" not in outcome.line
        assert b"\n" not in outcome.line
        outcome = exchange.answer(lines.pop(0) if lines else b"*")
        steps += 1
        assert steps <= 4, "no mechanism has so many steps"
    if isinstance(outcome, sasl.Success):
        assert outcome.user == "alice"
        assert name.startswith(("SCRAM", "CRAM")) or any(
            secret in part for part in (data, *map(_decoded, data[1:].split(b"\n"))) for secret in SECRETS
        )
    assert isinstance(exchange.answer(b""), sasl.Failure)


def _decoded(line: bytes) -> bytes:
    try:
        return base64.b64decode(line)
    except ValueError:
        return b""


def fuzz_wildmat(data: bytes) -> None:
    """Patterns against texts, beside a matcher that tries everything (on texts so short that it can)."""
    pattern_text, _, text = data.decode("utf-8", "replace").partition("\n")
    try:
        Wildmat(pattern_text).matches(text)
        pattern = Pattern(pattern_text)
    except WildmatError:
        return
    assert len(pattern_text) <= PATTERN_CHARACTERS_MAX or "," in pattern_text
    assert pattern.matches(text) in (True, False)
    if len(text) <= 24 and not set(pattern_text) & set("[]\\"):
        assert pattern.matches(text) == _slowly(pattern_text, text)


def _slowly(pattern: str, text: str) -> bool:
    """`*` and `?` by the book: all positions at which so much of the pattern can have ended."""
    ends = {0}
    for character in pattern:
        if character == "*":
            ends = set(range(min(ends), len(text) + 1)) if ends else ends
        else:
            ends = {end + 1 for end in ends if end < len(text) and character in ("?", text[end])}
    return len(text) in ends


def fuzz_dialogue(data: bytes) -> None:
    """Dialogue files: cases, or a line that says what is wrong."""
    try:
        cases = parse_cases(data.decode("utf-8", "replace"), "fuzz")
    except ValueError as error:
        told = str(error)
    else:
        told = "".join(f"{case}" for case in cases)
    assert not told or told.startswith("fuzz:")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "sasl": fuzz_sasl,
    "wildmat": fuzz_wildmat,
    "dialogue": fuzz_dialogue,
    "smtp": fuzz_smtp,
    "pop3": fuzz_pop3,
    "imap": fuzz_imap,
    "nntp": fuzz_nntp,
    "conversion": fuzz_conversion,
    "mime": fuzz_mime,
    "formats": fuzz_formats,
}

KINDS = [
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=r\r\n\r\n--r\r\n\r\ntext\r\n--r\r\n"
    b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\nFinal-Recipient: rfc822; b@c\r\n"
    b"Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 no\r\n\r\n--r\r\nContent-Type: text/rfc822-headers"
    b"\r\n\r\nSubject: s\r\n--r--\r\n",
    b"Content-Type: multipart/signed; micalg=sha1; boundary=s\r\n\r\n--s\r\n\r\ntext\r\n--s\r\n"
    b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--s--\r\n",
    b'From: a (c) <@r,@s:"q r"@b>, g: x@y, [1]@[::1];\r\nDate: Tue, 1 Jun 10 10:00 EST\r\nContent-Type: text/html;\r\n'
    b" charset=\"koi8-r\"; name*0*=utf-8''%e4; name*1=b\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<b>=D0=\r\n",
    b"Subject: x\r\n\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n"
    b"=ybegin line=128 size=2 name=b\r\n=nx\r\n=yend size=2\r\n",
    b"Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n"
    b"Content-Type: text/enriched\r\n\r\n<bold>x</bold>\r\n"
    b'--a\r\nContent-Type: multipart/related; start="<1>"; boundary=b\r\n\r\n--b\r\nContent-ID: <1>\r\n'
    b"Content-Type: text/html\r\n\r\n<img>\r\n--b\r\nContent-Type: image/gif\r\n\r\nGIF\r\n--b--\r\n--a--\r\n",
]
"""One message of each kind that takes a way of its own through the conversion."""

SEEDS: dict[str, list[bytes]] = {
    "sasl": [
        b"\x80\0alice\0secret",
        b"\xc0\0alice\0secret",
        b"\xc1alice\nsecret",
        b"\x01YWxpY2U=\nc2VjcmV0",
        b"\xc2alice 0123456789abcdef0123456789abcdef",
        b"\x83n,,n=alice,r=abc\nc=biws,r=abc,p=AAAA",
        b"\x84p=tls-exporter,a=alice,n=ali=2Cce,r=abc\nc=cD10bHM=,r=abcAAAAAAAAAAAAAAAAAAAAAAAA,p=AAAA\n",
        b"\x85user=alice\1auth=Bearer token\1\1",
        b"\x86n,a=alice,\1auth=Bearer token\1\1",
    ],
    "wildmat": [b"a*b?c\naxxbyc", b"*a*a*a*b\naaaaaaaaaaaaaaaaa", b"!misc.*,[^a-z]\\*,[]a]\nmisc.test"],
    "dialogue": [
        b"== title [RFC 1]\n@ imap\n@ user a:b\n@ message INBOX\n| Subject: x\n|\n"
        b"S~ \\* OK .*\nC< a\\r\\n\\x00\nS* [a-z]+\nC! eof\nS! closed\n",
        b"# comment\n\n== two\nC2: x\nS2: y\n",
    ],
    "smtp": [
        b"\xfeEHLO a\r\nMAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME\r\n"
        b"RCPT TO:<alice> NOTIFY=NEVER\r\nDATA\r\nSubject: x\r\n\r\n"
        b"..x\r\n.\r\nRSET\r\nVRFY alice\r\nHELP\r\nNOOP\r\nQUIT\r\n",
        b"\x03EHLO a\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nBDAT 5 LAST\r\nhello",
        b"\xffAUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\nMAIL FROM:<>\r\nETRN x\r\n",
    ],
    "pop3": [
        b"\xffSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 1 3\r\nDELE 1\r\nRSET\r\nNOOP\r\nQUIT\r\n",
        b"\x02CAPA\r\nAUTH PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\nAPOP alice 0123\r\nSTLS\r\nUTF8\r\nLANG\r\n",
    ],
    "imap": [
        b"\xffa FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE BODY[1]<0.5> BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n"
        b"b SEARCH OR SUBJECT {3+}\r\nabc (NOT SEEN SINCE 1-Jan-2010)\r\nc STORE 1 +FLAGS.SILENT (\\Seen $x)\r\n"
        b'd COPY 1 Sent\r\ne EXPUNGE\r\nf LIST "" "%"\r\ng APPEND INBOX (\\Seen) {5+}\r\nhello\r\n'
        b"h IDLE\r\nDONE\r\nz LOGOUT\r\n",
        b"\x05a THREAD REFERENCES UTF-8 ALL\r\nb SORT (REVERSE DATE) UTF-8 ALL\r\n"
        b"c GETMETADATA INBOX /shared/comment\r\n",
        b"\x02a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\nb SELECT INBOX (CONDSTORE)\r\n"
        b"c ENABLE QRESYNC\r\nd NAMESPACE\r\n",
    ],
    "nntp": [
        b"\xffARTICLE 1\r\nHEAD\r\nOVER 1-\r\nXHDR Subject 1-5\r\nLISTGROUP\r\nNEXT\r\nLAST\r\n"
        b"LIST ACTIVE *.t?[a-z]\r\n"
        b"NEWNEWS misc.* 20000101 000000 GMT\r\nDATE\r\nHELP\r\nCAPABILITIES\r\nQUIT\r\n",
        b"\xfePOST\r\n"
        + MESSAGE.replace(b"\r\n.dot", b"\r\n..dot")
        + b".\r\nIHAVE <2@b.test>\r\nSubject: x\r\n\r\n.\r\n",
    ],
    "conversion": [MESSAGE, *KINDS, b"", b"\r\n", b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n--a--"],
    "mime": [MESSAGE, *KINDS],
    "formats": [
        message_to_tnef(imail.inbound(MESSAGE)),
        message_to_msg(imail.inbound(MESSAGE)),
        write_compound_file({"a": {"b": b"c" * 5000}, "d": b"e"}),
        store_rtf(
            b"{\\rtf1\\ansi\\fromhtml1 {\\*\\htmltag64 <b>}x\\'e4\\u228 ?{\\fonttbl{\\f0\\fcharset204 x;}}\\par}"
        ),
        compress_rtf(b"{\\rtf1 abcabcabcabc}"),
        write_binhex(MacFile("name", b"data\x90\x90", b"resource", b"TEXT", b"ttxt")),
        write_appledouble(MacFile("name", b"", b"resource", b"TEXT", b"ttxt")),
        b"<bold>a<<b</bold><nofill>\n\nx</nofill>",
        b"From a@b Tue Jun  1 10:00:00 2010\nSubject: x\n\n>From y\n\nFrom c\n\nz\n",
    ],
}
