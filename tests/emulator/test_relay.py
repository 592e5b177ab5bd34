"""One attempt at the smart host, against servers that answer as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from emulator.config import SettingsError
from emulator.dsn import DELIVERED, FAILED, RELAYED
from emulator.relay import Attempt, Host, parse_smarthost, relay
from emulator.spool import Envelope

MESSAGE = b"Received: from x\r\nSubject: x\r\n\r\n.y\r\n"


class Host25:
    """A server of fixed answers: the first whose verb fits; `heard` is what the client said."""

    def __init__(self, **answers: str) -> None:
        self.answers = {"EHLO": "250 host", "QUIT": "221 bye", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go"}
        self.answers.update({"END": "250 taken", **answers})
        self.heard: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        in_data = False
        writer.write((self.answers.get("GREETING", "220 host") + "\r\n").encode())
        while line := (await reader.readline()).decode():
            self.heard.append(line.rstrip("\r\n"))
            if in_data and line != ".\r\n":
                continue
            verb = "END" if in_data else line[:4].upper().strip()
            answer = self.answers.get(f"{verb} {line[8:].strip()}", self.answers.get(verb, "502 what"))
            in_data = answer.startswith("354")
            writer.write((answer.replace("\n", "\r\n") + "\r\n").encode())
            if verb == "QUIT":
                break
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def listening(host: Host25) -> AsyncIterator[Host]:
    listener = await asyncio.start_server(host.talk, "127.0.0.1", 0)
    async with listener:
        yield Host("127.0.0.1", listener.sockets[0].getsockname()[1])
        async with asyncio.timeout(5):  # the client has closed its end
            await asyncio.gather(*host.tasks)


async def attempt(host: Host25, *recipients: str, octets: bytes = MESSAGE, **options: Any) -> Attempt:
    envelope = Envelope("a@x", recipients or ("b@y",), 0.0, options)
    async with listening(host) as place:
        return await relay(place, "mailjam.test", envelope, octets, seconds_max=5)


async def test_taken() -> None:
    host = Host25()
    result = await attempt(host, ret="HDRS", recipients={"b@y": {"notify": ["SUCCESS"]}})
    assert [outcome.action for outcome in result.outcomes] == [RELAYED]
    assert host.heard[:4] == ["EHLO mailjam.test", "MAIL FROM:<a@x>", "RCPT TO:<b@y>", "DATA"]
    assert "..y" in host.heard


async def test_wishes_are_passed_on_to_who_can_fulfil_them() -> None:
    host = Host25(EHLO="250-host\n250-DSN\n250-SIZE\n250-8BITMIME\n250 MT-PRIORITY")
    result = await attempt(
        host,
        "b@y",
        "c@y",
        body="8BITMIME",
        ret="HDRS",
        envid="a+b",
        priority=3,
        recipients={"b@y": {"notify": [], "orcpt": "rfc822;o+p@y"}, "c@y": {"notify": ["SUCCESS", "DELAY"]}},
    )
    assert [outcome.action for outcome in result.outcomes] == [DELIVERED, DELIVERED]
    mail = f"MAIL FROM:<a@x> SIZE={len(MESSAGE)} BODY=8BITMIME MT-PRIORITY=3 RET=HDRS ENVID=a+2Bb"
    assert host.heard[1:4] == [
        mail,
        "RCPT TO:<b@y> NOTIFY=NEVER ORCPT=rfc822;o+2Bp@y",
        "RCPT TO:<c@y> NOTIFY=SUCCESS,DELAY",
    ]


@pytest.mark.parametrize(
    ("answers", "failed", "waiting"),
    [
        ({"RCPT <b@y>": "550 5.1.1 no"}, ["b@y"], []),
        ({"RCPT <b@y>": "450 4.2.0 later"}, [], ["b@y"]),
        ({"RCPT": "550 5.1.1 no"}, ["b@y", "c@y"], []),
        ({"MAIL": "553 5.1.8 no"}, ["b@y", "c@y"], []),
        ({"MAIL": "451 4.3.0 later"}, [], ["b@y", "c@y"]),
        ({"DATA": "554 5.6.0 no"}, ["b@y", "c@y"], []),
        ({"END": "554 5.6.0 no"}, ["b@y", "c@y"], []),
        ({"END": "452 4.3.1 full"}, [], ["b@y", "c@y"]),
        ({"GREETING": "421 busy"}, [], ["b@y", "c@y"]),
        ({"GREETING": "554 no"}, [], ["b@y", "c@y"]),
        ({"GREETING": "garbage"}, [], ["b@y", "c@y"]),
    ],
)
async def test_refusals(answers: dict[str, str], failed: list[str], waiting: list[str]) -> None:
    result = await attempt(Host25(**answers), "b@y", "c@y")
    assert [outcome.address for outcome in result.outcomes if outcome.action == FAILED] == failed
    assert result.waiting == waiting
    assert bool(result.reason) is bool(waiting)


async def test_nobody_listens() -> None:
    result = await relay(Host("127.0.0.1", 1), "h", Envelope("a@x", ("b@y",)), MESSAGE, seconds_max=5)
    assert result.waiting == ["b@y"]


@pytest.mark.parametrize(
    ("options", "octets", "status"),
    [
        ({"smtputf8": True}, MESSAGE, "5.6.7"),
        ({"requiretls": True}, MESSAGE, "5.7.30"),
        ({"body": "BINARYMIME"}, b"Subject: x\n\ny\n", "5.6.3"),
        ({}, b"Received: x\r\n" * 101 + b"\r\n", "5.4.6"),
    ],
)
async def test_what_cannot_be_sent_on(options: dict[str, Any], octets: bytes, status: str) -> None:
    (outcome,) = (await attempt(Host25(), octets=octets, **options)).outcomes
    assert (outcome.action, outcome.status) == (FAILED, status)


@pytest.mark.parametrize("text", ["host", "host:", ":25", "host:port", "host:70000", "user@host:25"])
def test_a_smart_host_that_is_none(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_smarthost(text)
    assert "\n" not in str(error.value)


def test_smart_host() -> None:
    host = parse_smarthost("smtps://user:secret@[::1]:465")
    assert (host.name, host.port, host.user, host.password, host.implicit_tls) == ("::1", 465, "user", "secret", True)


EIGHT = "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nüber\r\n".encode()
BINARY = b"Subject: x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\xff\n"


async def test_bodies_are_recoded_for_hosts_that_take_less() -> None:
    host = Host25(EHLO="250-host\n250 8BITMIME")
    await attempt(host, octets=BINARY, body="BINARYMIME")
    assert host.heard[1] == "MAIL FROM:<a@x>"
    assert host.heard[-4:] == ["", "AP8K", ".", "QUIT"]
    assert "Content-Transfer-Encoding: base64" in host.heard
    host = Host25(EHLO="250-host\n250 8BITMIME")
    await attempt(host, octets=EIGHT)
    assert host.heard[1] == "MAIL FROM:<a@x> BODY=8BITMIME"
    assert "über" in host.heard
    host = Host25()
    await attempt(host, octets=EIGHT, body="8BITMIME")
    assert host.heard[1] == "MAIL FROM:<a@x>"
    assert "=C3=BCber" in host.heard


async def test_binary_goes_in_one_chunk_to_who_takes_it() -> None:
    host = Host25(EHLO="250-host\n250-CHUNKING\n250 BINARYMIME", BDAT="250 taken")
    octets = b"Content-Transfer-Encoding: binary\r\n\r\n\0\n"
    result = await attempt(host, octets=octets, body="BINARYMIME")
    assert [outcome.action for outcome in result.outcomes] == [RELAYED]
    assert host.heard[1] == "MAIL FROM:<a@x> BODY=BINARYMIME"
    assert f"BDAT {len(octets)} LAST" in host.heard
    host = Host25(EHLO="250-host\n250-CHUNKING\n250 BINARYMIME", BDAT="554 5.6.0 no")
    assert [o.status for o in (await attempt(host, octets=octets, body="BINARYMIME")).outcomes] == ["5.6.0"]
