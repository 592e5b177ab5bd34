"""What the pytest fixture costs: set-up and reset of a test, and the wait after the 250. Milliseconds, median and p99.

python benchmarks/fixture.py
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable

from harness.testing.fixture import MailJam, settings_from
from harness.testing.running import RunningServer

ROUNDS = 300
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
            timed(lambda mine=mine: mine.wait(to="bob"), waits)
            client.sendall(b"QUIT\r\n")
            stream.readline()
        timed(lambda mine=mine: mine.finish(), reset)
    show("set-up", setup)
    show("reset (one message, leaks)", reset)
    show("wait after the 250", waits)
    running.stop()


if __name__ == "__main__":
    main()
