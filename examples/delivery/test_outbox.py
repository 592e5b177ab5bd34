from __future__ import annotations

from typing import Any

import pytest
from outbox import Outbox

pytestmark = pytest.mark.asyncio


async def test_delivers(mailjam: Any) -> None:
    outbox = Outbox(mailjam.smtp)
    outbox.add(mailjam.message("hello", to="bob@example.com"))
    assert await outbox.flush() == 1
    assert (await mailjam.wait_for(to="bob")).subject == "hello"


@pytest.mark.parametrize(
    "fault",
    [
        "error command=RCPT text='451 4.3.0 later'",
        "error command=DATA text='452 4.3.1 disk full'",
        "error command=* stage=store text='disk full'",
        "error command=CONNECT text='421 4.3.2 not now'",
        "disconnect command=MAIL",
        "reset command=DATA",
    ],
)
async def test_tries_again(mailjam: Any, fault: str) -> None:
    struck = mailjam.fault(fault)
    outbox = Outbox(mailjam.smtp)
    outbox.add(mailjam.message("hello"))
    assert await outbox.flush() == 0
    assert struck.fired == 1
    assert await outbox.flush() == 1
    assert len(mailjam.messages) == 1


async def test_gives_up_on_5xx(mailjam: Any) -> None:
    mailjam.fault("error", command="RCPT", text="550 5.1.1 no such user")
    outbox = Outbox(mailjam.smtp)
    outbox.add(mailjam.message("hello"))
    await outbox.flush()
    assert (len(outbox.waiting), len(outbox.refused)) == (0, 1)


async def test_a_lost_250_delivers_twice_as_rfc_5321_says(mailjam: Any) -> None:
    """RFC 5321 section 4.5.4.1: a client that never saw the 250 sends again; the Message-ID tells that it is one."""
    mailjam.fault("lose-reply", command="DATA")
    outbox = Outbox(mailjam.smtp, seconds_max=1)
    outbox.add(mailjam.message("hello", message_id="<1@example.org>"))
    assert await outbox.flush() == 0
    assert await outbox.flush() == 1
    first, second = mailjam.messages
    assert first.message_id == second.message_id == "1@example.org"
