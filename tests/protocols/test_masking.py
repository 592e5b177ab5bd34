from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.masking import LINE_OCTETS_MAX, Masker

DIALOGUES: dict[str, tuple[str, list[tuple[str, bytes]]]] = {
    "pop3 PASS": ("pop3", [("C", b"USER a\r\nPASS s3cret with spaces\r\n")]),
    "pop3 pass, tab": ("pop3", [("C", b"pass\ts3cret\r\n")]),
    "pop3 split": ("pop3", [("C", b"PA"), ("C", b"SS s3c"), ("C", b"ret\r"), ("C", b"\n")]),
    "pop3 no end": ("pop3", [("C", b"PASS s3cret")]),
    "pop3 bare LF": ("pop3", [("C", b"USER a\nPASS s3cret\n")]),
    "pop3 APOP": ("pop3", [("C", b"APOP alice s3cret\r\n")]),
    "pop3 initial": ("pop3", [("C", b"AUTH PLAIN s3cret\r\n")]),
    "pop3 response": ("pop3", [("C", b"AUTH LOGIN\r\n"), ("S", b"+ VXNlcg==\r\n"), ("C", b"s3cret\r\n")]),
    "pop3 unknown mechanism": ("pop3", [("C", b"AUTH OTHER s3cret\r\n")]),
    "smtp initial": ("smtp", [("C", b"EHLO x\r\nAUTH  PLAIN  s3cret\r\n")]),
    "smtp pipelined": ("smtp", [("C", b"EHLO x\r\nAUTH PLAIN\r\ns3cret\r\n"), ("S", b"250-x\r\n250 HELP\r\n334 \r\n")]),
    "smtp two responses": (
        "smtp",
        [
            ("C", b"auth login\r\n"),
            ("S", b"334 VXNlcg==\r\n"),
            ("C", b"s3cret\r\n"),
            ("S", b"334 UGFzcw==\r\n"),
            ("C", b"s3cret\r\n"),
        ],
    ),
    "smtp XOAUTH2": ("smtp", [("C", b"AUTH XOAUTH2 s3cret=\r\n")]),
    "smtp challenge of a handler": ("smtp", [("S", b"334 d2hhdD8=\r\n"), ("C", b"s3cret\r\n")]),
    "smtp after a message": (
        "smtp",
        [("S", b"354 go on\r\n"), ("C", b"x\r\n.\r\nAUTH PLAIN s3cret\r\n")],
    ),
    "smtp very long": ("smtp", [("C", b"AUTH PLAIN " + b"s3cret" * LINE_OCTETS_MAX + b"\r\n")]),
    "lmtp": ("lmtp", [("C", b"AUTH PLAIN s3cret\r\n")]),
    "imap LOGIN": ("imap", [("C", b"a LOGIN alice s3cret\r\n")]),
    "imap LOGIN quoted": ("imap", [("C", b'a login "al ice" "s3cret \\" {3}"\r\n')]),
    "imap LOGIN ill-formed": ("imap", [("C", b'a LOGIN "alice s3cret\r\n')]),
    "imap literals": (
        "imap",
        [
            ("C", b"a LOGIN {5}\r\n"),
            ("S", b"+ go on\r\n"),
            ("C", b"alice {14}\r\n"),
            ("S", b"+ go on\r\n"),
            ("C", b"s3c"),
            ("C", b"ret\r\ns3cret\r\n"),
        ],
    ),
    "imap literals at once": ("imap", [("C", b"a LOGIN alice {6+}\r\ns3cret\r\n")]),
    "imap literal, bare LF": ("imap", [("C", b"a LOGIN alice {6+}\ns3cret\n")]),
    "imap initial": ("imap", [("C", b"a AUTHENTICATE PLAIN s3cret\r\n")]),
    "imap responses": (
        "imap",
        [("C", b"a1 AUTHENTICATE LOGIN\r\n"), ("S", b"* OK wait\r\n+ x\r\n"), ("C", b"s3cret\r\ns3cret\r\n")],
    ),
    "nntp PASS": ("nntp", [("C", b"AUTHINFO USER a\r\nAuthInfo  Pass s3cret\r\n")]),
    "nntp SASL": ("nntp", [("C", b"AUTHINFO SASL PLAIN s3cret\r\n")]),
    "nntp responses": ("nntp", [("C", b"AUTHINFO SASL LOGIN\r\n"), ("S", b"383 =\r\n"), ("C", b"s3cret\r\n")]),
    "nntp after an article": ("nntp", [("C", b"TAKETHIS <a@b>\r\nx\r\n.\r\nAUTHINFO PASS s3cret\r\n")]),
}


