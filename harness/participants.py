"""Who takes part in a scenario: one inbound, outbound or background path through the conversion stage each.

The same participants exist in memory (`join`, for the explorer) and on real sockets (`harness.wire`), with the same
points in the same order: the vocabulary of schedules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from emulator.mts import Transfer
from emulator.scheduling import Point
from harness.world import MailboxSpec, MemoryConnection, PointOp, Template, World
from protocols.actor import Actor
from protocols.imap.session import ImapSession
from protocols.nntp import NntpSession
from protocols.pop3 import Pop3Session
from protocols.ports import Target

if TYPE_CHECKING:
    from emulator.config import Settings

INBOUND = ("smtp", "nntp", "imap", "gateway")
OUTBOUND = ("pop3", "imap", "nntp")
PASSWORD = "secret"  # noqa: S105 - of accounts that exist in a scenario only
GROUP = "misc.test"
GATEWAY = "notes"
PARTICIPANTS_MAX = 16


class UnknownParticipant(ValueError):
    """The text names no participant; it says which there are."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of participant: its name in `--actors`, its actor's kind, and what it does, in words."""

    name: str
    actor: str
    title: str
    path: str
    """The path through the conversion stage (`emulator.builds.ORDERS`)."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("smtp", "inbound", "the inbound worker converts a message received by SMTP", "inbound"),
        Kind("post", "nntp", "a newsreader posts an article", "inbound"),
        Kind("append", "imap", "an IMAP4 client appends a message", "inbound"),
        Kind("gateway-in", "gateway", "a gateway brings a message through MTS-IN", "inbound"),
        Kind("put", "put", "a program puts a message into the store", "inbound"),
        Kind("get", "get", "a program reads a message from the store", "outbound"),
        Kind("pop3", "pop3", "a POP3 client retrieves a message", "outbound"),
        Kind("fetch", "imap", "an IMAP4 client fetches a message", "outbound"),
        Kind("article", "nntp", "a newsreader reads an article", "outbound"),
        Kind(
            "notification", "notification", "the directory-notification thread rebuilds after a change", "notification"
        ),
        Kind("report", "report", "a delivery report is generated", "report"),
        Kind("gateway-out", "gateway", "a gateway takes a message from MTS-OUT", "gateway"),
    )
}
PAIR_NAMES: dict[tuple[str, str], str] = {
    ("inbound", "smtp"): "smtp",
    ("inbound", "nntp"): "post",
    ("inbound", "imap"): "append",
    ("inbound", "gateway"): "gateway-in",
    ("outbound", "pop3"): "pop3",
    ("outbound", "imap"): "fetch",
    ("outbound", "nntp"): "article",
}
"""The words of `mailjam reproduce --inbound … --outbound …`."""


def parse_kinds(text: str) -> tuple[str, ...]:
    """`smtp,pop3,fetch=2` → names of kinds. Raises UnknownParticipant."""
    names: list[str] = []
    for item in text.replace(" ", ",").split(","):
        name, _, count = item.strip().partition("=")
        if not name:
            continue
        if name not in KINDS or (count and not count.isdigit()):
            raise UnknownParticipant(
                f"unknown participant {item!r}: there are {', '.join(KINDS)}, each with =N for more"
            )
        names += [name] * int(count or 1)
    if not 1 <= len(names) <= PARTICIPANTS_MAX:
        raise UnknownParticipant(f"name between 1 and {PARTICIPANTS_MAX} participants, as in --actors smtp,pop3")
    return tuple(names)


def actor_names(kinds: Sequence[str]) -> tuple[str, ...]:
    """The name of each participant's actor, `imap-2` for the second one of IMAP4."""
    counts: Counter[str] = Counter()
    names = []
    for kind in kinds:
        counts[KINDS[kind].actor] += 1
        names.append(f"{KINDS[kind].actor}-{counts[KINDS[kind].actor]}")
    return tuple(names)


