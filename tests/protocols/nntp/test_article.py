"""Whether articles are well-formed, and what injection and relaying add."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.nntp.article import ArticleProblem, inject, is_group_name, is_in_path, parse, relay

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
PROTO = b"From: a@example.com\r\nNewsgroups: misc.test\r\nSubject: hi\r\n\r\nbody\r\n"
WHOLE = b"Path: peer!not-for-mail\r\nDate: Mon, 01 Jan 2024 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n" + PROTO


def injected(octets: bytes, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "hostname": "news.test",
        "peer": "127.0.0.1:5",
        "now": NOW,
        "new_id": b"<new@news.test>",
        "groups_max": 5,
    }
    return inject(octets, **(fields | more))


def relayed(octets: bytes, peer: str = "[::1]:119") -> Any:
    return relay(octets, hostname="news.test", peer=peer, now=NOW, groups_max=5)


def test_injection_adds_what_is_missing_in_front() -> None:
    article = injected(PROTO)
    moment = b"Tue, 24 Nov 2026 12:00:00 +0000"
    assert article.octets == (
        b"Path: news.test!.POSTED.127.0.0.1!not-for-mail\r\nMessage-ID: <new@news.test>\r\n"
        b"Date: " + moment + b"\r\nInjection-Date: " + moment + b"\r\n" + PROTO
    )
    assert article.message_id == b"<new@news.test>"
    assert article.newsgroups == ("misc.test",)


def test_an_article_with_date_and_message_id_gets_a_path_alone() -> None:
    own = b"Message-ID: <1@example.com>\r\nDate: Mon, 01 Jan 2024 12:00:00 +0000\r\n" + PROTO
    assert injected(own).octets == b"Path: news.test!.POSTED.127.0.0.1!not-for-mail\r\n" + own
    with_path = own.replace(b"Subject", b"Path: me!x\r\nSubject")
    assert injected(with_path).octets == b"Path: news.test!.POSTED.127.0.0.1!me!x\r\n" + own


def test_relaying_lengthens_the_path_and_drops_xref() -> None:
    article = relayed(WHOLE.replace(b"Subject", b"Xref: other misc.test:1\r\nSubject"))
    assert article.octets == b"Path: news.test!.SEEN.::1!peer!not-for-mail\r\n" + WHOLE.partition(b"\r\n")[2]
    assert article.message_id == b"<1@example.com>"
    assert is_in_path(article, "PEER")
    assert not is_in_path(article, "news.test")


def test_folded_fields_stay_folded() -> None:
    folded = PROTO.replace(b"Subject: hi", b"Subject: hi\r\n there")
    assert injected(folded).octets.endswith(folded)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((b"From: a@example.com\r\n", b""), "From is missing"),
        ((b"a@example.com", b"nobody"), "From has no address"),
        ((b"Subject: hi", b"Subject: hi\r\nsubject: again"), "twice"),
        ((b"Subject: hi", b"Subject: "), "empty"),
        ((b"Subject: hi", b"Subject:hi"), "space"),
        ((b"Subject: hi", b"Subject : hi"), "no header field"),
        ((b"Subject: hi", b"Subject: hi\r\nno field"), "no header field"),
        ((b"misc.test", b"misc..test"), "ill-formed name"),
        ((b"misc.test", b"a,b,c,d,e,f"), "more than 5"),
        ((b"misc.test", b"a b"), "ill-formed name"),
        ((b"Subject", b"Message-ID: <nope>\r\nSubject"), "Message-ID"),
        ((b"Subject", b"Message-ID: <a@b> x\r\nSubject"), "Message-ID"),
        ((b"Subject", b"Date: soon\r\nSubject"), "Date is no date"),
        ((b"Subject", b"Date: 26 Nov 2026 12:00:00 +0000\r\nSubject"), "future"),
        ((b"Subject", b"Expires: never\r\nSubject"), "Expires"),
        ((b"Subject", b"Injection-Info: x\r\nSubject"), "Injection-Info"),
        ((b"Subject", b"Xref: x y:1\r\nSubject"), "Xref"),
        ((b"Subject", b"Path: a!.POSTED!b\r\nSubject"), "POSTED"),
        ((b"body", b"bo\ndy"), "bare CR or LF"),
        ((b"body", b"bo\rdy"), "bare CR or LF"),
        ((b"body", b"bo\0dy"), "NUL"),
        ((b"\r\n\r\n", b"\r\n"), "empty line"),
    ],
)
def test_what_is_refused(change: tuple[bytes, bytes], why: str) -> None:
    with pytest.raises(ArticleProblem, match=why):
        injected(PROTO.replace(*change))


@pytest.mark.parametrize("name", [b"Path", b"Date", b"Message-ID", b"From", b"Newsgroups", b"Subject"])
def test_a_relayed_article_has_all_six_fields(name: bytes) -> None:
    lines = [line for line in WHOLE.split(b"\r\n") if not line.startswith(name + b":")]
    with pytest.raises(ArticleProblem, match=name.decode()):
        relayed(b"\r\n".join(lines))


def test_expires_may_be_in_the_future() -> None:
    injected(PROTO.replace(b"Subject", b"Expires: 26 Nov 2030 12:00:00 +0000\r\nSubject"))


@pytest.mark.parametrize("name", ["misc.test", "comp.lang.c++", "de.test_x", "a-b.c", "日本.test", "0.1"])
def test_group_names(name: str) -> None:
    assert is_group_name(name)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a b", "a,b", "a*", "a!b", "a:b", "a" * 600])
def test_what_is_no_group_name(name: str) -> None:
    assert not is_group_name(name)


HEADERS = st.from_regex(rb"([A-Z][a-z-]{1,10}: ?[a-z@<>.,! ]{0,20}\r\n){0,8}(\r\n)?b?", fullmatch=True)


@given(st.binary(max_size=300) | HEADERS)
def test_nothing_but_article_problems_is_raised(octets: bytes) -> None:
    for take in (parse, injected, relayed):
        try:
            take(octets)
        except ArticleProblem:
            pass


@given(st.text(max_size=30), st.binary(max_size=40))
def test_any_peer_and_any_body_go_through(peer: str, body: bytes) -> None:
    body = body.replace(b"\0", b"").replace(b"\r", b"").replace(b"\n", b"\r\n")
    article = injected(PROTO + body, peer=peer)
    assert article.octets.endswith(PROTO + body)
    assert article.octets.isascii() == body.isascii()
