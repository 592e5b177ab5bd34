from __future__ import annotations

from typing import Any

import pytest
from poster import NotPosted, post, post_surely


def article(group: str) -> bytes:
    return (
        f"From: bob@example.org\r\nNewsgroups: {group}\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n\r\n"
        ".a line that begins with a dot\r\n"
    ).encode()


def test_posts(mailjam: Any) -> None:
    group = mailjam.group()
    post(mailjam.nntp, article(group))
    (posted,) = mailjam.messages
    assert posted.recipients == (group,)
    assert posted.text.startswith(".a line")


def test_refusal_is_told(mailjam: Any) -> None:
    mailjam.fault("error", protocol="nntp", command="POST", text="440 posting is not permitted")
    with pytest.raises(NotPosted, match="440"):
        post(mailjam.nntp, article(mailjam.group()))


def test_a_lost_reply_does_not_post_twice(mailjam: Any) -> None:
    group = mailjam.group()
    lost = mailjam.fault("disconnect", protocol="nntp", command="POST", stage="command")
    post_surely(mailjam.nntp, article(group))
    assert lost.fired == 1
    post_surely(mailjam.nntp, article(group))
    assert len(mailjam.messages) == 1