def request_point(kind: str) -> Point:
    """Where a participant stands before it begins: its client has not sent the request yet."""
    return _REQUESTS[kind]


_REQUESTS = {name: Point(f"{name}.request") for name in KINDS}
_START_OPS = {name: PointOp(point, None, None) for name, point in _REQUESTS.items()}


def user_of(number: int) -> str:
    """Each reader has a mailbox of its own."""
    return f"reader{number}"


def message(number: int, *, newsgroup: bool = False) -> bytes:
    """A small message that needs conversion: a header, two alternatives."""
    where = f"Newsgroups: {GROUP}\r\n" if newsgroup else f"To: {user_of(number)}@example.com\r\n"
    return (
        f"From: Sender <sender@example.com>\r\n{where}Subject: Message {number}\r\n"
        f"Message-ID: <{number}.{int(newsgroup)}@example.com>\r\nDate: Thu, 2 Nov 2000 10:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        f"Text of message {number}.\r\n"
    ).encode()


def mailboxes(kinds: Sequence[str]) -> list[MailboxSpec]:
    """A mailbox for each participant that needs one, and a newsgroup with an article for each newsreader."""
    specs = []
    for number, kind in enumerate(kinds, 1):
        if KINDS[kind].actor != "nntp":
            specs.append(MailboxSpec(user_of(number), (message(number),) if KINDS[kind].path == "outbound" else ()))
    if any(KINDS[kind].actor == "nntp" for kind in kinds):
        articles = [message(number, newsgroup=True) for number, kind in enumerate(kinds, 1) if kind == "article"]
        specs.append(MailboxSpec(GROUP, tuple(articles), public=True))
    return specs


def template(settings: Settings, kinds: Sequence[str]) -> Template:
    """What all executions of a scenario share."""
    return Template(settings, mailboxes(kinds))


def seat(world: World, kinds: Sequence[str]) -> World:
    """Make the participants' actors, and what of the world they need: once for each world."""
    for kind, name in zip(kinds, actor_names(kinds), strict=True):
        world.kinds.append(kind)
        world.actors.append(Actor(KINDS[kind].actor, int(name.rpartition("-")[2])))
        for part in _NEEDS.get(kind, ()):
            getattr(world, part)
    return world


def join(world: World) -> World:
    """Let the participants that were seated take part in an exploration: once for each execution."""
    for number, (kind, actor) in enumerate(zip(world.kinds, world.actors, strict=True), 1):
        world.act(actor, _JOIN[kind](world, actor, number))
    return world


Join = Callable[[World, Actor, int], Coroutine[Any, Any, None]]


@cache
def _new(number: int, *, newsgroup: bool = False) -> bytes:
    """The message that an inbound participant brings: not one that is there already."""
    return message(100 + number, newsgroup=newsgroup).replace(b"reader1", b"reader")


def inbound_message(kind: str, number: int) -> bytes:
    """What participant `number` brings in."""
    return _new(number, newsgroup=kind == "post")


async def _smtp(world: World, actor: Actor, number: int) -> None:
    await _START_OPS["smtp"]
    await world.inbound.submit("sender@example.com", [f"{user_of(number)}@example.com"], _new(number))
    await world.inbound._work(actor)


async def _gateway_in(world: World, actor: Actor, number: int) -> None:
    stub = world.mts
    gateway = world.gateway(GATEWAY)
    await _START_OPS["gateway-in"]
    stub.submit(GATEWAY, "sender@example.com", [f"{user_of(number)}@example.com"], _new(number))
    await stub._work_in(actor, gateway)


async def _gateway_out(world: World, actor: Actor, number: int) -> None:
    stub = world.mts
    gateway = world.gateway(GATEWAY)
    await _START_OPS["gateway-out"]
    gateway.mts_out.put(Transfer("sender@example.com", ("someone@elsewhere.example",), _new(number)))
    await stub._work_out(actor, gateway)


