"""The outbound side: to a smart host that is another mailjam, retry, reports, release, ETRN."""

from __future__ import annotations

import asyncio
import smtplib
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

import pytest

from emulator.config import Settings
from emulator.events import MessageDelivered, MessageRelayed
from emulator.server import Server


def mail(server: Server, recipients: list[str], text: str = "Subject: x\r\n\r\nbody\r\n", **options: list[str]) -> Any:
    """Send a message by smtplib; the refused recipients."""
    with smtplib.SMTP(*server.addresses["smtp"]) as client:
        return client.sendmail("alice@here.example", recipients, text, options.get("mail", []), options.get("rcpt", []))


async def arrived(server: Server, name: str, count: int = 1) -> list[EmailMessage]:
    """The messages of a mailbox, once there are so many."""
    delivered = asyncio.Event()
    server.bus.on(MessageDelivered, lambda _: delivered.set())
    async with asyncio.timeout(10):
        while name not in server.store.mailboxes or len(server.store.mailboxes[name].inbox.messages) < count:
            delivered.clear()
            await delivered.wait()
    messages = server.store.mailboxes[name].inbox.messages
    octets = [await server.converter.octets(message) for message in messages]
    return [cast(EmailMessage, message_from_bytes(found, policy=policy.SMTP)) for found in octets]


@pytest.fixture
async def far(start_server) -> Server:  # type: ignore[no-untyped-def]
    """The smart host: knows bob only."""
    started: Server = await start_server(
        users=["bob@far.example:x"], hostname="far.example", strict_users=True, pop3_port=None, nntp_port=None
    )
    return started


@pytest.fixture
async def near(start_server, far: Server) -> Server:  # type: ignore[no-untyped-def]
    host, port = far.addresses["smtp"]
    started: Server = await start_server(
        users=["alice@here.example:x"],
        hostname="here.example",
        domains=("here.example",),
        smarthost=f"{host}:{port}",
        pop3_port=None,
        nntp_port=None,
        outbound_retry_seconds_min=0.05,
    )
    return started


async def test_mail_for_other_domains_goes_to_the_smart_host(near: Server, far: Server) -> None:
    relayed = asyncio.Event()
    near.bus.on(MessageRelayed, lambda event: relayed.set())
    await asyncio.to_thread(mail, near, ["bob@far.example", "alice@here.example"])
    (there,) = await arrived(far, "bob@far.example")
    (here,) = await arrived(near, "alice@here.example")
    assert there["Return-Path"] == here["Return-Path"] == "<alice@here.example>"
    assert len(there.get_all("Received") or []) == 2
    assert there.get_content() == "body\r\n"
    await asyncio.wait_for(relayed.wait(), 5)
    assert not near.outbound.entries


async def test_what_the_smart_host_refuses_is_returned(near: Server, far: Server) -> None:
    await asyncio.to_thread(
        mail, near, ["nobody@far.example", "bob@far.example"], mail=["RET=HDRS", "ENVID=QQ1"], rcpt=["NOTIFY=FAILURE"]
    )
    (report,) = await arrived(near, "alice@here.example")
    assert report["Return-Path"] == "<>"
    assert report.get_content_type() == "multipart/report"
    words, status, returned = report.iter_parts()
    assert "nobody@far.example" in words.get_content()
    message, recipient = status.get_payload()
    assert message["Original-Envelope-Id"] == "QQ1"
    assert message["Reporting-MTA"] == "dns; here.example"
    assert recipient["Final-Recipient"] == "rfc822;nobody@far.example"
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert returned.get_content_type() == "text/rfc822-headers"
    assert len(await arrived(far, "bob@far.example")) == 1


async def test_never_means_never_and_success_is_reported(near: Server, far: Server) -> None:
    await asyncio.to_thread(mail, near, ["nobody@far.example"], rcpt=["NOTIFY=NEVER"])
    await asyncio.to_thread(mail, near, ["alice@here.example"], rcpt=["NOTIFY=SUCCESS", "ORCPT=rfc822;Al@x.example"])
    messages = await arrived(near, "alice@here.example", 2)
    report = next(message for message in messages if message.get_content_type() == "multipart/report")
    _, status, returned = report.iter_parts()
    recipient = status.get_payload()[1]
    assert recipient["Action"] == "delivered"
    assert recipient["Original-Recipient"] == "rfc822;Al@x.example"
    assert returned.get_content_type() == "text/rfc822-headers"


async def test_the_smart_host_reports_success_itself_to_the_sender(near: Server, far: Server) -> None:
    """RFC 3461 section 6.2.4: it was asked to, so we do not."""
    relayed = asyncio.Event()
    near.bus.on(MessageRelayed, lambda event: relayed.set())
    await asyncio.to_thread(mail, near, ["bob@far.example"], rcpt=["NOTIFY=SUCCESS"])
    await asyncio.wait_for(relayed.wait(), 5)
    await near.inbound.settled()
    assert near.inbound.accepted_count == 0


