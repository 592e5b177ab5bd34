"""A generic exploration core: all interleavings of small concurrent programs, without an event loop.

It knows nothing of mailjam. An actor is a coroutine that awaits *operations*; the engine decides who goes on::

    def program() -> list[Actor]:                  # a factory: each execution starts from a fresh program
        a, b = Lock("A"), Lock("B")
        async def transfer(first: Lock, second: Lock) -> None:
            async with first, second:
                pass
        return [Actor("inbound", transfer(a, b)), Actor("outbound", transfer(b, a))]

    certificate = explore(program)                 # source-DPOR with sleep sets; also "brute", "pct", "random"
    print(certificate.text())                      # JAM: 1 of 3 executions jam … token mj1-…
    short = minimise(program, Schedule.parse(certificate.token))
    print(short.table())                           # actor by actor; short.schedule.token repeats it
    replay(program, short.schedule)                # DivergedError when the program has changed

**Operations** (`Op`): kind, object, `accesses` (what the effect *and the code behind it* touch, up to the next
operation), `enabled` (a guard without effect, asked again and again; None: always) and `act` (the effect). Ready
ones: `Lock`, `RLock`, `RWLock`, `Semaphore`, `Condition`, `Event`, `Queue`, `Cell`, `Spawn` (with `Handle.join`),
`point(name, footprint)`. Access modes: READ, WRITE, ACQUIRE / RELEASE (an object with exactly one owner), WAIT.

**Driving real code**: a system whose blocking operations all go through a scheduler port gets a `Port`:
`await port.point("inbound.imail.enter", ["imail"])` and `waiter = port.waiter(); … await waiter`, woken elsewhere by
`waiter.wake()`. `Actor.context` is the contextvars.Context its steps are run in. Code that touches shared state the
footprint of its point does not name calls `touch(key, mode)`; keys are compared between executions, so use names.

**Results** (`Certificate`): PASS only when the space was exhausted with at least two participants and nothing jammed;
JAM with a token; INCONCLUSIVE otherwise, with the reason; PCT states its bound 1/(n·k^(d-1)). `check_determinism` and
`check_soundness` examine the program itself; `python -m harness.exploration.oracle` examines the engine.

**Preconditions**, checked where the engine can: between two operations an actor touches only what the footprint says;
equal choices give equal behaviour (else ProgramError); actors await nothing but operations. Not promised: anything
about code that runs outside the actors.
"""

from harness.exploration.certificate import Certificate, Verdict, check_determinism, check_soundness, explore
from harness.exploration.dpor import SourceDpor
from harness.exploration.execution import (
    Actor,
    Blocked,
    DivergedError,
    Execution,
    Factory,
    Outcome,
    Program,
    ProgramError,
)
from harness.exploration.minimise import Minimised, minimise, sentences, table
from harness.exploration.objects import Cell, Condition, Event, Handle, Lock, Queue, RLock, RWLock, Semaphore, Spawn
from harness.exploration.ops import (
    ACQUIRE,
    READ,
    RELEASE,
    WAIT,
    WRITE,
    Access,
    Op,
    Port,
    Waiter,
    point,
    set_running,
    touch,
)
from harness.exploration.schedule import Schedule, TokenError
from harness.exploration.search import Pct, bounded_switches, brute_force, random_runs, replay, run, run_order

__all__ = [
    "ACQUIRE",
    "READ",
    "RELEASE",
    "WAIT",
    "WRITE",
    "Access",
    "Actor",
    "Blocked",
    "Cell",
    "Certificate",
    "Condition",
    "DivergedError",
    "Event",
    "Execution",
    "Factory",
    "Handle",
    "Lock",
    "Minimised",
    "Op",
    "Outcome",
    "Pct",
    "Port",
    "Program",
    "ProgramError",
    "Queue",
    "RLock",
    "RWLock",
    "Schedule",
    "Semaphore",
    "SourceDpor",
    "Spawn",
    "TokenError",
    "Verdict",
    "Waiter",
    "bounded_switches",
    "brute_force",
    "check_determinism",
    "check_soundness",
    "explore",
    "minimise",
    "point",
    "random_runs",
    "replay",
    "run",
    "run_order",
    "sentences",
    "set_running",
    "table",
    "touch",
]