async def _notification(world: World, actor: Actor, number: int) -> None:
    thread = world.notification  # it listens from here on
    await _START_OPS["notification"]
    world.directory.changed(f"protocol object {number}")
    await thread._work(actor)


async def _report(world: World, actor: Actor, number: int) -> None:
    await _START_OPS["report"]
    mailbox = world.store.mailbox(user_of(number))
    await world.converter.report(lambda: report_message(number), [Target(mailbox.inbox)])


def report_message(number: int) -> bytes:
    """A delivery report in its simplest form (Exchange 5.5 made no multipart/report: KB Q262986)."""
    return (
        message(200 + number).replace(b"Subject: ", b"Subject: Undeliverable: ").replace(b"<sender@", b"<postmaster@")
    )


async def _put(world: World, actor: Actor, number: int) -> None:
    await _START_OPS["put"]
    await world.converter.put(_new(number), [Target(world.store.mailbox(user_of(number)).inbox)])


async def _get(world: World, actor: Actor, number: int) -> None:
    await _START_OPS["get"]
    await world.converter.octets(world.store.mailbox(user_of(number)).inbox.messages[0])


async def _pop3(world: World, actor: Actor, number: int) -> None:
    login = f"USER {user_of(number)}\r\nPASS {PASSWORD}\r\n"
    await _session(world, actor, Pop3Session, login.encode(), b"RETR 1\r\nQUIT\r\n", "pop3")


async def _fetch(world: World, actor: Actor, number: int) -> None:
    login = f"a LOGIN {user_of(number)} {PASSWORD}\r\nb SELECT INBOX\r\n"
    await _session(world, actor, ImapSession, login.encode(), b"c FETCH 1 BODY.PEEK[]\r\nd LOGOUT\r\n", "fetch")


async def _append(world: World, actor: Actor, number: int) -> None:
    octets = _new(number)
    login = f"a LOGIN {user_of(number)} {PASSWORD}\r\n"
    request = b"c APPEND INBOX {%d+}\r\n%s\r\nd LOGOUT\r\n" % (len(octets), octets)
    await _session(world, actor, ImapSession, login.encode(), request, "append")


async def _article(world: World, actor: Actor, number: int) -> None:
    articles = [each.content.message_id for each in world.store.newsgroup(GROUP).messages]
    request = b"ARTICLE %d\r\nQUIT\r\n" % (articles.index(b"<%d.1@example.com>" % number) + 1)
    await _session(world, actor, NntpSession, f"GROUP {GROUP}\r\n".encode(), request, "article")


async def _post(world: World, actor: Actor, number: int) -> None:
    request = b"POST\r\n" + _new(number, newsgroup=True) + b".\r\nQUIT\r\n"
    await _session(world, actor, NntpSession, b"MODE READER\r\n", request, "post")


async def _session(world: World, actor: Actor, session_class: Any, prologue: bytes, request: bytes, kind: str) -> None:
    folders = world.store.folders_by_id.values()
    number = world.actors.index(actor) + 1
    sees = [each.folder_id for each in folders if each.owner is None or each.owner.name == user_of(number)]
    connection = MemoryConnection(prologue, request, _START_OPS[kind], sees)
    world.connections.append((actor.name, connection))
    await session_class(connection, world.services, actor).run()


_NEEDS = {
    "smtp": ("inbound",),
    "gateway-in": ("mts",),
    "gateway-out": ("mts",),
    "notification": ("notification",),
    **dict.fromkeys(("pop3", "fetch", "append", "article", "post"), ("services",)),
}
"""Which parts of a world a participant works on."""

_JOIN: dict[str, Join] = {
    "smtp": _smtp,
    "post": _post,
    "append": _append,
    "gateway-in": _gateway_in,
    "put": _put,
    "get": _get,
    "pop3": _pop3,
    "fetch": _fetch,
    "article": _article,
    "notification": _notification,
    "report": _report,
    "gateway-out": _gateway_out,
}