async def test_a_full_mailbox_is_reported(start_server) -> None:  # type: ignore[no-untyped-def]
    """The message was acknowledged: who sent it has to be told (RFC 5321 section 6.1)."""
    server: Server = await start_server(hostname="here.example", mailbox_bytes_max=3000)
    large = "Subject: x\r\n\r\n" + "line\r\n" * 300
    await asyncio.to_thread(mail, server, ["bob@here.example"], large)
    await server.inbound.settled()
    await asyncio.to_thread(mail, server, ["bob@here.example", "carol@here.example"], large, mail=["RET=HDRS"])
    (report,) = await arrived(server, "alice@here.example")
    recipient = list(report.iter_parts())[1].get_payload()[1]
    assert (recipient["Final-Recipient"], recipient["Status"]) == ("rfc822;bob@here.example", "5.2.2")
    assert len(server.store.mailboxes["bob@here.example"].inbox.messages) == 1
    assert len(server.store.mailboxes["carol@here.example"].inbox.messages) == 1


async def test_a_smart_host_that_is_down_is_tried_again(start_server, near: Server, far: Server) -> None:  # type: ignore[no-untyped-def]
    far_port = far.addresses["smtp"][1]
    await far.control.pause("MSExchangeIMC")
    await asyncio.to_thread(mail, near, ["bob@far.example"])
    async with asyncio.timeout(5):
        while not any(entry.attempts for entry in near.outbound.entries.values()):
            await asyncio.sleep(0.01)
    assert near.queue_lengths()["Queued Outbound"] == 1
    await far.control.resume("MSExchangeIMC")
    assert far.addresses["smtp"][1] == far_port
    assert len(await arrived(far, "bob@far.example")) == 1


async def test_what_waits_too_long_is_returned(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(
        smarthost="127.0.0.1:1", domains=("here.example",), outbound_expire_seconds=0.0, hostname="here.example"
    )
    await asyncio.to_thread(mail, server, ["bob@far.example"])
    (report,) = await arrived(server, "alice@here.example")
    assert list(report.iter_parts())[1].get_payload()[1]["Status"] == "4.4.7"


async def test_the_delay_is_reported_once_to_who_asked(start_server) -> None:  # type: ignore[no-untyped-def]
    server = await start_server(
        smarthost="127.0.0.1:1",
        domains=("here.example",),
        outbound_delay_warning_seconds=0.0,
        outbound_retry_seconds_min=0.01,
        hostname="here.example",
    )
    await asyncio.to_thread(mail, server, ["bob@far.example"], rcpt=["NOTIFY=DELAY"])
    (report,) = await arrived(server, "alice@here.example")
    assert list(report.iter_parts())[1].get_payload()[1]["Action"] == "delayed"
    async with asyncio.timeout(5):
        while next(iter(server.outbound.entries.values())).attempts < 3:
            await asyncio.sleep(0.01)
    assert len(server.store.mailboxes["alice@here.example"].inbox.messages) == 1


async def test_etrn_drains_what_waits(start_server, far: Server) -> None:  # type: ignore[no-untyped-def]
    host, port = far.addresses["smtp"]
    server = await start_server(smarthost=f"{host}:{port}", domains=("here.example",), outbound_retry_seconds_min=900.0)
    await far.control.pause("MSExchangeIMC")
    await asyncio.to_thread(mail, server, ["bob@far.example"])
    async with asyncio.timeout(5):
        while not any(entry.timer for entry in server.outbound.entries.values()):
            await asyncio.sleep(0.01)
    await far.control.resume("MSExchangeIMC")

    def etrn(node: str) -> int:
        with smtplib.SMTP(*server.addresses["smtp"]) as client:
            client.ehlo()
            return client.docmd("ETRN", node)[0]

    assert await asyncio.to_thread(etrn, "other.example") == 251
    assert await asyncio.to_thread(etrn, "@example") == 253
    assert len(await arrived(far, "bob@far.example")) == 1


async def test_future_release(start_server) -> None:  # type: ignore[no-untyped-def]
    server: Server = await start_server(hostname="here.example")
    await asyncio.to_thread(mail, server, ["bob@here.example"], mail=["HOLDFOR=1"])
    assert server.queue_lengths()["Queued Outbound"] == 1
    assert "bob@here.example" not in server.store.mailboxes
    assert len(await arrived(server, "bob@here.example")) == 1
    assert not server.outbound.entries


async def test_higher_priorities_leave_first(start_server, far: Server) -> None:  # type: ignore[no-untyped-def]
    host, port = far.addresses["smtp"]
    server: Server = await start_server(smarthost=f"{host}:{port}", domains=("here.example",), outbound_threads=1)
    for number in range(3):
        server.outbound.out.put((number, f"{number}"))
    assert [(await server.outbound.out.get())[1] for _ in range(3)] == ["2", "1", "0"]


async def test_out_survives_a_restart(tmp_path, far: Server) -> None:  # type: ignore[no-untyped-def]
    host, port = far.addresses["smtp"]
    await far.control.pause("MSExchangeIMC")
    settings = Settings(data=tmp_path, smarthost=f"{host}:{port}", domains=("here.example",))
    async with Server(settings) as server:
        await asyncio.to_thread(mail, server, ["bob@far.example"])
    await far.control.resume("MSExchangeIMC")
    async with Server(settings):
        assert len(await arrived(far, "bob@far.example")) == 1
