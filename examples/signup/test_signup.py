from __future__ import annotations

import smtplib
from typing import Any

import pytest
from signup import Signup


def test_the_link_confirms(mailjam: Any) -> None:
    shop = Signup(mailjam.smtp)
    shop.register("alice@example.com")
    message = mailjam.wait(to="alice@example.com", subject="confirm")
    assert shop.open(message.link("confirm"))
    assert shop.confirmed == {"alice@example.com"}


def test_a_link_works_once(mailjam: Any) -> None:
    shop = Signup(mailjam.smtp)
    shop.register("alice@example.com")
    link = mailjam.wait().link("confirm")
    assert shop.open(link)
    assert not shop.open(link)


def test_nothing_waits_when_the_mail_was_refused(mailjam: Any) -> None:
    refused = mailjam.fault("error", command="RCPT", text="451 4.3.0 mailbox busy")
    shop = Signup(mailjam.smtp)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        shop.register("alice@example.com")
    assert refused.fired == 1
    shop.register("alice@example.com")  # the fault has healed
    assert shop.open(mailjam.wait().link())
