"""THREAD=ORDEREDSUBJECT and THREAD=REFERENCES (RFC 5256 section 3)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.reply import Reply

from .errors import Bad
from .messages import require_uid, selected
from .progress import Progress
from .scanner import Scanner
from .search import read_program, run
from .sort import Keyed, with_records
from .states import COMMANDS, SELECTED

if TYPE_CHECKING:
    from .session import ImapSession

ANCESTORS_MAX = 1000
"""How far up a chain of references a loop is looked for; a deeper chain is broken there."""


STEP_MESSAGES = 5000
"""Messages linked before other sessions have their turn."""


class Node:
    """A message, or a place for one that is not here, and what answers it."""

    __slots__ = ("children", "date", "item", "number", "parent")

    def __init__(self, item: Keyed | None = None, number: int = 0) -> None:
        self.item = item
        self.number = number
        self.parent: Node | None = None
        self.children: list[Node] = []
        self.date = 0.0
        if item is not None:
            sent = item[2].sent
            self.date = item[1].internal_date if sent is None else sent

    @property
    def dummy(self) -> bool:
        """Whether there is no message here."""
        return self.item is None

    def adopt(self, child: Node) -> None:
        """Put a node that has no parent below this one."""
        child.parent = self
        self.children.append(child)


Steps = Generator[int, None, list[Node]]
"""Work cut into steps, so that other sessions have their turn: yields messages done, returns threads."""


@dataclass(slots=True)
class Threading:
    """The arguments of THREAD."""

    algorithm: str
    charset: bytes
    scanner: Scanner


def thread_syntax(scanner: Scanner) -> Threading:
    """`algorithm charset keys`."""
    scanner.space()
    algorithm = scanner.word().decode("ascii")
    if algorithm not in ("ORDEREDSUBJECT", "REFERENCES"):
        raise Bad("the threading algorithm is ORDEREDSUBJECT or REFERENCES")
    scanner.space()
    charset = scanner.astring()
    scanner.space()
    return Threading(algorithm, charset, scanner)


@COMMANDS.command("THREAD", states=SELECTED, syntax=thread_syntax, capability="THREAD")
async def thread(session: ImapSession, threading: Threading) -> Reply:
    """RFC 5256 section 3."""
    by_uid = require_uid(session)
    program = read_program(session, threading.scanner, threading.charset)
    items = await with_records(session, await run(session, selected(session), program))
    steps = by_subject(items, by_uid) if threading.algorithm == "ORDEREDSUBJECT" else by_references(items, by_uid)
    progress = Progress(session, len(items))
    try:
        while True:
            await progress.rest(next(steps))
    except StopIteration as end:
        text = format_threads(end.value)
    session.send(b"* THREAD%b\r\n" % (b" " + text if text else b""))
    return session.ok(session.verb + b" completed")


COMMANDS.command("UID THREAD", states=SELECTED, syntax=thread_syntax, capability="THREAD")(thread)


def _nodes(items: Sequence[Keyed], by_uid: bool) -> list[Node]:
    return [Node(item, item[1].uid if by_uid else item[0]) for item in items]


def _in_order(nodes: Iterable[Node]) -> list[Node]:
    """By date, then by message number."""
    return sorted(nodes, key=lambda node: (node.date, node.item[0] if node.item else 0))


def by_subject(items: Sequence[Keyed], by_uid: bool) -> Steps:
    """ORDEREDSUBJECT: messages of one base subject; the first is the parent of the others."""
    groups: dict[str, list[Node]] = {}
    nodes = _in_order(_nodes(items, by_uid))
    yield 0
    for node in nodes:
        assert node.item is not None
        groups.setdefault(node.item[2].base_subject, []).append(node)
    roots = []
    for first, *others in groups.values():
        for other in others:
            first.adopt(other)
        roots.append(first)
    return _in_order(roots)


def by_references(items: Sequence[Keyed], by_uid: bool) -> Steps:
    """REFERENCES: the six steps of RFC 5256."""
    root = Node()
    for node in (yield from _link(items, by_uid)):
        root.adopt(node)
    yield len(items)
    _prune(root)
    yield len(items)
    _date_dummies(root.children)
    root.children = _in_order(root.children)
    yield len(items)
    _gather_subjects(root)
    yield len(items)
    _sort_all(root)
    yield len(items)
    return root.children


def _link(items: Sequence[Keyed], by_uid: bool) -> Steps:
    """Step 1: nodes by Message-ID, each reference the parent of the next. Returns those without a parent."""
    table: dict[bytes, Node] = {}
    unnamed: list[Node] = []
    for done, item in enumerate(items, 1):
        if done % STEP_MESSAGES == 0:
            yield done
        own = item[2].message_id
        known = table.get(own) if own else None
        number = item[1].uid if by_uid else item[0]
        if known is not None and known.dummy:
            known.item, known.number = item, number
            node = known
            node.date = Node(item).date
        else:
            node = Node(item, number)
            if own and known is None:
                table[own] = node
            else:
                unnamed.append(node)  # no Message-ID, or one that another message has
        previous: Node | None = None
        for reference in item[2].references:
            place = table.get(reference)
            if place is None:
                place = table[reference] = Node()
            if previous is not None and place.parent is None and not _is_above(place, previous):
                place.parent = previous
            previous = place
        if previous is not None and not _is_above(node, previous):
            node.parent = previous
        elif previous is None:
            node.parent = None
    tops = []
    for node in (*table.values(), *unnamed):
        if node.parent is None:
            tops.append(node)
        else:
            node.parent.children.append(node)
    return tops


def _is_above(node: Node, other: Node) -> bool:
    """Whether linking `node` below `other` would make a loop (or a chain too deep to tell)."""
    here: Node | None = other
    for _ in range(ANCESTORS_MAX):
        if here is None:
            return False
        if here is node:
            return True
        here = here.parent
    return True


def _walk(root: Node) -> list[Node]:
    """All nodes below, parents before children."""
    found = [root]
    for node in found:
        found.extend(node.children)
    return found[1:]


def _prune(root: Node) -> None:
    """Step 3: places without a message go; their children move up, but at the top only when there is one."""
    for node in reversed([root, *_walk(root)]):
        if not node.children:
            continue
        kept: list[Node] = []
        for child in node.children:
            if child.dummy and (node is not root or len(child.children) <= 1):
                kept.extend(child.children)
            else:
                kept.append(child)
        for child in kept:
            child.parent = node
        node.children = kept


def _date_dummies(roots: list[Node]) -> None:
    """Step 4: a place at the top has the date of its first child."""
    for node in roots:
        if node.dummy:
            node.children = _in_order(node.children)
            node.date = node.children[0].date


def _subject(node: Node) -> tuple[str, bool]:
    item = node.item or node.children[0].item
    assert item is not None
    return item[2].base_subject, item[2].is_reply


def _gather_subjects(root: Node) -> None:
    """Step 5: threads at the top with one base subject become one."""
    table: dict[str, Node] = {}
    for node in root.children:
        subject, is_reply = _subject(node)
        if not subject:
            continue
        known = table.get(subject)
        if (
            known is None
            or (node.dummy and not known.dummy)
            or (not known.dummy and not node.dummy and _subject(known)[1] and not is_reply)
        ):
            table[subject] = node
    replaced: dict[Node, Node] = {}
    for node in root.children:
        subject, is_reply = _subject(node)
        known = table.get(subject) if subject else None
        if known is None or known is node:
            continue
        if known.dummy and node.dummy:
            moved = node.children
        elif known.dummy or (is_reply and not _subject(known)[1]):
            moved = [node]
        else:
            known, first = Node(), known
            known.date, known.parent = first.date, root
            first.parent = known
            known.children.append(first)
            replaced[first] = table[subject] = known
            moved = [node]
        node.parent = None
        for child in moved:
            child.parent = known
            known.children.append(child)
    root.children = [replaced.get(node, node) for node in root.children if node.parent is root or node in replaced]


def _sort_all(root: Node) -> None:
    """Step 6: siblings by date."""
    for node in reversed([root, *_walk(root)]):
        if node.dummy and node is not root and node.children:
            node.date = min(child.date for child in node.children)
        if len(node.children) > 1:
            node.children = _in_order(node.children)


def format_threads(roots: Iterable[Node]) -> bytes:
    """`(2)(3 6 (4 23)(44 7 96))`. Without recursion: chains can be as long as the mailbox."""
    out: list[str] = []
    pending: list[Node | str] = []
    for root in reversed(list(roots)):
        pending += [")", root, "("]
    while pending:
        top = pending.pop()
        if isinstance(top, str):
            out.append(top)
            continue
        if not top.dummy:
            out.append(str(top.number))
        if len(top.children) == 1:
            pending.append(top.children[0])
            if not top.dummy:
                out.append(" ")
        elif top.children:
            if not top.dummy:
                out.append(" ")
            for child in reversed(top.children):
                pending += [")", child, "("]
    return "".join(out).encode()
