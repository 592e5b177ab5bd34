"""What the pytest fixture costs: set-up, reset, the wait after the 250, snapshots. Milliseconds, median and p99.

python benchmarks/fixture.py
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from functools import partial

from harness.testing.fixture import MailJam, settings_from
from harness.testing.running import RunningServer
from protocols.ports import Target

ROUNDS = 300
MESSAGES = 100_000
MESSAGE = b"From: a@example.org\r\nTo: bob@example.com\r\nSubject: x\r\n\r\nhello\r\n.\r\n"


def show(name: str, seconds: list[float]) -> None:
    """One line."""
    ordered = sorted(seconds)
    p99 = ordered[int(len(ordered) * 0.99) - 1]
    print(f"{name:28}{statistics.median(seconds) * 1000:9.3f}{p99 * 1000:9.3f}")


def timed(action: Callable[[], object], into: list[float]) -> None:
    """Run and note how long it took."""
    began = time.perf_counter()
    action()
    into.append(time.perf_counter() - began)


def main() -> None:
    """Measure."""
    began = time.perf_counter()
    running = RunningServer(settings_from({}))
    running.start()
    print(f"{'':28}{'median':>9}{'p99':>9}  ms")
    print(f"{'first server':28}{(time.perf_counter() - began) * 1000:9.3f}")
    setup: list[float] = []
    reset: list[float] = []
    waits: list[float] = []
    for _ in range(ROUNDS):
        mine = MailJam(running)
        timed(mine.begin, setup)
        with socket.create_connection(mine.smtp) as client, client.makefile("rb") as stream:
            stream.readline()
            client.sendall(b"HELO x\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
            for _ in range(4):
                stream.readline()
            client.sendall(MESSAGE)
            assert stream.readline().startswith(b"250")
            timed(partial(mine.wait, to="bob"), waits)
            client.sendall(b"QUIT\r\n")
            stream.readline()
        timed(mine.finish, reset)
    untouched: list[float] = []
    for _ in range(ROUNDS):
        timed(lambda: untouched_test(running), untouched)
    show("a test that does not use it", untouched)
    show("set-up", setup)
    show("reset (one message, leaks)", reset)
    show("wait after the 250", waits)
    large_store(running)
    running.stop()


def untouched_test(running: RunningServer) -> None:
    """Set-up and reset of a test that neither connects nor looks."""
    mine = MailJam(running)
    mine.begin()
    mine.finish()


def large_store(running: RunningServer) -> None:
    """Snapshots of a folder with many messages: what three changes cost."""
    mine = MailJam(running)
    mine.begin()
    mine.user("alice")
    inbox = mine.server.store.mailboxes["alice"].inbox
    mine.put(MESSAGE, "alice")

    async def fill() -> None:
        store = mine.server.store
        like = await store.read(inbox.messages[0])
        for first in range(1, MESSAGES, 1000):
            numbers = range(first, min(first + 1000, MESSAGES))
            contents = [store.content_of(like, b"Subject: %d\r\n\r\nx\r\n" % number) for number in numbers]
            await store.append([(content, [Target(inbox)]) for content in contents])

    async def change(number: int) -> None:
        store = mine.server.store
        await mine.server.converter.put(b"Subject: new %d\r\n\r\nx\r\n" % number, [Target(inbox)])
        await store.set_flags(inbox, [inbox.messages[number]], "+", frozenset({"\\Seen"}))
        await store.expunge(inbox, [inbox.messages[MESSAGES // 2]])

    mine.run(fill())
    taken: list[float] = []
    restored: list[float] = []
    for number in range(50):
        timed(lambda: mine.snapshot("here"), taken)
        mine.run(change(number))
        timed(lambda: mine.restore("here"), restored)
    print(f"of {len(inbox.messages)} messages in one folder:")
    show("  snapshot", taken)
    show("  restore after 3 changes", restored)
    forked: list[float] = []
    for _ in range(20):
        timed(mine.fork, forked)
    show("  fork", forked)
    copy = mine.fork()
    looked: list[float] = []

    async def look() -> int:
        return len(copy.server.store.mailboxes["alice"].inbox.messages)

    timed(lambda: copy.run(look()), looked)
    show("  the fork's first look", looked)
    mine.finish()


if __name__ == "__main__":
    main()
