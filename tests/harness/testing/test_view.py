from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.testing.view import MessageView, numbered_parts


def look_at(view: MessageView) -> None:
    """Ask for everything."""
    assert isinstance(view.text, str)
    assert isinstance(view.html, str)
    assert len(view.snippet) <= 250
    for value in (view.subject, view.message_id, view.return_path, repr(view), str(view.sender)):
        assert isinstance(value, str)
    for attachment in (*view.attachments, *view.inlines):
        assert attachment.size == len(attachment.content)
        assert attachment.filename
        assert view.find_part(attachment.part_id) is attachment.part
    assert view.date is not None
    view.links()
    _ = [*view.to, *view.cc, *view.bcc, *view.reply_to, *view.headers.items()]


@pytest.mark.corpus
def test_every_message_of_the_corpus(corpus: list[tuple[str, bytes]]) -> None:
    for name, octets in corpus:
        try:
            look_at(MessageView(octets))
        except Exception as error:
            raise AssertionError(name) from error


@given(st.binary(max_size=2000))
def test_any_octets(octets: bytes) -> None:
    look_at(MessageView(octets))


def test_section_numbers_are_those_of_imap() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntwo\r\n--b\r\n\r\nthree\r\n--b--\r\n--a--\r\n"
    )
    view = MessageView(octets)
    assert [number for number, _ in numbered_parts(view.part)] == ["1", "2.1", "2.2"]
    assert view.text == "one\ntwo\nthree"


def test_html_alone_has_a_text() -> None:
    view = MessageView(b"Content-Type: text/html\r\n\r\n<p>Hello</p><p>you</p>")
    assert (view.text, view.snippet) == ("Hello\nyou", "Hello you")


def test_otp_and_link_tell_what_there_is() -> None:
    view = MessageView(b"Subject: x\r\n\r\nhttps://a.test/\r\n")
    with pytest.raises(LookupError, match="no one-time code"):
        view.otp()
    with pytest.raises(LookupError, match=r"https://a\.test/"):
        view.link("confirm")
    assert view.link() == "https://a.test/"