def show(protocol: str, dialogue: list[tuple[str, bytes]]) -> list[bytes]:
    masker = Masker(protocol)
    found = [line for side, octets in dialogue for line in masker.lines(side, octets)]
    return found + masker.rest("C") + masker.rest("S")


@pytest.mark.parametrize("name", DIALOGUES)
def test_no_secret_is_shown(name: str) -> None:
    lines = show(*DIALOGUES[name])
    assert not any(b"3cret" in line for line in lines)
    assert any(b"***" in line for line in lines)


@pytest.mark.parametrize("name", DIALOGUES)
def test_no_secret_is_shown_octet_by_octet(name: str) -> None:
    protocol, dialogue = DIALOGUES[name]
    assert show(protocol, [(side, octets[i : i + 1]) for side, octets in dialogue for i in range(len(octets))]) == show(
        protocol, dialogue
    )


@pytest.mark.parametrize(
    ("protocol", "dialogue"),
    [
        ("smtp", [("C", b"AUTH PLAIN x\r\n"), ("S", b"235 ok\r\n"), ("C", b"MAIL FROM:<a@b>\r\n")]),
        ("smtp", [("S", b"354 go on\r\n"), ("C", b"Auth is a word\r\nand so on\r\n.\r\n")]),
        ("nntp", [("C", b"TAKETHIS <a@b>\r\nAUTHINFO PASS is a command\r\n.\r\n")]),
        ("pop3", [("C", b"AUTH\r\n"), ("S", b"+OK\r\nPLAIN\r\n.\r\n"), ("C", b"USER a\r\n")]),
        ("imap", [("C", b"a LOGIN b c\r\nb SELECT INBOX\r\n")]),
        ("imap", [("C", b"a AUTHENTICATE PLAIN\r\n"), ("S", b"+ \r\n"), ("S", b"a NO\r\n"), ("C", b"b NOOP\r\n")]),
    ],
)
def test_the_rest_of_a_dialogue_is_shown(protocol: str, dialogue: list[tuple[str, bytes]]) -> None:
    last = dialogue[-1][1].split(b"\r\n")[-2]
    assert show(protocol, dialogue)[-1] == last


def test_lines_are_told_apart() -> None:
    masker = Masker("smtp")
    assert masker.lines("C", b"a\nb\r\nc") == [b"a\\n", b"b"]
    assert masker.rest("C") == [b"c"]
    assert masker.rest("C") == []
    long = masker.lines("S", b"x" * (3 * LINE_OCTETS_MAX))
    assert long == [b"x" * LINE_OCTETS_MAX + b" ..."]
    assert masker.lines("S", b"x" * 10 + b"\r\n250 ok\r\n") == [b"250 ok"]


@given(
    st.sampled_from(["smtp", "pop3", "imap", "nntp", "lmtp", "http"]),
    st.lists(st.tuples(st.sampled_from("CS"), st.binary(max_size=60))),
)
@settings(max_examples=100)
def test_whatever_is_said_is_shown_in_lines(protocol: str, dialogue: list[tuple[str, bytes]]) -> None:
    lines = show(protocol, dialogue)
    assert sum(map(len, lines)) <= sum(len(octets) * 5 + 3 for _, octets in dialogue)
